// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"bavard/drill/client"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// What hands do. Each is one request; what it answers is what there was at one moment
// between the request and its answer, on all nodes alike, or it is not linearizable.
type deed uint8

const (
	store   deed = iota // private data of the owner's account (XEP-0049), by each of its devices
	load                // and read them
	promote             // the owner makes an admin of the deputy, or a member
	ban                 // the deputy bans the guest, or makes a member of them: admins may
	admins              // is the deputy in the list of admins? Asked by the owner
	banned              // is the guest in that of the banned? Asked by the deputy: admins may
)

func (d deed) String() string {
	return [...]string{"store", "load", "promote", "ban", "admins", "banned"}[d]
}

// asked is the input of an operation. To a room value is 1 or 0: so, or not.
type asked struct {
	deed  deed
	value int
}

// answered is its output.
type answered struct {
	value     int
	forbidden bool
	unknown   bool // the stream ended before the answer: done, or not, or later
}

// world is the state of one account's data or of one room.
type world struct {
	stored        int
	deputy, guest bool // admin; banned
}

// linear says what each operation does, and what it may answer, if one is after the other.
var linear = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, 2)
		for _, o := range history {
			part := 1
			if o.Input.(asked).deed <= load {
				part = 0
			}
			parts[part] = append(parts[part], o)
		}
		return parts
	},
	Init: func() any { return world{} },
	Step: func(state, input, output any) (bool, any) {
		w, in, out := state.(world), input.(asked), output.(answered)
		switch in.deed {
		case store:
			w.stored = in.value
			return true, w
		case load:
			return out.value == w.stored, w
		case promote:
			w.deputy = in.value == 1
			return true, w
		case admins:
			return (out.value == 1) == w.deputy, w
		case ban:
			if !w.deputy {
				return out.forbidden || out.unknown, w
			}
			w.guest = in.value == 1
			return !out.forbidden, w
		default:
			if !w.deputy {
				return out.forbidden, w
			}
			return !out.forbidden && (out.value == 1) == w.guest, w
		}
	},
	DescribeOperation: func(input, output any) string {
		in := input.(asked)
		return fmt.Sprintf("%v %d: %+v", in.deed, in.value, output.(answered))
	},
}

// record is what all hands did.
type record struct {
	begun time.Time
	mu    sync.Mutex
	all   []porcupine.Operation
	last  int // process of the model: one that does not know what became of its request is followed by another
}

func (r *record) now() int64 { return int64(time.Since(r.begun)) }

func (r *record) add(o porcupine.Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, o)
}

func (r *record) process() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	return r.last
}

// hand is a device that does one thing after the other.
type hand struct {
	d      *celled
	r      *record
	who    *member
	device string
	deeds  []deed
	random *rand.Rand
	next   func() int // values that nobody else stores
}

// live goes on, through another node at times, until ctx ends.
func (h *hand) live(ctx context.Context) {
	var keys client.Keys
	for where := h.random.IntN(3); ctx.Err() == nil; where = h.d.elsewhere(where+1, h.random) {
		dialling, cancel := context.WithTimeout(ctx, requestTimeout)
		s, err := client.Dial(dialling, client.Config{
			JID: h.who.account, Password: h.d.password, Resource: h.device, Keys: &keys, Addr: h.d.at(where).c2s,
		})
		cancel()
		if err != nil {
			_ = pause(ctx, h.d.cfg.Think)
			continue
		}
		for process, known := h.r.process(), true; known && ctx.Err() == nil; {
			known = h.do(ctx, s, process)
			_ = pause(ctx, time.Duration(h.random.Int64N(int64(h.d.cfg.Think))))
		}
		s.Cut()
	}
}

// do is false if it is not known what became of it, for which nobody waits any more.
func (h *hand) do(ctx context.Context, s *client.Session, process int) (known bool) {
	in := asked{deed: h.deeds[h.random.IntN(len(h.deeds))]}
	switch in.deed {
	case store:
		in.value = h.next()
	case promote:
		in.value = min(h.random.IntN(3), 1)
	case ban:
		in.value = h.random.IntN(2)
	default: // reads
	}
	asking, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	o := porcupine.Operation{ClientId: process, Input: in, Call: h.r.now()}
	answer, err := s.IQ(asking, h.request(in))
	o.Return = h.r.now()
	out := answered{}
	var refused *stanza.Error
	switch {
	case err == nil:
		out.value = h.value(in, answer)
	case errors.As(err, &refused) && refused.Condition == stanza.Forbidden:
		out.forbidden = true
	case in.deed == load || in.deed == admins || in.deed == banned:
		return false // it says nothing
	default:
		out.unknown = true
		o.Return = math.MaxInt64
	}
	o.Output = out
	h.r.add(o)
	return !out.unknown
}

const (
	nsHand   = "urn:example:hand"
	theGuest = "member2@localhost"
)

func (h *hand) request(in asked) *xmlstream.Element {
	iq := func(kind, to string, payload *xmlstream.Element) *xmlstream.Element {
		e := xmlstream.New(stanza.NSClient, "iq", "type", kind)
		if to != "" {
			e.Set("to", to)
		}
		return e.Add(payload)
	}
	item := func(attrs ...string) *xmlstream.Element {
		return xmlstream.New(stanza.NSMUCAdmin, "query").Add(xmlstream.New(stanza.NSMUCAdmin, "item", attrs...))
	}
	affiliation := func(so string) string {
		if in.value == 1 {
			return so
		}
		return "member"
	}
	private := func(text string) *xmlstream.Element {
		return xmlstream.New(stanza.NSPrivate, "query").Add(xmlstream.NewText(nsHand, "held", text))
	}
	switch in.deed {
	case store:
		return iq("set", "", private(strconv.Itoa(in.value)))
	case load:
		return iq("get", "", private(""))
	case promote:
		return iq("set", groupAddress, item("jid", "member1@localhost", "affiliation", affiliation("admin")))
	case ban:
		return iq("set", groupAddress, item("jid", theGuest, "affiliation", affiliation("outcast")))
	case admins:
		return iq("get", groupAddress, item("affiliation", "admin"))
	default:
		return iq("get", groupAddress, item("affiliation", "outcast"))
	}
}

func (h *hand) value(in asked, answer *xmlstream.Element) int {
	switch in.deed {
	case load:
		n, _ := strconv.Atoi(answer.Child(stanza.NSPrivate, "query").Child(nsHand, "held").Text()) // 0: nothing yet
		return n
	case admins, banned:
		return len(answer.Child(stanza.NSMUCAdmin, "query").Elements())
	default:
		return 0
	}
}

// TestLinear: while nodes of a cell are killed, what one reads and changes through any of
// them is as if there were one server that does one thing after the other: what an account
// stores, and who may do what in a room.
func TestLinear(t *testing.T) {
	t.Parallel()
	kills := fewKills()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cfg := CellConfig{KillConfig: ready(t, KillConfig{Kills: kills, Accounts: 2, Group: 3, Think: 20 * time.Millisecond}), Nodes: 3, DownMax: time.Second}
	d := newCelled(cfg)
	defer d.end()
	if err := d.begin(ctx); err != nil {
		t.Fatal(err)
	}
	r := &record{begun: time.Now()}
	values := 0
	next := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		values++
		return values
	}
	doing, stop := context.WithCancel(ctx)
	defer stop()
	var hands sync.WaitGroup
	for i, deeds := range [][]deed{{store, load}, {store, load}, {store, load, promote}, {promote, admins}, {ban, banned}, {ban, banned}} {
		h := &hand{d: d, r: r, who: d.group.members[i/4], device: strconv.Itoa(i), deeds: deeds, random: generator(d.cfg.Seed, uint64(i+1)), next: next}
		hands.Go(func() { h.live(doing) })
	}
	err := d.disturb(ctx)
	stop()
	hands.Wait()
	if err != nil {
		t.Fatal(err)
	}
	unknown := 0
	counts := map[deed]int{}
	for _, o := range r.all {
		if counts[o.Input.(asked).deed]++; o.Output.(answered).unknown {
			unknown++
		}
	}
	t.Logf("%d operations (%v), of which %d were never answered, and %d kills", len(r.all), counts, unknown, d.report.Kills)
	if got := porcupine.CheckOperationsTimeout(linear, r.all, time.Minute); got != porcupine.Ok {
		t.Errorf("as if one was after the other: %v", got)
	}
	for deed := range deed(len(counts)) {
		if counts[deed] < 10*kills {
			t.Errorf("%v was done %d times", deed, counts[deed])
		}
	}
	// It must be able to fail.
	for part, read := range []deed{load, admins} {
		if err := findsFalse(linear.Partition(r.all)[part], read); err != nil {
			t.Error(err)
		}
	}
}

// findsFalse makes every other answer to reads in the second half of a beginning false, and errs unless that is
// found. What is written at the same time, or what nobody knows of whether it was, may make a false answer
// possible; but each such change is done once, and between two false answers there is a true one, so that both
// need one of their own.
func findsFalse(history []porcupine.Operation, read deed) error {
	history = beginning(history, read, 60)
	if got := porcupine.CheckOperationsTimeout(linear, history, time.Minute); got != porcupine.Ok {
		return fmt.Errorf("%d operations, all answers true: %v", len(history), got)
	}
	made, spare := 0, false
	for i := len(history) / 2; i < len(history); i++ {
		if history[i].Input.(asked).deed != read {
			continue
		}
		if spare = !spare; !spare {
			continue
		}
		made++
		wrong := history[i].Output.(answered)
		wrong.value = 1 - min(wrong.value, 1)
		history[i].Output = wrong
	}
	if got := porcupine.CheckOperationsTimeout(linear, history, time.Minute); got != porcupine.Illegal {
		return fmt.Errorf("%d operations, with %d false answers to %v: %v", len(history), made, read, got)
	}
	return nil
}

// beginning gives what was done up to a moment, which has at least so many reads and as few changes of which nobody
// knows as can be: to say that nothing explains what was read takes exponentially longer with each of them. Changes
// that were not over yet at that moment are such, too.
func beginning(history []porcupine.Operation, read deed, least int) []porcupine.Operation {
	over := func(at int64) (done []porcupine.Operation, reads int) {
		for _, o := range history {
			switch in := o.Input.(asked); {
			case o.Return <= at:
				done = append(done, o)
				if in.deed == read {
					reads++
				}
			case o.Call < at && (in.deed == store || in.deed == promote || in.deed == ban):
				o.Output, o.Return = answered{unknown: true}, math.MaxInt64
				done = append(done, o)
			}
		}
		return done, reads
	}
	ends := []int64{math.MaxInt64 - 1}
	for _, o := range history {
		if o.Output.(answered).unknown {
			ends = append(ends, o.Call)
		}
	}
	slices.Sort(ends)
	for _, at := range ends {
		if done, reads := over(at); reads >= least || at == ends[len(ends)-1] {
			return done
		}
	}
	return nil
}

// TestFindsFalse: false answers are found also where many changes were never answered, so that each may have been
// done at any time since.
func TestFindsFalse(t *testing.T) {
	t.Parallel()
	const lost, reads = 20, 200
	var history []porcupine.Operation
	at := int64(0)
	did := func(in asked, out answered, end int64) {
		history = append(history, porcupine.Operation{ClientId: len(history), Input: in, Output: out, Call: at, Return: max(end, at+1)})
		at += 2
	}
	for i := range reads {
		if i >= 40 && i%5 == 0 && i/5-8 < lost {
			did(asked{promote, i % 2}, answered{unknown: true}, math.MaxInt64)
		}
		did(asked{promote, i / 10 % 2}, answered{}, 0)
		did(asked{deed: admins}, answered{value: i / 10 % 2}, 0)
	}
	if err := findsFalse(history, admins); err != nil {
		t.Error(err)
	}
}
