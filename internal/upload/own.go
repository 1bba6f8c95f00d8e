// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// listMost is how many of their files somebody is told of at once.
const listMost = 100

// list tells somebody of their files, the newest first (docs/media.md).
func (s *Service) list(r *route.Request) []route.Effect {
	var before state.UploadID
	if given, ok := r.Payload.Lookup("before"); ok {
		if before, ok = idOf(given); !ok || before == (state.UploadID{}) {
			return r.Err(stanza.Modify, stanza.BadRequest, "before is the id of a file")
		}
	}
	most := listMost
	if given, ok := r.Payload.Lookup("max"); ok {
		n, err := strconv.ParseUint(given, 10, 31)
		if err != nil || n == 0 {
			return r.Err(stanza.Modify, stanza.BadRequest, "max is a number of files, 1 or more")
		}
		most = min(most, int(n))
	}
	account := r.From.Bare().String()
	again := r.Err(stanza.Wait, stanza.InternalServerError, "try again")
	return []route.Effect{route.Read{Current: true, Else: again, Do: func(context.Context) []route.Effect {
		own, _, err := s.o.View.UploadUsage(account)
		var page []state.Upload
		if err == nil {
			page, err = s.o.View.UploadsOf(account, before, most+1)
		}
		switch {
		case errors.Is(err, state.ErrNotFound):
			return r.Err(stanza.Cancel, stanza.ItemNotFound, noSuchFile)
		case err != nil:
			s.o.Logger.Error("list an account's uploads", "err", err)
			return again
		}
		return r.Result(s.listed(own, page, most))
	}}}
}

const noSuchFile = "you have no such file here"

// listed tells of the first most of a page, and whether these are all.
func (s *Service) listed(own state.Usage, page []state.Upload, most int) *xmlstream.Element {
	e := xmlstream.New(stanza.NSFiles, "files", "count", strconv.FormatUint(own.Files, 10), "bytes", strconv.FormatUint(own.Bytes, 10))
	if n := s.o.Limits.AccountFiles; n > 0 {
		e.Set("max-count", strconv.FormatUint(n, 10))
	}
	if n := s.o.Limits.Account; n > 0 {
		e.Set("max-bytes", strconv.FormatUint(n, 10))
	}
	if len(page) <= most {
		e.Set("complete", "true")
	}
	base := s.o.Base()
	for _, u := range page[:min(most, len(page))] {
		f := xmlstream.New(stanza.NSFiles, "file", "id", idText(u.ID), "name", u.Name, "size", strconv.FormatInt(u.Size, 10),
			"stamp", u.Time.UTC().Format(time.RFC3339), "purpose", purposeName(u.Purpose))
		if u.Type != "" {
			f.Set("type", u.Type)
		}
		if at := s.keptUntil(&u); !at.IsZero() {
			f.Set("until", at.UTC().Format(time.RFC3339))
		}
		if base != "" {
			f.Set("url", address(base, idText(u.ID), u.Name))
		}
		e.Add(f)
	}
	return e
}

// purposeName is what a purpose is called in requests (XEP-0363 §purpose @1.2.0).
func purposeName(p command.UploadPurpose) string {
	return strings.ToLower(strings.TrimPrefix(p.String(), "UPLOAD_PURPOSE_"))
}

// keptUntil tells when an upload goes by itself, zero if it does not.
func (s *Service) keptUntil(u *state.Upload) time.Time {
	if keep := s.o.Limits.Messages; keep > 0 && u.Purpose == command.UploadPurpose_UPLOAD_PURPOSE_MESSAGE {
		return u.Time.Add(keep)
	}
	return u.Expires
}

// forget removes a file of somebody who does not want it any more: its record, and
// once that is gone the file.
func (s *Service) forget(r *route.Request) []route.Effect {
	id, ok := idOf(r.Payload.Get("id"))
	if !ok {
		return r.Err(stanza.Modify, stanza.BadRequest, "say which file, by its id")
	}
	account := r.From.Bare().String()
	return []route.Effect{route.Read{Do: func(ctx context.Context) []route.Effect {
		a, err := s.o.View.Account(account)
		var out command.Outcome
		if err == nil {
			out, err = s.o.Do(ctx, &command.Command{Request: &command.Command_UploadRemove{
				UploadRemove: &command.UploadRemove{Id: id[:], Account: account, AccountId: a.ID},
			}})
		}
		switch {
		case err != nil:
			s.o.Logger.Warn("it is not known whether an upload was removed", "upload", idText(id), "err", err)
			return r.Err(stanza.Wait, stanza.InternalServerError, "try again")
		case out.Err != nil:
			return []route.Effect{route.Reply{Stanza: out.Err.Reply(r.Stanza)}}
		}
		return r.Result()
	}}}
}
