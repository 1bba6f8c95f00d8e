// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"bavard/internal/command"
)

// TestBatchReadsWhatItWrote compares what a batch reads, after any writes of its
// own and of batches before it, with a map.
func TestBatchReadsWhatItWrote(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		v := openView(t, vfs.NewMem(), Options{})
		m := overlayModel{t: &v.apply.txn, want: map[string]string{}}
		defer m.t.end()
		m.t.begin(1, 0)
		for i := range rapid.IntRange(1, 40).Draw(r, "steps") {
			m.step(r, i)
			m.check(r)
		}
	})
}

// overlayModel is a batch, and what is to be in two tables at each of its steps.
type overlayModel struct {
	t        *txn
	revision uint64
	want     map[string]string
}

func drawKey(r *rapid.T, label string) string {
	letters := rapid.SliceOfN(rapid.SampledFrom([]byte("abc")), 0, 3).Draw(r, label)
	return rapid.SampledFrom([]string{"H", "I"}).Draw(r, label+" table") + string(letters)
}

func (m *overlayModel) step(r *rapid.T, i int) {
	key := drawKey(r, "key")
	switch rapid.SampledFrom([]string{"put", "put", "put", "delete", "prefix", "range", "commit"}).Draw(r, "step") {
	case "put":
		m.want[key] = fmt.Sprint(i)
		m.t.put([]byte(key), fmt.Append(nil, i))
	case "delete":
		delete(m.want, key)
		m.t.delete([]byte(key))
	case "prefix":
		m.clear(key, string(prefixEnd([]byte(key))))
	case "range":
		if other := drawKey(r, "end"); key < other {
			m.clear(key, other)
		}
	case "commit":
		m.revision++
		m.t.pos = command.Position{Revision: m.revision}
		if err := m.t.commit(); err != nil {
			r.Fatal(err)
		}
		m.t.end()
		m.t.begin(m.revision+1, 0)
	}
}

func (m *overlayModel) clear(start, end string) {
	maps.DeleteFunc(m.want, func(key, _ string) bool { return key >= start && key < end })
	m.t.deleteRange([]byte(start), []byte(end))
}

func (m *overlayModel) keys(has func(key string) bool) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.want)), func(key string) bool { return !has(key) })
}

func (m *overlayModel) check(r *rapid.T) {
	key, end, n := drawKey(r, "read"), drawKey(r, "until"), rapid.IntRange(1, 4).Draw(r, "n")
	got, err := m.t.get([]byte(key))
	if want, there := m.want[key]; err != nil || there != (got != nil) || string(got) != want {
		r.Fatalf("get %s: %q (there: %t) %v, want %q", key, got, got != nil, err, want)
	}
	same := func(what string, got []string, err error, want []string) {
		if err != nil || !slices.Equal(got, want) {
			r.Fatalf("%s: %q %v, want %q", what, got, err, want)
		}
	}
	keys, err := m.t.under([]byte(key))
	same("under "+key, keys, err, m.keys(func(k string) bool { return strings.HasPrefix(k, key) }))
	if key < end {
		keys, err = m.t.next([]byte(key), []byte(end), n)
		want := m.keys(func(k string) bool { return k >= key && k < end })
		same(fmt.Sprint("next ", n, " from ", key, " to ", end), keys, err, want[:min(n, len(want))])
	}
}

// TestForgottenGuestsAreForgottenAtOnce: what the same batch asks after the
// guests of a room were let go together finds none of them.
func TestForgottenGuestsAreForgottenAtOnce(t *testing.T) {
	c := newCell(t, "ann")
	c.accept(makeRoom("hall", "ann", open()))
	var guests []*command.Command
	for i := range command.RoomGuests {
		guests = append(guests, nick("hall", fmt.Sprintf("g%d", i), fmt.Sprintf("guest %d", i), false))
	}
	c.apply(guests...)
	// The first takes all away; of the others nobody has a nick any more.
	result := c.apply(nick("hall", "bob", "Bob", false), nick("hall", "dan", "guest 7", false), nick("hall", "g7", "guest 8", false))
	for i, o := range result.Outcomes {
		if o.Verdict != command.Accepted {
			t.Errorf("command %d: %v", i, o.Err)
		}
	}
	for name, want := range map[string]string{"guest 7": at("dan"), "guest 8": at("g7"), "guest 9": ""} {
		if got, err := c.v.RoomNick(in("hall"), name); err != nil || got != want {
			t.Errorf("%s is %q's (%v), want %q", name, got, err, want)
		}
	}
	r, err := c.v.readRoom(c.v.db, in("hall"))
	if err != nil || r.guests != 3 {
		t.Errorf("the room counts %v guests (%v), want 3", r, err)
	}
	checkRooms(t, c.v)
}
