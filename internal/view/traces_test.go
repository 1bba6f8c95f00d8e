// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"bavard/internal/command"
	"bavard/internal/stanza"
)

// manyInvites makes invites of eve, which whoever looks for traces has to look at.
func (c *cellOf) manyInvites(n int) {
	c.t.Helper()
	var batch []*command.Command
	for i := range n {
		batch = append(batch, invite(fmt.Sprint("eves", i), 1, time.Time{}, "eve", ""))
	}
	for _, o := range c.apply(batch...).Outcomes {
		if o.Verdict != command.Accepted {
			c.t.Fatal(o.Err)
		}
	}
}

// leavesTraces has an account leave some in each table that is looked at.
func (c *cellOf) leavesTraces(name string) {
	c.t.Helper()
	c.accept(nick("public", name, "Guest", false))
	c.accept(relate("bob", "n", "bob", joined(name)))
	c.accept(invite("mine", 3, time.Time{}, name, "gang"))
}

// What others say of a deleted account goes in slices, which go on after a restart; until
// it has gone the name is not given again, so that nobody is taken for the one before.
func TestTracesGoInSlices(t *testing.T) {
	for _, anew := range []bool{false, true} {
		c := newCell(t, "ann", "bob", "eve")
		c.accept(publish("bob", "n", "i", "<x/>", keeps(10)))
		c.manyInvites(5 * traceSlice)
		c.accept(makeRoom("public", "bob", open()))
		for i := range traceSlice {
			c.accept(makeRoom(fmt.Sprint("r", i), "bob", open()))
		}
		c.leavesTraces("ann")
		c.accept(remove("ann"))
		if n, err := c.v.count(tableTrace); err != nil || n != 1 {
			t.Fatalf("%d notes, %v", n, err)
		}
		c.reopen()
		c.scrub()
		if anew {
			for slices := 0; c.apply(create("ann")).Outcomes[0].Verdict != command.Accepted; slices++ {
				if slices > 20 {
					t.Fatal("the name is never given again")
				}
				c.refused(create("ann"), stanza.Conflict)
				c.accept(&command.Command{Request: &command.Command_ArchiveSweep{ArchiveSweep: &command.ArchiveSweep{}}})
			}
			if n, err := c.v.count(tableTrace); err != nil || n != 0 {
				t.Errorf("%d notes of who was made anew, %v", n, err)
			}
			c.leavesTraces("ann")
		}
		n := c.sweep()
		if anew {
			c.checkTraces(1, 1, 5*traceSlice+1)
		} else {
			if n < 6 {
				t.Errorf("all was done in %d slices", n)
			}
			c.checkTraces(0, 0, 5*traceSlice)
		}
		c.scrub()
		checkRooms(t, c.v)
	}
}

func (c *cellOf) checkTraces(guests, relations, invites int) {
	c.t.Helper()
	for table, want := range map[byte]int{tableGuest: guests, tableRelation: relations, tableInvite: invites, tableTrace: 0} {
		if n, err := c.v.count(table); err != nil || n != want {
			c.t.Errorf("table %c has %d records, %v, want %d", table, n, err, want)
		}
	}
}

// BenchmarkDelete deletes an account beside 100,000 rooms and as many invites, and
// tells what each of the commands took, the deletion and the sweeps, that half and 99 in 100
// of them did not exceed.
func BenchmarkDelete(b *testing.B) {
	c := newCell(b, "bob", "eve")
	for n := 0; n < 100_000; n += 1000 {
		var batch []*command.Command
		for i := range 1000 {
			batch = append(batch, makeRoom(fmt.Sprint("room", n+i), fmt.Sprint("m", (n+i)/500), open()), invite(fmt.Sprint("i", n+i), 1, time.Time{}, "eve", ""))
		}
		if n%500 == 0 {
			c.apply(create(fmt.Sprint("m", n/500)), create(fmt.Sprint("m", n/500+1)))
		}
		c.apply(batch...)
	}
	if err := c.v.Flush(); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		c.accept(create("gone"))
		before := time.Now()
		c.accept(remove("gone"))
		took = append(took, time.Since(before))
		for {
			sweeping, err := c.v.Sweeping()
			if err != nil {
				b.Fatal(err)
			}
			if !sweeping {
				break
			}
			before := time.Now()
			c.accept(&command.Command{Request: &command.Command_ArchiveSweep{ArchiveSweep: &command.ArchiveSweep{}}})
			took = append(took, time.Since(before))
		}
	}
	slices.Sort(took)
	for of, at := range map[string]int{"ms-half": len(took) / 2, "ms-p99": len(took) * 99 / 100, "ms-longest": len(took) - 1} {
		b.ReportMetric(float64(took[at].Microseconds())/1000, of)
	}
	b.ReportMetric(float64(len(took))/float64(b.N), "commands/op")
	if n, err := c.v.count(tableRoom); err != nil || n != 100_000 {
		b.Errorf("%d rooms, %v", n, err)
	}
}
