// SPDX-License-Identifier: Apache-2.0

package inbox

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// deletions tells a device that was away which chats have been deleted, and up to
// which message each: a page of PageMost, in the order of their addresses, paged by
// them (XEP-0059 §forwards @1.0).
func (f *inbox) deletions(r *route.Request) []route.Effect {
	after := ""
	for _, c := range r.Payload.Child(stanza.NSRSM, "set").Elements() {
		switch c.Name.Local {
		case "after":
			after = c.Text()
		case "before", "index":
			return r.Err(stanza.Cancel, stanza.FeatureNotImplemented, "pages are asked for by what they come after")
		}
	}
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		all, err := f.o.View.ChatsDeleted(r.From.Bare().String())
		if err != nil {
			return r.Err(stanza.Wait, stanza.InternalServerError, "what was deleted could not be read; try again")
		}
		jids := slices.Sorted(maps.Keys(all))
		begin, found := slices.BinarySearch(jids, after)
		if found {
			begin++
		}
		page := jids[begin:min(begin+PageMost, len(jids))]
		e, set := xmlstream.New(stanza.NSChats, "deletions"), xmlstream.New(stanza.NSRSM, "set")
		for _, jid := range page {
			e.Add(xmlstream.New(stanza.NSChats, "deleted", "jid", jid, "id", f.o.IDs.ID(all[jid])))
		}
		if n := len(page); n > 0 {
			set.Add(xmlstream.NewText(stanza.NSRSM, "first", page[0], "index", strconv.Itoa(begin)), xmlstream.NewText(stanza.NSRSM, "last", page[n-1]))
		}
		return r.Result(e.Add(set.Add(xmlstream.NewText(stanza.NSRSM, "count", strconv.Itoa(len(jids))))))
	})}
}
