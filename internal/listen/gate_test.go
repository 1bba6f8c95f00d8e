// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"net/netip"
	"testing"
)

func TestGate(t *testing.T) {
	g := newGate(Limits{Connections: 5, Strangers: 3, StrangersPerBlock: 2})
	enter := func(addr string, want bool) *pass {
		t.Helper()
		p := g.enter(netip.MustParseAddr(addr))
		if (p != nil) != want {
			t.Errorf("%s: entered %v, want %v", addr, p != nil, want)
		}
		return p
	}
	a := enter("192.0.2.1", true)
	enter("192.0.2.1", true)
	enter("192.0.2.1", false)        // the block
	enter("::ffff:192.0.2.1", false) // the same block
	b := enter("192.0.2.2", true)
	enter("192.0.2.3", false) // strangers
	a.known()
	a.known() // once counts
	c := enter("192.0.2.1", true)
	b.known()
	enter("127.0.0.1", true)
	b.leave()
	b.leave()
	c.known()
	enter("2001:db8::1", true)
	enter("2001:db8:1::1", false) // full
	if s := g.snapshot(); s.Open != 5 || s.Strangers != 3 || s.Accepted != 6 || s.RefusedBlock != 2 || s.RefusedStrangers != 1 || s.RefusedFull != 1 {
		t.Errorf("%+v", s)
	}
}

func TestBlocks(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1/32",
		"::ffff:192.0.2.1":     "192.0.2.1/32",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"fe80::1%eth0":         "fe80::/64",
		"127.0.0.2":            "invalid Prefix",
		"::1":                  "invalid Prefix",
		"::ffff:127.0.0.1":     "invalid Prefix",
	} {
		if got := block(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestGateForgets(t *testing.T) {
	g := newGate(Limits{Connections: 10000, Strangers: 10000, StrangersPerBlock: 1})
	var passes []*pass
	for i := range 1000 {
		passes = append(passes, g.enter(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})))
	}
	for i, p := range passes {
		if i%2 == 0 {
			p.known()
		}
		p.leave()
	}
	if s := g.snapshot(); s.Open != 0 || s.Strangers != 0 || len(g.blocks) != 0 {
		t.Errorf("%+v, %d blocks", s, len(g.blocks))
	}
}
