// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bavard/internal/command"
	"bavard/internal/state"
)

// talk archives n messages between ann and bob, turn about, a second apart,
// and returns their positions. Their ids are "0" … in order.
func talk(c *cellOf, n int) []command.Position {
	var at []command.Position
	for i := range n {
		from, to := "ann/x", "bob"
		if i%2 == 1 {
			from, to = "bob/y", "ann/x"
		}
		c.accept(message(from, to, fmt.Sprint(i)))
		at = append(at, c.v.Applied())
		c.now = c.now.Add(time.Second)
	}
	return at
}

func TestArchivePages(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	p := talk(c, 10)
	bob := at("bob")
	for name, row := range map[string]struct {
		q    state.Query
		want string
	}{
		"first page":          {state.Query{Max: 3}, "0 1 2 false"},
		"exactly all":         {state.Query{Max: 10}, "0 1 2 3 4 5 6 7 8 9 true"},
		"one short":           {state.Query{Max: 9}, "0 1 2 3 4 5 6 7 8 false"},
		"next page":           {state.Query{Max: 3, After: p[2]}, "3 4 5 false"},
		"last of forward":     {state.Query{Max: 3, After: p[6]}, "7 8 9 true"},
		"after the end":       {state.Query{Max: 3, After: p[9]}, "true"},
		"last page":           {state.Query{Max: 3, Backward: true}, "7 8 9 false"},
		"page before":         {state.Query{Max: 3, Backward: true, Before: p[7]}, "4 5 6 false"},
		"first of backward":   {state.Query{Max: 4, Backward: true, Before: p[4]}, "0 1 2 3 true"},
		"before the start":    {state.Query{Max: 4, Backward: true, Before: p[0]}, "true"},
		"after-id":            {state.Query{AfterID: p[7]}, "8 9 true"},
		"before-id":           {state.Query{BeforeID: p[2]}, "0 1 true"},
		"between":             {state.Query{AfterID: p[2], BeforeID: p[6]}, "3 4 5 true"},
		"between, paged":      {state.Query{AfterID: p[2], BeforeID: p[6], Max: 2, After: p[3]}, "4 5 true"},
		"between, last":       {state.Query{AfterID: p[2], BeforeID: p[8], Max: 2, Backward: true}, "6 7 false"},
		"crossed":             {state.Query{AfterID: p[6], BeforeID: p[2]}, "true"},
		"since":               {state.Query{Since: p[7]}, "8 9 true"},
		"since nowhere":       {state.Query{Since: command.Position{Revision: p[7].Revision, Index: 77}}, "8 9 true"},
		"start":               {state.Query{Start: start.Add(7 * time.Second)}, "7 8 9 true"},
		"start between":       {state.Query{Start: start.Add(6*time.Second + 1)}, "7 8 9 true"},
		"start after all":     {state.Query{Start: start.Add(time.Hour)}, "true"},
		"start before all":    {state.Query{Start: start.Add(-time.Hour), Max: 1}, "0 false"},
		"end":                 {state.Query{End: start.Add(2 * time.Second)}, "0 1 2 true"},
		"end before all":      {state.Query{End: start.Add(-time.Hour)}, "true"},
		"end before 1970":     {state.Query{End: time.Unix(-5, 0)}, "true"},
		"end after all":       {state.Query{End: start.Add(time.Hour), Backward: true, Max: 1}, "9 false"},
		"start to end, back":  {state.Query{Start: start.Add(2 * time.Second), End: start.Add(5 * time.Second), Backward: true, Max: 3}, "3 4 5 false"},
		"ids":                 {state.Query{IDs: []command.Position{p[5], p[2], p[5]}}, "2 5 true"},
		"ids, paged":          {state.Query{IDs: []command.Position{p[5], p[2], p[7]}, Max: 1, After: p[2]}, "5 false"},
		"ids, last":           {state.Query{IDs: []command.Position{p[5], p[2], p[7]}, Max: 1, Backward: true}, "7 false"},
		"ids with somebody":   {state.Query{IDs: []command.Position{p[5]}, With: at("eve")}, "true"},
		"incoming":            {state.Query{OnlyIncoming: true}, "1 3 5 7 9 true"},
		"incoming of peer":    {state.Query{OnlyIncoming: true, With: bob}, "1 3 5 7 9 true"},
		"full JID":            {state.Query{With: bob + "/y"}, "1 3 5 7 9 true"},
		"full JID, paged":     {state.Query{With: bob + "/y", Max: 2, Backward: true}, "7 9 false"},
		"another full JID":    {state.Query{With: bob + "/z"}, "true"},
		"somebody unknown":    {state.Query{With: "who@example.com"}, "true"},
		"somebody else":       {state.Query{With: at("eve")}, "true"},
		"oneself":             {state.Query{With: at("ann")}, "true"},
		"more than allowed":   {state.Query{Max: 100000}, "0 1 2 3 4 5 6 7 8 9 true"},
		"a negative page":     {state.Query{Max: -1}, "0 1 2 3 4 5 6 7 8 9 true"},
		"bodies of both ways": {state.Query{With: bob, Max: 2}, "0 1 false"},
	} {
		row.q.Account = at("ann")
		if got := ids(c.archive(row.q)); got != row.want {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
		if row.q.With == "" {
			row.q.With = bob
			if got := ids(c.archive(row.q)); got != row.want {
				t.Errorf("%s with bob: %q, want %q", name, got, row.want)
			}
		}
	}
}

// A page of large messages is shorter, and never empty.
func TestArchivePagesAreBoundedInBytes(t *testing.T) {
	c := newCell(t, "ann", "bob")
	const n = 7
	for i := range n {
		m := message("ann/x", "bob", fmt.Sprint(i))
		m.GetMessage().Payload = []byte("<body>" + strings.Repeat("x", 600<<10) + "</body>")
		c.accept(m)
	}
	for _, backward := range []bool{false, true} {
		q := state.Query{Account: at("bob"), Backward: backward}
		seen := 0
		for {
			page, err := c.v.Archive(context.Background(), q)
			if err != nil || len(page.Entries) != 1 && !page.Complete {
				t.Fatalf("a page of %d: %v", len(page.Entries), err)
			}
			if seen += len(page.Entries); page.Complete {
				break
			}
			if backward {
				q.Before = page.Entries[0].Position
			} else {
				q.After = page.Entries[0].Position
			}
		}
		if seen != n {
			t.Errorf("backward %v: %d of %d messages", backward, seen, n)
		}
	}
}

func TestArchiveItemNotFound(t *testing.T) {
	c := newCell(t, "ann", "bob", "eve")
	talk(c, 3)
	c.accept(message("eve/x", "bob", "secret"))
	foreign, unknown := c.v.Applied(), command.Position{Revision: 9999}
	for _, p := range []command.Position{foreign, unknown} {
		for name, q := range map[string]state.Query{
			"after": {After: p}, "before": {Before: p, Backward: true}, "after-id": {AfterID: p}, "before-id": {BeforeID: p},
			"ids": {IDs: []command.Position{p}}, "with": {After: p, With: at("nobody")},
		} {
			q.Account = at("ann")
			if _, err := c.v.Archive(context.Background(), q); !errors.Is(err, state.ErrNotFound) {
				t.Errorf("%s %v: error %v", name, p, err)
			}
		}
	}
	if _, err := c.v.Archive(context.Background(), state.Query{Account: at("who")}); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	many := make([]command.Position, maxIDs+1)
	if _, err := c.v.Archive(context.Background(), state.Query{Account: at("ann"), IDs: many}); !errors.Is(err, state.ErrTooBroad) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.v.Archive(ctx, state.Query{Account: at("ann")}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestArchiveEnds(t *testing.T) {
	c := newCell(t, "ann", "bob")
	if first, last, err := c.v.ArchiveEnds(state.Query{Account: at("ann")}); first != nil || last != nil || err != nil {
		t.Fatalf("%v %v %v", first, last, err)
	}
	p := talk(c, 5)
	first, last, err := c.v.ArchiveEnds(state.Query{Account: at("ann")})
	if err != nil || first.Position != p[0] || last.Position != p[4] || !last.Time.Equal(start.Add(4*time.Second)) {
		t.Fatalf("%v %v %v", first, last, err)
	}
	if _, _, err := c.v.ArchiveEnds(state.Query{Account: at("who")}); !errors.Is(err, state.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
}

// A search that would look at too much says so instead of holding others up.
func TestArchiveLooksAreBounded(t *testing.T) {
	c := newCell(t, "ann", "bob")
	for range maxBodies/1000 + 1 {
		var cmds []*command.Command
		for i := range 1000 {
			cmds = append(cmds, on(message("ann/x", "bob", ""), 1, uint32(c.revision)*1000+uint32(i)))
		}
		c.apply(cmds...)
	}
	c.accept(message("bob/y", "ann", "rare"))
	rare := state.Query{Account: at("ann"), With: at("bob") + "/y"}
	if _, err := c.v.Archive(context.Background(), rare); !errors.Is(err, state.ErrTooBroad) {
		t.Fatalf("error %v", err)
	}
	rare.Backward = true
	if got := ids(c.archive(rare)); got != "rare false" {
		t.Fatalf("got %q", got)
	}
	// Directions are in the index.
	if got := ids(c.archive(state.Query{Account: at("ann"), OnlyIncoming: true})); got != "rare true" {
		t.Fatalf("got %q", got)
	}
}

// However it is paged, forwards or backwards, the pages together are the whole
// result, in order, and Complete is said on the last page only.
func TestPagesAreTheWholeArchive(t *testing.T) {
	names := []string{"ann", "bob", "eve"}
	c := newCell(t, names...)
	var all []state.Entry
	rapid.Check(t, func(r *rapid.T) {
		// Each round adds a few messages and reads all in a few ways.
		var cmds []*command.Command
		for range rapid.IntRange(1, 9).Draw(r, "messages") {
			from, to := rapid.SampledFrom(names).Draw(r, "from"), rapid.SampledFrom(names).Draw(r, "to")
			cmds = append(cmds, message(from+"/"+rapid.SampledFrom([]string{"a", "b"}).Draw(r, "resource"), to, fmt.Sprint(len(all)+len(cmds))))
		}
		c.now = c.now.Add(time.Duration(rapid.IntRange(0, 90).Draw(r, "seconds")) * time.Second)
		for i, o := range c.apply(cmds...).Outcomes {
			all = append(all, state.Entry{Position: o.Position, Time: o.Time, Message: cmds[i].GetMessage()})
		}
		q := state.Query{
			Account: at(rapid.SampledFrom(names).Draw(r, "account")), Max: rapid.IntRange(1, 7).Draw(r, "max"),
			With:         rapid.SampledFrom([]string{"", at("ann"), at("bob"), at("eve") + "/a"}).Draw(r, "with"),
			Backward:     rapid.Bool().Draw(r, "backward"),
			OnlyIncoming: rapid.Bool().Draw(r, "incoming"),
		}
		if rapid.Bool().Draw(r, "start") {
			q.Start = rapid.SampledFrom(all).Draw(r, "from").Time
		}
		if rapid.Bool().Draw(r, "end") {
			q.End = rapid.SampledFrom(all).Draw(r, "until").Time
		}
		want := expect(all, &q)
		var got []state.Entry
		for {
			page := c.archive(q)
			if len(page.Entries) > q.Max {
				r.Fatalf("page of %d", len(page.Entries))
			}
			if q.Backward {
				got = append(slices.Clone(page.Entries), got...)
			} else {
				got = append(got, page.Entries...)
			}
			if page.Complete {
				break
			}
			if len(page.Entries) == 0 {
				r.Fatal("an empty page is not complete")
			}
			q.Before, q.After = command.Position{}, page.Entries[len(page.Entries)-1].Position
			if q.Backward {
				q.Before, q.After = page.Entries[0].Position, command.Position{}
			}
			if len(got) >= len(want) {
				r.Fatalf("%d entries and not complete, want %d", len(got), len(want))
			}
		}
		if g, w := render(got), render(want); g != w {
			r.Fatalf("got  %s\nwant %s", g, w)
		}
	})
}

func render(entries []state.Entry) string {
	var s strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&s, "%v %v %s %s %s %s|", e.Position, e.Time, e.Message.From, e.Message.To, e.Message.Id, e.Message.Payload)
	}
	return s.String()
}

// expect is the archive as the specification says it.
func expect(all []state.Entry, q *state.Query) []state.Entry {
	var out []state.Entry
	for _, e := range all {
		from, to := bare(e.Message.From), bare(e.Message.To)
		peer := to
		if to == q.Account {
			peer = from
		}
		switch {
		case from != q.Account && to != q.Account,
			q.With != "" && peer != bare(q.With),
			q.With != bare(q.With) && e.Message.From != q.With && e.Message.To != q.With,
			q.OnlyIncoming && to != q.Account,
			!q.Start.IsZero() && e.Time.Before(q.Start),
			!q.End.IsZero() && e.Time.After(q.End):
			continue
		}
		out = append(out, e)
	}
	return out
}
