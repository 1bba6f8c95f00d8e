// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

const (
	ann = "ann@localhost"
	bob = "bob@localhost"
	eve = "eve@localhost"
)

func message(n int) Message {
	return Message{ID: fmt.Sprint("m", n), Sender: ann + "/a", From: ann, To: bob, Body: fmt.Sprint("body ", n), Outcome: Ticked}
}

func entry(n int) Entry {
	return Entry{ArchiveID: fmt.Sprint("s", n), OriginID: fmt.Sprint("m", n), From: ann, To: bob, Body: fmt.Sprint("body ", n)}
}

func sighting(n int) Sighting {
	return Sighting{Device: bob + "/b", Account: bob, Stream: "1", Entry: entry(n)}
}

// healthy is a drill of four messages in which nothing went wrong: three
// ticked, one unknown that was not archived.
func healthy() History {
	h := History{Complete: []Device{{bob + "/b", bob}}}
	for n := 1; n <= 4; n++ {
		h.Messages = append(h.Messages, message(n))
	}
	h.Messages[3].Outcome = Unknown
	for _, account := range []string{ann, bob} {
		h.Archives = append(h.Archives, Archive{Account: account, Entries: []Entry{entry(1), entry(2), entry(3)}})
	}
	h.Sightings = []Sighting{sighting(1), sighting(2), sighting(3)}
	return h
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name string
		harm func(h *History)
		want Verdict // of the violations and Repeated
	}{
		{"nothing wrong", func(*History) {}, Verdict{}},
		{"unknown was archived after all", func(h *History) {
			h.Archives[0].Entries = append(h.Archives[0].Entries, entry(4))
			h.Archives[1].Entries = append(h.Archives[1].Entries, entry(4))
		}, Verdict{}},
		{"unknown is out of order", func(h *History) {
			h.Messages[1].Outcome = Unknown
			for i := range h.Archives {
				h.Archives[i].Entries = []Entry{entry(2), entry(1), entry(3)}
			}
			h.Sightings = []Sighting{sighting(2), sighting(1), sighting(3)}
		}, Verdict{}},
		{"refused was archived at its first attempt", func(h *History) { h.Messages[1].Outcome = Refused }, Verdict{}},
		{"flushed again under the same archive id", func(h *History) {
			s := sighting(2)
			s.Stream = "2"
			h.Sightings = append(h.Sightings, s)
		}, Verdict{Repeated: 1}},
		{"redelivered behind a later one", func(h *History) { h.Sightings = append(h.Sightings, sighting(1)) }, Verdict{Repeated: 1}},
		{"two devices interleave", func(h *History) {
			h.Messages[1].Sender = ann + "/other"
			for i := range h.Archives {
				h.Archives[i].Entries = []Entry{entry(2), entry(1), entry(3)}
			}
			h.Sightings = []Sighting{sighting(2), sighting(1), sighting(3)}
		}, Verdict{}},
		{"pages of the archive arrive after live ones", func(h *History) {
			h.Sightings[0], h.Sightings[2] = h.Sightings[2], h.Sightings[0]
			for i := range h.Sightings {
				h.Sightings[i].Stream = ""
			}
		}, Verdict{}},

		{"lost", func(h *History) {
			for i := range h.Archives {
				h.Archives[i].Entries = []Entry{entry(1), entry(3)}
			}
			h.Sightings = []Sighting{sighting(1), sighting(3)}
		}, Verdict{Lost: 1}},
		{"lost though shown live", func(h *History) {
			for i := range h.Archives {
				h.Archives[i].Entries = []Entry{entry(1), entry(3)}
			}
		}, Verdict{Lost: 1, Phantom: 1}},
		{"hidden from the recipient", func(h *History) {
			h.Archives[1].Entries = []Entry{entry(1), entry(2)}
			h.Sightings = h.Sightings[:2]
		}, Verdict{Hidden: 1}},
		{"hidden from the sender", func(h *History) { h.Archives[0].Entries = []Entry{entry(2), entry(3)} }, Verdict{Hidden: 1}},
		{"hidden from the device", func(h *History) { h.Sightings = h.Sightings[:2] }, Verdict{Hidden: 1}},
		{"hidden through one node", func(h *History) {
			h.Archives = append(h.Archives, Archive{Node: "b", Account: bob, Entries: []Entry{entry(1), entry(2)}})
		}, Verdict{Hidden: 1, Diverged: 1}},
		{"nodes number the archive differently", func(h *History) {
			other := Archive{Node: "b", Account: bob, Entries: []Entry{entry(1), entry(2), entry(3)}}
			other.Entries[1].ArchiveID = "s9"
			h.Archives = append(h.Archives, other)
		}, Verdict{Diverged: 1}},
		{"duplicated in the archives", func(h *History) {
			again := entry(2)
			again.ArchiveID = "s9"
			for i := range h.Archives {
				h.Archives[i].Entries = append(h.Archives[i].Entries, again)
			}
		}, Verdict{Duplicated: 1}},
		{"duplicated to a device", func(h *History) {
			again := sighting(2)
			again.ArchiveID = "s9"
			h.Sightings = append(h.Sightings, again)
			h.Archives = h.Archives[:0]
			for i := range h.Messages {
				h.Messages[i].Outcome = Unknown
			}
		}, Verdict{Duplicated: 1}},
		{"duplicated without archive id", func(h *History) {
			h.Sightings[1].ArchiveID = ""
			h.Sightings = append(h.Sightings, h.Sightings[1])
		}, Verdict{Duplicated: 1}},
		{"one archive id for two messages", func(h *History) { h.Archives[0].Entries[1].ArchiveID = "s1" }, Verdict{Duplicated: 1}},
		{"reordered in an archive", func(h *History) {
			h.Archives[1].Entries = []Entry{entry(2), entry(1), entry(3)}
		}, Verdict{Reordered: 1}},
		{"reordered on a stream", func(h *History) {
			h.Sightings = []Sighting{sighting(3), sighting(1), sighting(2)}
		}, Verdict{Reordered: 2}},
		{"phantom that nobody sent", func(h *History) {
			h.Archives[1].Entries = append(h.Archives[1].Entries, entry(9))
		}, Verdict{Phantom: 1}},
		{"phantom without origin-id", func(h *History) {
			h.Sightings = append(h.Sightings, Sighting{Device: bob + "/b", Account: bob, Entry: Entry{From: eve, To: bob, Body: "hi"}})
		}, Verdict{Phantom: 1}},
		{"phantom with another body", func(h *History) { h.Archives[0].Entries[0].Body = "other" }, Verdict{Phantom: 1}},
		{"phantom with another sender", func(h *History) { h.Sightings[0].From = eve }, Verdict{Phantom: 1}},
		{"phantom in the archive of another", func(h *History) {
			h.Archives = append(h.Archives, Archive{Account: eve, Entries: []Entry{entry(1)}})
		}, Verdict{Phantom: 1}},
		{"stanza-id that the archive gives to another message", func(h *History) { h.Sightings[0].ArchiveID = "s3" }, Verdict{Phantom: 1}},
		{"false tick", func(h *History) { h.FalseTicks = []FalseTick{{"m1", "error after the tick"}} }, Verdict{FalseTicks: 1}},
		{"archive unread", func(h *History) { h.Archives = h.Archives[1:] }, Verdict{Unread: 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := healthy()
			tt.harm(&h)
			got := Judge(h)
			want := tt.want
			want.Invoked, want.Ticked, want.Unknown, want.Refused = got.Invoked, got.Ticked, got.Unknown, got.Refused
			findings := got.Findings
			got.Findings = nil
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("\n got %v\nwant %v\n%s", got, want, strings.Join(findings, "\n"))
			}
			if (len(findings) == 0) != want.Clean() {
				t.Errorf("clean is %v, but there are %d findings", want.Clean(), len(findings))
			}
		})
	}
}

func TestVerdictCountsOutcomes(t *testing.T) {
	h := healthy()
	h.Messages[0].Outcome = Refused
	v := Judge(h)
	if v.Invoked != 4 || v.Ticked != 2 || v.Unknown != 1 || v.Refused != 1 {
		t.Errorf("got %v", v)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	h := History{}
	for n := range 100 {
		h.Messages = append(h.Messages, message(n))
	}
	h.Archives = []Archive{{Account: ann}, {Account: bob}}
	v := Judge(h)
	if v.Lost != 100 || len(v.Findings) != MaxFindings {
		t.Errorf("lost %d, findings %d", v.Lost, len(v.Findings))
	}
}

func TestLog(t *testing.T) {
	l := NewLog()
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			m := message(n)
			l.Invoke(m)
			switch {
			case n == 0:
				l.Refuse(m.ID, "not-acceptable")
			case n == 1:
				l.Tick(m.ID)
				l.Refuse(m.ID, "not-acceptable")
			case n < 6:
				l.Tick(m.ID)
			}
			l.See(sighting(n))
		})
	}
	wg.Wait()
	l.Contradict("m2", "not found by a read after the tick")
	l.Tick("never invoked")
	l.Complete(Device{"d", bob})
	l.Read(Archive{Account: bob})
	h := l.History()
	v := Judge(h)
	if v.Invoked != 8 || v.Ticked != 5 || v.Refused != 1 || v.Unknown != 2 || v.FalseTicks != 2 || l.Ticked() != 5 {
		t.Errorf("got %v", v)
	}
	if len(h.Sightings) != 8 || len(h.Archives) != 1 || len(h.Complete) != 1 {
		t.Errorf("evidence is missing: %d sightings, %d archives", len(h.Sightings), len(h.Archives))
	}
}

// What is read again and again is held once: an hour's drill must not need more memory than a machine has.
func TestLogHoldsTextsOnce(t *testing.T) {
	l := NewLog()
	m := message(1)
	l.Invoke(m)
	copied := func(e Entry) Entry {
		for _, text := range []*string{&e.OriginID, &e.From, &e.To, &e.Body} {
			*text = strings.Clone(*text)
		}
		return e
	}
	e := Entry{ArchiveID: "1", OriginID: m.ID, From: m.From, To: m.To, Body: m.Body}
	l.See(Sighting{Device: "d", Account: bob, Entry: copied(e)})
	for _, node := range []string{"a", "b"} {
		l.Read(Archive{Node: node, Account: bob, Entries: []Entry{l.Known(copied(e))}})
	}
	changed := copied(e)
	changed.Body = "another"
	l.Read(Archive{Node: "c", Account: bob, Entries: []Entry{l.Known(changed)}})
	h := l.History()
	for _, got := range []Entry{h.Sightings[0].Entry, h.Archives[0].Entries[0]} {
		if got != e || unsafe.StringData(got.Body) != unsafe.StringData(h.Messages[0].Body) || unsafe.StringData(got.OriginID) != unsafe.StringData(h.Messages[0].ID) {
			t.Errorf("%+v has texts of its own", got)
		}
	}
	if &h.Archives[0].Entries[0] != &h.Archives[1].Entries[0] {
		t.Error("two equal archives have entries of their own")
	}
	if got := h.Archives[2].Entries[0]; got != changed {
		t.Errorf("%+v is not what was read", got)
	}
	if v := Judge(h); v.Diverged != 1 || v.Phantom != 1 || v.String() != l.Judge().String() {
		t.Errorf("got %v and %v", v, l.Judge())
	}
	l.Tick(m.ID)
	if owed := l.Owed(); len(owed) != 1 || !slices.Equal(owed[bob], []string{m.ID}) {
		t.Errorf("owed are %v", owed)
	}
}
