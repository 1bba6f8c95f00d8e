// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"strconv"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Reader is what the archive reads from.
type Reader interface {
	Archive(ctx context.Context, q state.Query) (state.Page, error)
	// ArchiveEnds gives nil for an empty archive; of says whose.
	ArchiveEnds(of state.Query) (oldest, newest *state.Entry, err error)
}

// PageDefault and PageMost bound a page, in messages.
const (
	PageDefault = 50
	PageMost    = 250
)

// maxIDs bounds the ids that one query may name.
const maxIDs = PageMost

type archive struct {
	view Reader
	ids  *IDs
	// said gives how messages of a room are shown to the sender of a request; nil
	// but for rooms.
	said func(r *route.Request) Said
}

// Said appends what follows "<message" for a message of a room, up to its end
// tag.
type Said func(b []byte, e state.Entry) []byte

// Rooms answers queries of the archive of the room that a request is addressed
// to. Whether its sender may read it is the caller's to decide. said is
// asked once for each page.
func Rooms(view Reader, ids *IDs, said func(r *route.Request) Said) route.Handler {
	a := &archive{view, ids, said}
	return func(r *route.Request) []route.Effect {
		switch set := r.Stanza.Get("type") == "set"; {
		case r.Payload.Name.Local == "query" && set:
			return a.query(r)
		case r.Payload.Name.Local == "query":
			return a.form(r)
		case r.Payload.Name.Local == "metadata" && !set:
			return a.metadata(r)
		}
		return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
	}
}

// owner of the archive that a request is about.
func (a *archive) owner(r *route.Request) string {
	if a.said != nil {
		return r.To.Bare().String()
	}
	return r.From.Bare().String()
}

// Feature answers queries of an account's own archive (XEP-0313 §query @1.1.3)
// with all six filter fields and paging (XEP-0059).
func Feature(view Reader, ids *IDs) route.Feature {
	a := &archive{view: view, ids: ids}
	query := xmlstream.Name{Space: stanza.NSMAM, Local: "query"}
	return route.Feature{
		Name: "archive",
		Entries: []route.Entry{
			{Key: route.Key{Stanza: "iq", Type: "get", Payload: query}, Targets: route.ToSelf, Handle: a.form},
			{Key: route.Key{Stanza: "iq", Type: "set", Payload: query}, Targets: route.ToSelf, Handle: a.query},
			{Key: route.Key{Stanza: "iq", Type: "get", Payload: xmlstream.Name{Space: stanza.NSMAM, Local: "metadata"}}, Targets: route.ToSelf, Handle: a.metadata},
		},
		Account: []string{stanza.NSMAM, stanza.NSMAMExtended, stanza.NSSID, stanza.NSRSM},
		// The domain has no archive, but Profanity 0.13 looks for it only there.
		Domain: []string{stanza.NSMAM, stanza.NSMAMExtended, stanza.NSRSM},
	}
}

// form answers which fields a query may have (XEP-0313 §query-form @1.1.3).
func (a *archive) form(r *route.Request) []route.Effect {
	field := func(typ, name string) *xmlstream.Element {
		return xmlstream.New(stanza.NSData, "field", "type", typ, "var", name)
	}
	open := xmlstream.New("http://jabber.org/protocol/xdata-validate", "validate", "datatype", "xs:string").
		Add(xmlstream.New("http://jabber.org/protocol/xdata-validate", "open"))
	x := xmlstream.New(stanza.NSData, "x", "type", "form").Add(
		field("hidden", "FORM_TYPE").Add(xmlstream.NewText(stanza.NSData, "value", stanza.NSMAM)),
		field("jid-single", "with"), field("text-single", "start"), field("text-single", "end"),
		field("text-single", "before-id"), field("text-single", "after-id"),
		field("list-multi", "ids").Add(open))
	return r.Result(xmlstream.New(stanza.NSMAM, "query").Add(x))
}

// request is a parsed query.
type request struct {
	state.Query
	queryID string
	flip    bool
	empty   bool // max 0: only the count is asked for
}

func (a *archive) query(r *route.Request) []route.Effect {
	q, bad := a.parse(r)
	if bad != nil {
		return []route.Effect{route.Reply{Stanza: bad.Reply(r.Stanza)}}
	}
	read := r.Read(func(ctx context.Context) []route.Effect {
		page, err := a.view.Archive(ctx, q.Query)
		switch {
		case errors.Is(err, state.ErrNotFound):
			return r.Err(stanza.Cancel, stanza.ItemNotFound, "an id of the query is not in this archive")
		case err != nil:
			return r.Err(stanza.Wait, stanza.InternalServerError, "the archive could not be read; try again")
		}
		if q.empty {
			page.Entries = nil
		}
		return a.answer(r, q, page)
	})
	if a.said != nil {
		return []route.Effect{read}
	}
	return []route.Effect{route.Queried{}, read}
}

// answer gives the results, oldest first unless flipped, then <fin/>.
func (a *archive) answer(r *route.Request, q request, page state.Page) []route.Effect {
	out := make([]route.Effect, 0, len(page.Entries)+1)
	var said Said
	if a.said != nil {
		said = a.said(r)
	}
	for i := range page.Entries {
		e := &page.Entries[i]
		if q.flip {
			e = &page.Entries[len(page.Entries)-1-i]
		}
		send := route.Send{Out: a.result(r, q.queryID, e, said)}
		if said == nil && q.contiguous() && e.Incoming(a.owner(r)) {
			send.Out.Position = e.Position
		}
		out = append(out, send)
	}
	set := xmlstream.New(stanza.NSRSM, "set")
	if n := len(page.Entries); n > 0 {
		first := xmlstream.NewText(stanza.NSRSM, "first", a.ids.ID(page.Entries[0].Position))
		if page.Index >= 0 {
			first.Set("index", strconv.Itoa(page.Index))
		}
		set.Add(first, xmlstream.NewText(stanza.NSRSM, "last", a.ids.ID(page.Entries[n-1].Position)))
	}
	if page.Count >= 0 {
		set.Add(xmlstream.NewText(stanza.NSRSM, "count", strconv.Itoa(page.Count)))
	}
	fin := xmlstream.New(stanza.NSMAM, "fin").Add(set)
	if page.Complete {
		fin.Set("complete", "true")
	}
	return append(out, r.Result(fin)...)
}

// result serialises one message of the archive (XEP-0313 §results @1.1.3).
func (a *archive) result(r *route.Request, queryID string, e *state.Entry, said Said) route.Out {
	id, owner := a.ids.ID(e.Position), a.owner(r)
	b := make([]byte, 0, 512+len(e.Message.GetPayload())+len(e.Room.GetPayload()))
	b = xmlstream.AppendAttr(b, "from", owner)
	b = xmlstream.AppendAttr(b, "to", r.From.String())
	b = append(b, "><result xmlns='"+stanza.NSMAM+"'"...)
	if queryID != "" {
		b = xmlstream.AppendAttr(b, "queryid", queryID)
	}
	b = xmlstream.AppendAttr(b, "id", id)
	b = append(b, '>')
	if said != nil {
		b = append(b, "<forwarded xmlns='"+stanza.NSForward+"'>"...)
		b = route.AppendDelay(b, "", e.Time)
		b = said(append(b, "<message xmlns='"+stanza.NSClient+"'"...), *e)
		b = append(route.AppendStanzaID(b, owner, id), "</message></forwarded>"...)
	} else {
		b = route.AppendForwarded(b, e.Message, e.Time, route.AppendStanzaID(nil, owner, id))
	}
	b = append(b, "</result></message>"...)
	return route.Out{Name: "message", Rest: b}
}

// contiguous: the results are all that the account got from some point on that
// the client knows. Only then its ack of one says that it has what is older,
// and may move the offline cursor; a page of one conversation, or the newest
// page, says nothing of what waits besides.
func (q *request) contiguous() bool {
	return q.With == "" && len(q.IDs) == 0 && !q.Backward && !q.flip
}

// Ends makes the element that tells which ends the archive of an account has,
// for a device that logs in (XEP-0386 §bind-request @1.1.0).
func Ends(view Reader, ids *IDs, account string) (*xmlstream.Element, error) {
	a := &archive{view: view, ids: ids}
	return a.ends(state.Query{Account: account})
}

func (a *archive) ends(q state.Query) (*xmlstream.Element, error) {
	m := xmlstream.New(stanza.NSMAM, "metadata")
	oldest, newest, err := a.view.ArchiveEnds(q)
	if oldest != nil && err == nil {
		m.Add(a.end("start", oldest), a.end("end", newest))
	}
	return m, err
}

// metadata answers which ends the archive has (XEP-0313 §archive-metadata @1.1.3).
func (a *archive) metadata(r *route.Request) []route.Effect {
	return []route.Effect{r.Read(func(context.Context) []route.Effect {
		m, err := a.ends(a.queried(r))
		if err != nil {
			return r.Err(stanza.Wait, stanza.InternalServerError, "the archive could not be read; try again")
		}
		return r.Result(m)
	})}
}

func (a *archive) end(name string, e *state.Entry) *xmlstream.Element {
	return xmlstream.New(stanza.NSMAM, name, "id", a.ids.ID(e.Position), "timestamp", e.Time.UTC().Format(route.TimeLayout))
}

// queried is a query of everything that the archive has.
func (a *archive) queried(r *route.Request) state.Query {
	if a.said != nil {
		return state.Query{Room: a.owner(r), Account: r.From.Bare().String()} // who may have deleted some of it
	}
	return state.Query{Account: a.owner(r)}
}

func (a *archive) parse(r *route.Request) (request, *stanza.Error) {
	q := request{Query: a.queried(r), queryID: r.Payload.Get("queryid")}
	q.Max = PageDefault
	if n := r.Payload.Get("node"); n != "" {
		return q, stanza.Err(stanza.Cancel, stanza.ItemNotFound, "this archive has no nodes")
	}
	q.flip = r.Payload.Child(stanza.NSMAM, "flip-page") != nil
	if x := r.Payload.Child(stanza.NSData, "x"); x != nil {
		for _, f := range x.Elements() {
			if !f.Is(stanza.NSData, "field") {
				continue
			}
			if bad := a.field(&q, f); bad != nil {
				return q, bad
			}
		}
	}
	if set := r.Payload.Child(stanza.NSRSM, "set"); set != nil {
		if bad := a.paging(&q, set); bad != nil {
			return q, bad
		}
	}
	return q, nil
}

// field reads one field of the form (XEP-0313 §filter @1.1.3).
func (a *archive) field(q *request, f *xmlstream.Element) *stanza.Error {
	value := f.Child(stanza.NSData, "value").Text()
	name := f.Get("var")
	switch name {
	case "FORM_TYPE":
		if value != stanza.NSMAM {
			return stanza.Err(stanza.Modify, stanza.BadRequest, "the form's type must be "+stanza.NSMAM)
		}
	case "with":
		with, err := jid.Parse(value)
		if err != nil {
			return stanza.Err(stanza.Modify, stanza.JIDMalformed, "the field with is not a JID")
		}
		q.With = with.String()
	case "start", "end":
		at, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			return stanza.Err(stanza.Modify, stanza.BadRequest, "the field "+name+" is not a date and time as XEP-0082 has it")
		}
		if name == "start" {
			q.Start = at
		} else {
			q.End = at
		}
	case "before-id", "after-id":
		p, ok := a.ids.Position(value)
		if !ok {
			return notFound(name)
		}
		if name == "before-id" {
			q.BeforeID = p
		} else {
			q.AfterID = p
		}
	case "ids":
		return a.named(q, f)
	default:
		return stanza.Err(stanza.Cancel, stanza.FeatureNotImplemented, "the archive does not know this field")
	}
	return nil
}

func (a *archive) named(q *request, f *xmlstream.Element) *stanza.Error {
	values := f.Elements()
	if len(values) > maxIDs {
		return stanza.Err(stanza.Modify, stanza.PolicyViolation, "at most "+strconv.Itoa(maxIDs)+" ids in a query")
	}
	for _, v := range values {
		p, ok := a.ids.Position(v.Text())
		if !ok {
			return notFound("ids")
		}
		q.IDs = append(q.IDs, p)
	}
	q.Max = PageMost
	return nil
}

// paging reads <set/> (XEP-0059 §usecases @1.0).
func (a *archive) paging(q *request, set *xmlstream.Element) *stanza.Error {
	for _, c := range set.Elements() {
		switch text := c.Text(); c.Name.Local {
		case "max":
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return stanza.Err(stanza.Modify, stanza.BadRequest, "max is not a number")
			}
			q.empty = n == 0
			q.Max = min(max(n, 1), PageMost)
		case "after", "before":
			var p command.Position
			if text != "" {
				var ok bool
				if p, ok = a.ids.Position(text); !ok {
					return notFound(c.Name.Local)
				}
			}
			if c.Name.Local == "after" {
				q.After = p
			} else {
				q.Before, q.Backward = p, true
			}
		case "index":
			return stanza.Err(stanza.Cancel, stanza.FeatureNotImplemented, "pages are found by id, not by index")
		}
	}
	return nil
}

func notFound(field string) *stanza.Error {
	return stanza.Err(stanza.Cancel, stanza.ItemNotFound, "an id in "+field+" is not in this archive")
}
