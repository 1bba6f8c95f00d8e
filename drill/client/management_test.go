// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"strconv"
	"testing"
)

func TestAcknowledge(t *testing.T) {
	for _, start := range []uint32{0, 7, 1<<32 - 3} {
		m := &management{acked: start}
		var sent []*Outgoing
		for range 5 {
			o := NewMessage("bob@localhost", "hi")
			sent = append(sent, o)
			m.sent(pending{out: o})
		}
		steps := []struct {
			h       uint32 // beyond start
			handled int
		}{{0, 0}, {2, 2}, {2, 0}, {5, 3}, {5, 0}}
		next := 0
		for _, step := range steps {
			h := start + step.h // wraps like the server's counter
			handled, err := m.acknowledge(strconv.FormatUint(uint64(h), 10))
			if err != nil || len(handled) != step.handled {
				t.Fatalf("start %d, h=%d: handled %d, %v", start, h, len(handled), err)
			}
			for _, p := range handled {
				if p.out != sent[next] {
					t.Fatalf("start %d: out of order", start)
				}
				next++
			}
		}
	}
}

func TestAcknowledgeRefuses(t *testing.T) {
	m := &management{acked: 10}
	m.sent(pending{out: NewMessage("bob@localhost", "hi")})
	for _, h := range []string{"12", "9", "", "-1", "x", "4294967296"} {
		handled, err := m.acknowledge(h)
		if !errors.Is(err, ErrProtocol) || handled != nil {
			t.Errorf("h=%q: handled %d, %v", h, len(handled), err)
		}
	}
	if m.acked != 10 || len(m.queue) != 1 {
		t.Errorf("changed by refused h: %d, %d", m.acked, len(m.queue))
	}
}

// A lower bound may be lower than what is known already; then nothing is learnt.
func TestAtLeast(t *testing.T) {
	m := &management{acked: 4, queue: []pending{{}, {}}}
	for _, c := range []struct {
		h       string
		handled int
		acked   uint32
		good    bool
	}{{"3", 0, 4, true}, {"4294967295", 0, 4, true}, {"4", 0, 4, true}, {"5", 1, 5, true}, {"7", 0, 5, false}, {"x", 0, 5, false}} {
		handled, err := m.atLeast(c.h)
		if len(handled) != c.handled || m.acked != c.acked || (err == nil) != c.good {
			t.Errorf("h=%s: %d handled, %d acknowledged, %v", c.h, len(handled), m.acked, err)
		}
	}
}
