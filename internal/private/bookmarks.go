// SPDX-License-Identifier: Apache-2.0

package private

import (
	"errors"
	"slices"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// storage is the element of XEP-0048 §format @1.2. immutable
var storage = xmlstream.Name{Space: stanza.NSStorage, Local: "storage"}

var errTooMuch = errors.New("too much for one answer")

// bookmarks takes the conferences out of a list in the old format: they are
// set in the node, and the others there removed
// (XEP-0402 §publishing-legacy @1.2.0). What else is in the list stays in it.
func bookmarks(r *route.Request, list *xmlstream.Element) ([]*command.Command, *stanza.Error) {
	account := r.From.Bare().String()
	keep := &command.BookmarksKeep{Account: account}
	var out []*command.Command
	var rest []xmlstream.Node
	for _, n := range list.Children {
		address, conference, ok := "", (*xmlstream.Element)(nil), false
		if n.Element != nil {
			address, conference, ok = state.NewBookmark(n.Element)
		}
		switch {
		case n.Element == nil:
		case !ok:
			rest = append(rest, n)
		case slices.Contains(keep.Jids, address): // the first one counts
		default:
			keep.Jids = append(keep.Jids, address)
			out = append(out, &command.Command{Request: &command.Command_BookmarkSet{BookmarkSet: &command.BookmarkSet{
				Account: account, Jid: address, Conference: xmlstream.AppendElement(nil, conference, ""), Publisher: r.From.String(),
			}}})
		}
	}
	if len(keep.Jids) > state.PubsubItems {
		return nil, stanza.Err(stanza.Wait, stanza.ResourceConstraint, "there is no room for so many bookmarks")
	}
	list.Children = rest
	return append(out, &command.Command{Request: &command.Command_BookmarksKeep{BookmarksKeep: keep}}), nil
}

// bookmarks gives the list in the old format: what is stored of it, and the
// items of the node, the oldest first (XEP-0402 §publishing @1.2.0). One that
// does not fit is no list: storing it again would remove the rest.
func (f *private) bookmarks(account string, stored []byte) ([]byte, error) {
	list, err := xmlstream.ParseElement(stored, xmlstream.AfterAuth)
	if err != nil {
		return nil, err
	}
	page, err := f.view.PubsubItems(account, stanza.NSBookmarks, state.PubsubQuery{})
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return nil, err
	}
	size := len(stored)
	for i := range page.Items {
		size += len(page.Items[i].ID) + len(page.Items[i].Payload)
	}
	if err == nil && !page.Complete || size > answerMost {
		return nil, errTooMuch
	}
	for i := len(page.Items) - 1; i >= 0; i-- {
		if conference, ok := state.OldBookmark(page.Items[i].ID, page.Items[i].Payload); ok {
			list.Add(conference)
		}
	}
	return xmlstream.AppendElement(nil, list, ""), nil
}
