// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"fmt"
	"slices"
)

type kind uint8

const (
	lost kind = iota
	hidden
	duplicated
	reordered
	phantom
	falseTick
	unread
	diverged
	kinds
)

func (k kind) String() string {
	return [...]string{"lost", "hidden", "duplicated", "reordered", "phantom", "false tick", "unread", "diverged"}[k]
}

// place is an archive as seen through one node.
type place struct{ node, account string }

// conversation is what order is promised within.
type conversation struct{ sender, to string }

type court struct {
	h  History
	v  Verdict
	by map[string]int // id → index into h.Messages

	// accused are the messages (or archive entries) already counted, by kind.
	accused  [kinds]map[string]bool
	findings [kinds][]string

	// held are the messages that each archive holds, by index.
	held map[place]set
	// stored tells the origin-id behind each archive id of an account.
	stored map[string]map[string]string
	// seen tells the archive id under which a device first saw each message, by index; again
	// are the others.
	seen  map[string]map[int]string
	again map[sighted]bool
}

// sighted is an archive id under which a device saw a message.
type sighted struct {
	device    string
	message   int
	archiveID string
}

// set is one of small numbers.
type set []uint64

func (s set) add(n int)      { s[n/64] |= 1 << (n % 64) }
func (s set) has(n int) bool { return s[n/64]&(1<<(n%64)) != 0 }

func newCourt(h History) *court {
	c := &court{
		h: h, by: make(map[string]int, len(h.Messages)),
		held: map[place]set{}, stored: map[string]map[string]string{}, seen: map[string]map[int]string{}, again: map[sighted]bool{},
	}
	for k := range c.accused {
		c.accused[k] = map[string]bool{}
	}
	for i := range h.Messages {
		c.by[h.Messages[i].ID] = i
	}
	return c
}

// accuse counts a violation once per kind and key.
func (c *court) accuse(k kind, key, format string, args ...any) {
	if c.accused[k][key] {
		return
	}
	c.accused[k][key] = true
	if len(c.findings[k]) < MaxFindings {
		c.findings[k] = append(c.findings[k], k.String()+": "+fmt.Sprintf(format, args...))
	}
}

func (c *court) countOutcomes() {
	c.v.Invoked = len(c.h.Messages)
	for i := range c.h.Messages {
		switch c.h.Messages[i].Outcome {
		case Ticked:
			c.v.Ticked++
		case Refused:
			c.v.Refused++
		default:
			c.v.Unknown++
		}
	}
}

// known finds the message behind an entry that account was shown, or accuses
// the entry of being a phantom.
func (c *court) known(account, where string, e *Entry) (int, bool) {
	i, ok := c.by[e.OriginID]
	if !ok {
		c.accuse(phantom, where+"\x00"+e.ArchiveID+"\x00"+e.OriginID, "%s shows %q (archive id %s), which nobody sent", where, e.OriginID, e.ArchiveID)
		return 0, false
	}
	m := &c.h.Messages[i]
	switch {
	case e.From != m.From || e.To != m.To:
		c.accuse(phantom, m.ID, "%s shows %s from %s to %s; it was sent from %s to %s", where, m.ID, e.From, e.To, m.From, m.To)
	case e.Body != m.Body:
		c.accuse(phantom, m.ID, "%s shows %s with another body", where, m.ID)
	case account != m.From && account != m.To:
		c.accuse(phantom, m.ID, "%s shows %s, which is between %s and %s", where, m.ID, m.From, m.To)
	}
	return i, true
}

func (c *court) readArchive(a *Archive) {
	where := "archive of " + a.Account
	if a.Node != "" {
		where += " through " + a.Node
	}
	held := make(set, len(c.h.Messages)/64+1)
	ids := make(map[string]string, len(a.Entries))
	last := map[conversation]int{}
	for i := range a.Entries {
		e := &a.Entries[i]
		if other, ok := ids[e.ArchiveID]; ok {
			c.accuse(duplicated, e.OriginID, "%s holds archive id %s twice: %s and %s", where, e.ArchiveID, other, e.OriginID)
		}
		ids[e.ArchiveID] = e.OriginID
		n, ok := c.known(a.Account, where, e)
		if !ok {
			continue
		}
		if held.has(n) {
			c.accuse(duplicated, e.OriginID, "%s holds %s twice", where, e.OriginID)
			continue
		}
		held.add(n)
		c.follow(last, n, where)
	}
	c.held[place{a.Node, a.Account}] = held
	if c.stored[a.Account] == nil {
		c.stored[a.Account] = ids
	}
}

// follow checks that message n does not stand behind a later one of its
// conversation; last holds the latest so far. Only ticked messages count:
// others may have been accepted at any of their repetitions.
func (c *court) follow(last map[conversation]int, n int, where string) {
	m := &c.h.Messages[n]
	if m.Outcome != Ticked {
		return
	}
	key := conversation{m.Sender, m.To}
	if before, ok := last[key]; ok && before > n {
		c.accuse(reordered, m.ID, "%s shows %s after %s", where, m.ID, c.h.Messages[before].ID)
		return
	}
	last[key] = n
}

// compareNodes holds each account's archive through one node against the
// others.
func (c *court) compareNodes() {
	first := map[string]*Archive{}
	for i := range c.h.Archives {
		a := &c.h.Archives[i]
		b, ok := first[a.Account]
		if !ok {
			first[a.Account] = a
			continue
		}
		if !slices.Equal(a.Entries, b.Entries) {
			c.accuse(diverged, a.Account, "archive of %s: %d entries through %s, %d through %s, or they differ", a.Account, len(b.Entries), b.Node, len(a.Entries), a.Node)
		}
	}
}

func (c *court) readSightings() {
	last := map[string]map[conversation]int{}
	for i := range c.h.Sightings {
		s := &c.h.Sightings[i]
		n, ok := c.known(s.Account, s.Device, &s.Entry)
		if !ok {
			continue
		}
		if stored, read := c.stored[s.Account]; read && s.ArchiveID != "" && stored[s.ArchiveID] != s.OriginID {
			c.accuse(phantom, s.OriginID, "%s saw %s as archive id %s, under which the archive of %s has %q", s.Device, s.OriginID, s.ArchiveID, s.Account, stored[s.ArchiveID])
		}
		if !c.see(n, s) || s.Stream == "" {
			continue
		}
		stream := s.Device + "\x00" + s.Stream
		if last[stream] == nil {
			last[stream] = map[conversation]int{}
		}
		c.follow(last[stream], n, "stream "+s.Stream+" of "+s.Device)
	}
}

// see records a sighting of message n and reports whether it shows the user something new.
// A sighting without archive id cannot be told from a second message, so each
// counts as one.
func (c *court) see(n int, s *Sighting) bool {
	seen := c.seen[s.Device]
	if seen == nil {
		seen = map[int]string{}
		c.seen[s.Device] = seen
	}
	first, again := seen[n]
	if !again {
		seen[n] = s.ArchiveID
		return true
	}
	this := sighted{s.Device, n, s.ArchiveID}
	if s.ArchiveID != "" && (first == s.ArchiveID || c.again[this]) {
		c.v.Repeated++
		return false
	}
	c.accuse(duplicated, s.OriginID, "%s saw %s as %q and as %q", s.Device, s.OriginID, first, s.ArchiveID)
	c.again[this] = true
	return false
}

// searchTicked looks for each ticked message in all archives that must hold it.
func (c *court) searchTicked() {
	places := map[string][]place{}
	for p := range c.held {
		places[p.account] = append(places[p.account], p)
	}
	for i := range c.h.Messages {
		m := &c.h.Messages[i]
		if m.Outcome != Ticked {
			continue
		}
		var missing []place
		found := false
		for _, account := range []string{m.From, m.To} {
			if len(places[account]) == 0 {
				c.accuse(unread, m.ID, "%s was ticked, but the archive of %s was not read", m.ID, account)
			}
			for _, p := range places[account] {
				if c.held[p].has(i) {
					found = true
				} else {
					missing = append(missing, p)
				}
			}
		}
		switch {
		case len(missing) == 0:
		case !found:
			c.accuse(lost, m.ID, "%s from %s to %s was ticked and is in no archive", m.ID, m.Sender, m.To)
		default:
			c.accuse(hidden, m.ID, "%s was ticked and is missing from the archive of %s %s", m.ID, missing[0].account, missing[0].node)
		}
	}
}

func (c *court) checkComplete() {
	devices := map[string][]string{}
	for _, d := range c.h.Complete {
		devices[d.Account] = append(devices[d.Account], d.Name)
	}
	for i := range c.h.Messages {
		m := &c.h.Messages[i]
		if m.Outcome != Ticked {
			continue
		}
		for _, d := range devices[m.To] {
			if _, seen := c.seen[d][i]; !seen && !c.accused[lost][m.ID] {
				c.accuse(hidden, m.ID, "%s was ticked, but %s never saw it", m.ID, d)
			}
		}
	}
}

func (c *court) verdict() Verdict {
	v := c.v
	v.Lost, v.Hidden = len(c.accused[lost]), len(c.accused[hidden])
	v.Duplicated, v.Reordered = len(c.accused[duplicated]), len(c.accused[reordered])
	v.Phantom, v.FalseTicks = len(c.accused[phantom]), len(c.accused[falseTick])
	v.Unread, v.Diverged = len(c.accused[unread]), len(c.accused[diverged])
	for _, f := range c.findings {
		v.Findings = append(v.Findings, f...)
	}
	return v
}
