// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Query asks for a page of the account's archive (XEP-0313 §query @1.1.3).
type Query struct {
	With       string
	Start, End time.Time // zero: open
	// After and Before page forwards and backwards (XEP-0059 §forwards @1.0);
	// Last asks for the last page.
	After, Before string
	Last          bool
	// AfterID and BeforeID are the fields after-id and before-id of
	// urn:xmpp:mam:2#extended.
	AfterID, BeforeID string
	// Max is how many messages at most; 0 leaves it to the server.
	Max int
}

// Page is a page of the archive, in the archive's order.
type Page struct {
	Messages    []*Inbound
	First, Last string // archive ids
	Complete    bool   // no more in this direction
	Count       int    // of the whole result, -1 when the server does not say

	err error
}

// maxPage bounds what a server may send as one page.
const maxPage = 10_000

// collect adds a result to the page that asked for it; others are ignored.
func (s *Session) collect(result *xmlstream.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := s.pages[result.Get("queryid")]
	if page == nil || page.err != nil {
		return
	}
	in := unwrap(result, s.cfg.JID)
	switch {
	case in == nil:
		page.err = fmt.Errorf("%w: archive result without message", ErrProtocol)
	case len(page.Messages) >= maxPage:
		page.err = fmt.Errorf("%w: archive page without end", ErrProtocol)
	default:
		in.ArchiveID = result.Get("id")
		page.Messages = append(page.Messages, in)
	}
}

// Archive reads one page.
func (s *Session) Archive(ctx context.Context, q Query) (*Page, error) {
	s.mu.Lock()
	queryID := "a" + s.nextID()
	page := &Page{Count: -1}
	s.pages[queryID] = page
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pages, queryID)
		s.mu.Unlock()
	}()
	response, err := s.IQ(ctx, xmlstream.New(stanza.NSClient, "iq", "type", "set").Add(q.element(queryID)))
	if err != nil {
		return nil, err
	}
	if page.err != nil {
		return nil, page.err
	}
	fin := response.Child(stanza.NSMAM, "fin")
	if fin == nil {
		return nil, fmt.Errorf("%w: archive response without fin", ErrProtocol)
	}
	page.Complete = fin.Get("complete") == "true" || fin.Get("complete") == "1"
	set := fin.Child(stanza.NSRSM, "set")
	page.First = text(set, "first")
	page.Last = text(set, "last")
	if n, err := strconv.Atoi(text(set, "count")); err == nil {
		page.Count = n
	}
	if n := len(page.Messages); n > 0 && (page.First != page.Messages[0].ArchiveID || page.Last != page.Messages[n-1].ArchiveID) {
		return nil, fmt.Errorf("%w: archive page's first and last are not those of its messages", ErrProtocol)
	}
	return page, nil
}

// text returns the text of a child in RSM's namespace, "" when absent.
func text(set *xmlstream.Element, local string) string {
	if c := set.Child(stanza.NSRSM, local); c != nil {
		return c.Text()
	}
	return ""
}

func (q *Query) element(id string) *xmlstream.Element {
	form := xmlstream.New(stanza.NSData, "x", "type", "submit")
	field := func(name, kind, value string) {
		if value != "" {
			form.Add(xmlstream.New(stanza.NSData, "field", "var", name, "type", kind).Add(xmlstream.NewText(stanza.NSData, "value", value)))
		}
	}
	field("FORM_TYPE", "hidden", stanza.NSMAM)
	field("with", "", q.With)
	if !q.Start.IsZero() {
		field("start", "", q.Start.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	if !q.End.IsZero() {
		field("end", "", q.End.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	field("after-id", "", q.AfterID)
	field("before-id", "", q.BeforeID)

	e := xmlstream.New(stanza.NSMAM, "query", "queryid", id)
	if len(form.Children) > 1 {
		e.Add(form)
	}
	set := xmlstream.New(stanza.NSRSM, "set")
	if q.Max > 0 {
		set.Add(xmlstream.NewText(stanza.NSRSM, "max", itoa(q.Max)))
	}
	if q.After != "" {
		set.Add(xmlstream.NewText(stanza.NSRSM, "after", q.After))
	}
	if q.Before != "" || q.Last {
		set.Add(xmlstream.NewText(stanza.NSRSM, "before", q.Before))
	}
	if len(set.Children) > 0 {
		e.Add(set)
	}
	return e
}

// ArchiveForwards reads everything that q selects in pages of q.Max, from
// q.After on.
func (s *Session) ArchiveForwards(ctx context.Context, q Query) (all []*Inbound, err error) {
	err = Forwards(ctx, s.Archive, q, func(in *Inbound) { all = append(all, in) })
	return all, err
}

// Forwards is ArchiveForwards for archives that are larger than what one wants to keep, or longer than a session: it
// asks for one page after the other, and gives one message after the other to take.
func Forwards(ctx context.Context, ask func(context.Context, Query) (*Page, error), q Query, take func(*Inbound)) error {
	for {
		page, err := ask(ctx, q)
		if err != nil {
			return err
		}
		for _, in := range page.Messages {
			take(in)
		}
		if page.Complete {
			return nil
		}
		if page.Last == "" || page.Last == q.After {
			return fmt.Errorf("%w: archive page neither complete nor further", ErrProtocol)
		}
		q.After = page.Last
	}
}

// Backwards asks for the same in pages from the end, and gives the newest message first.
func Backwards(ctx context.Context, ask func(context.Context, Query) (*Page, error), q Query, take func(*Inbound)) error {
	q.Last = true
	for {
		page, err := ask(ctx, q)
		if err != nil {
			return err
		}
		for _, in := range slices.Backward(page.Messages) {
			take(in)
		}
		if page.Complete {
			return nil
		}
		if page.First == "" || page.First == q.Before {
			return fmt.Errorf("%w: archive page neither complete nor further", ErrProtocol)
		}
		q.Before = page.First
	}
}
