// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Feature serves the domain at which devices ask for slots.
func (s *Service) Feature() route.Feature {
	return route.Feature{
		Name:      "uploads",
		Component: &route.Component{Domain: s.o.Domain, Name: "Files", Handle: s.handle},
	}
}

func (s *Service) handle(r *route.Request) []route.Effect {
	typ := r.Stanza.Get("type")
	get := typ == "get"
	switch {
	case r.Stanza.Name.Local != "iq" && (typ == "error" || r.Stanza.Name.Local == "presence"), typ == "result", typ == "error":
		return nil
	case r.Stanza.Name.Local != "iq":
		return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "this is an address for files, and no person reads here")
	case r.To.Local() != "" || r.To.Resource() != "":
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is nobody of this name here")
	case get && r.Payload.Is(stanza.NSUpload, "request"):
		return s.request(r)
	case get && r.Payload.Is(stanza.NSFiles, "files"):
		return s.list(r)
	case typ == "set" && r.Payload.Is(stanza.NSFiles, "remove"):
		return s.forget(r)
	case (r.Payload.Is(stanza.NSDiscoInfo, "query") || r.Payload.Is(stanza.NSDiscoItems, "query")) && r.Payload.Get("node") != "":
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "no such node")
	case get && r.Payload.Is(stanza.NSDiscoInfo, "query"):
		return r.Result(s.describe())
	case get && r.Payload.Is(stanza.NSDiscoItems, "query"):
		return r.Result(xmlstream.New(stanza.NSDiscoItems, "query"))
	case get && r.Payload.Is(stanza.NSPing, "ping"):
		return r.Result()
	}
	return r.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
}

// describe is XEP-0363 §disco @1.2.0 and §purpose @1.2.0.
func (s *Service) describe() *xmlstream.Element {
	field := func(name, typ, value string) *xmlstream.Element {
		return xmlstream.New(stanza.NSData, "field", "var", name, "type", typ).Add(xmlstream.NewText(stanza.NSData, "value", value))
	}
	d := route.Discovery{
		Identities: []route.Identity{{Category: "store", Type: "file", Name: "Files"}},
		Features: []string{
			stanza.NSDiscoInfo, stanza.NSDiscoItems, stanza.NSUpload, stanza.NSFiles, stanza.NSPing,
			stanza.NSPurpose + "#message", stanza.NSPurpose + "#profile", stanza.NSPurpose + "#ephemeral", stanza.NSPurpose + "#permanent",
		},
		Forms: []*xmlstream.Element{xmlstream.New(stanza.NSData, "x", "type", "result").Add(
			field("FORM_TYPE", "hidden", stanza.NSUpload), field("max-file-size", "", strconv.FormatUint(s.o.Limits.File, 10)))},
	}
	return d.Info("")
}

// request gives a slot (XEP-0363 §request @1.2.0).
func (s *Service) request(r *route.Request) []route.Effect {
	l := &slot{account: r.From.Bare().String(), name: cleanName(r.Payload.Get("filename")), until: s.o.Now().Add(slotTime)}
	if bad := s.parse(l, r.Payload); bad != nil {
		s.count.refused.Add(1)
		return []route.Effect{route.Reply{Stanza: bad.Reply(r.Stanza)}}
	}
	return []route.Effect{route.Read{Do: func(context.Context) []route.Effect {
		if bad := s.allow(l); bad != nil {
			s.count.refused.Add(1)
			return []route.Effect{route.Reply{Stanza: bad.Reply(r.Stanza)}}
		}
		if _, err := rand.Read(l.id[:]); err != nil {
			return r.Err(stanza.Wait, stanza.InternalServerError, "try again")
		}
		s.count.slots.Add(1)
		base := s.o.Base()
		return r.Result(xmlstream.New(stanza.NSUpload, "slot").Add(
			xmlstream.New(stanza.NSUpload, "put", "url", address(base, s.seal(l), l.name)),
			xmlstream.New(stanza.NSUpload, "get", "url", address(base, idText(l.id), l.name))))
	}}}
}

// parse reads what is asked for.
func (s *Service) parse(l *slot, q *xmlstream.Element) *stanza.Error {
	size, err := strconv.ParseUint(q.Get("size"), 10, 63)
	if err != nil || size == 0 {
		return stanza.Err(stanza.Modify, stanza.BadRequest, "a file has a size of one byte or more")
	}
	l.size = size
	if q.Get("filename") == "" {
		return stanza.Err(stanza.Modify, stanza.BadRequest, "a file has a name")
	}
	if given := q.Get("content-type"); given != "" {
		typ, ok := cleanType(given)
		if !ok {
			return stanza.Err(stanza.Modify, stanza.NotAcceptable, "the content type is none: write it like image/jpeg")
		}
		l.typ = typ
	}
	if bad := s.purpose(l, q); bad != nil {
		return bad
	}
	most := s.o.Limits.File
	if l.purpose == command.UploadPurpose_UPLOAD_PURPOSE_PROFILE {
		most = min(most, profileMost)
	}
	if size > most { // XEP-0363 §errors @1.2.0
		e := stanza.Err(stanza.Modify, stanza.NotAcceptable, fmt.Sprintf("the file is too large: at most %d bytes", most))
		e.App = xmlstream.New(stanza.NSUpload, "file-too-large").Add(xmlstream.NewText(stanza.NSUpload, "max-file-size", strconv.FormatUint(most, 10)))
		return e
	}
	return nil
}

// purpose reads what a file is for (XEP-0363 §purpose @1.2.0). What this server does
// not know is for a message.
func (s *Service) purpose(l *slot, q *xmlstream.Element) *stanza.Error {
	var given []*xmlstream.Element
	for _, c := range q.Elements() {
		if c.Name.Space == stanza.NSPurpose {
			given = append(given, c)
		}
	}
	if len(given) == 0 {
		return nil
	}
	if len(given) > 1 {
		return stanza.Err(stanza.Modify, stanza.BadRequest, "a file is for one purpose")
	}
	switch given[0].Name.Local {
	case "message":
	case "profile":
		l.purpose = command.UploadPurpose_UPLOAD_PURPOSE_PROFILE
	case "permanent":
		l.purpose = command.UploadPurpose_UPLOAD_PURPOSE_PERMANENT
	case "ephemeral":
		end, err := time.Parse(time.RFC3339, given[0].Get("expire-before"))
		now := s.o.Now()
		if err != nil || !end.After(now) {
			return stanza.Err(stanza.Modify, stanza.BadRequest, "expire-before is a time to come, like 2030-09-10T23:08:25Z")
		}
		l.purpose, l.expires = command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL, end
		if latest := now.Add(s.o.Limits.Ephemeral); end.After(latest) {
			l.expires = latest
		}
	default:
		return stanza.Err(stanza.Cancel, stanza.FeatureNotImplemented, "files are for a message, a profile, ephemeral or permanent")
	}
	return nil
}

// allow looks whether there is room, and whose the file will be.
func (s *Service) allow(l *slot) *stanza.Error {
	if s.o.Base() == "" || s.o.Limits.File == 0 {
		return stanza.Err(stanza.Cancel, stanza.ServiceUnavailable, "this server takes no files")
	}
	a, err := s.o.View.Account(l.account)
	if err != nil {
		return stanza.Err(stanza.Wait, stanza.InternalServerError, "try again")
	}
	l.owner = a.ID
	own, all, err := s.o.View.UploadUsage(l.account)
	if err != nil {
		return stanza.Err(stanza.Wait, stanza.InternalServerError, "try again")
	}
	if err := s.room(l.size); err != nil {
		return s.later("this server has no room for files right now", s.o.Now().Add(time.Hour))
	}
	if err := s.total(all, l.size); err != nil {
		return s.later(err.Error(), s.o.Now().Add(time.Hour))
	}
	return s.quota(l, own)
}

// quota looks at what the account has, and tells when there will be room.
func (s *Service) quota(l *slot, own state.Usage) *stanza.Error {
	over := func(have, more, most uint64) uint64 {
		if most == 0 || have+more <= most {
			return 0
		}
		return have + more - most
	}
	files, bytes := over(own.Files, 1, s.o.Limits.AccountFiles), over(own.Bytes, l.size, s.o.Limits.Account)
	if files == 0 && bytes == 0 {
		return nil
	}
	at, err := s.o.View.UploadRoom(l.account, files, bytes, s.o.Limits.Messages)
	if err != nil {
		s.o.Logger.Warn("look when there is room for files", "err", err)
	}
	return s.later(fmt.Sprintf("you have uploaded %d files, %d MiB, and that is all the room there is for you", own.Files, own.Bytes>>20), at)
}

// later refuses for now (XEP-0363 §errors @1.2.0); at is zero when nothing goes by
// itself.
func (s *Service) later(text string, at time.Time) *stanza.Error {
	e := stanza.Err(stanza.Wait, stanza.ResourceConstraint, text)
	if !at.IsZero() {
		e.App = xmlstream.New(stanza.NSUpload, "retry", "stamp", at.UTC().Truncate(time.Second).Add(time.Second).Format(time.RFC3339))
	}
	return e
}
