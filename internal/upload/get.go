// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"bavard/internal/command"
	"bavard/internal/state"
)

// cacheMost is how long a copy may be kept: content never changes, but it goes.
const cacheMost = 365 * 24 * time.Hour

// get hands a file out to who knows its address (XEP-0363 §reqs @1.2.0).
func (s *Service) get(w http.ResponseWriter, r *http.Request, first, name string) {
	id, ok := idOf(first)
	if !ok {
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	}
	if executes(r) {
		http.Error(w, "what people have uploaded is not run", http.StatusForbidden)
		return
	}
	if err := s.current(r.Context()); err != nil {
		later(w, "this node cannot be sure of what there is: try again")
		return
	}
	u, err := s.o.View.Upload(id)
	now := s.o.Now()
	keep, over := s.remaining(&u, now)
	switch {
	case errors.Is(err, state.ErrNotFound), err == nil && (over || u.Name != name):
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	}
	from := s.o.Address(r)
	if !s.begin(from) {
		later(w, "too many downloads at once: try again")
		return
	}
	defer s.end(from)
	file, err := s.openFor(r.Context(), &u)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, state.ErrNotFound):
		if !s.gone(id) {
			s.o.Logger.Error("an upload's file is not there", "upload", idText(id), "err", err)
		}
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	case err != nil:
		s.o.Logger.Warn("an upload's file cannot be handed out", "upload", idText(id), "err", err)
		later(w, "the file cannot be reached now: try again")
		return
	}
	defer file.Close()
	head := make([]byte, 16)
	n, err := io.ReadFull(file, head)
	if _, seek := file.Seek(0, io.SeekStart); seek != nil || n == 0 {
		s.o.Logger.Warn("an upload's file cannot be read", "upload", idText(id), "err", errors.Join(err, seek))
		later(w, "the file cannot be read now: try again")
		return
	}
	h := w.Header()
	shown(h, &u, head[:n])
	h.Set("ETag", `"`+hex.EncodeToString(u.SHA256[:])+`"`)
	h.Set("Cache-Control", "private, max-age="+strconv.FormatInt(int64(keep/time.Second), 10)+", immutable")
	paced := &pacing{ResponseWriter: w, s: s, control: http.NewResponseController(w)}
	defer func() { _ = paced.control.SetWriteDeadline(time.Time{}) }() // the next answer has its own
	http.ServeContent(paced, r, "", u.Time, file)
}

func later(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, text, http.StatusServiceUnavailable)
}

// currentTime is how long a request waits until this node knows what the others do.
const currentTime = 5 * time.Second

// current waits for the view: what was removed by way of another node is not handed out any
// more, and what was stored there is.
func (s *Service) current(ctx context.Context) error {
	if s.o.Current == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, currentTime)
	defer cancel()
	return s.o.Current(ctx)
}

// openFor opens a recorded file, which it gets from another node if need be.
func (s *Service) openFor(ctx context.Context, u *state.Upload) (io.ReadSeekCloser, error) {
	if s.several() {
		switch err := s.obtain(ctx, u); { // which has a bound
		case errors.Is(err, errDiskFull):
			return &afar{s: s, ctx: ctx, u: u}, nil
		case err != nil:
			return nil, err
		}
	}
	return s.files.open(u.ID)
}

// remaining is how long a file may be cached; over, that nobody gets it any more.
func (s *Service) remaining(u *state.Upload, now time.Time) (keep time.Duration, over bool) {
	keep = cacheMost
	switch {
	case u.Purpose == command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL: // XEP-0363 §purpose-ephemeral @1.2.0
		keep = min(keep, u.Expires.Sub(now))
	case u.Purpose == command.UploadPurpose_UPLOAD_PURPOSE_MESSAGE && s.o.Limits.Messages > 0:
		keep = min(keep, u.Time.Add(s.o.Limits.Messages).Sub(now))
	}
	return max(0, keep), keep <= 0
}

// executes reports whether a page wants to run what it gets, or to show it as a page:
// browsers say so (Fetch Metadata).
func executes(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "script", "style", "worker", "sharedworker", "serviceworker", "audioworklet", "paintworklet", "manifest", "xslt",
		"iframe", "frame", "embed", "object", "fencedframe", "webidentity", "json":
		return true
	}
	return r.Header.Get("Service-Worker") != ""
}

// shown says what a file is, and whether a browser may show it: only what cannot
// act, and begins as it should.
func shown(h http.Header, u *state.Upload, head []byte) {
	typ, _, _ := mime.ParseMediaType(u.Type)
	disposition := "attachment"
	switch {
	case inert(typ, head):
		disposition = "inline"
		h.Set("Content-Type", u.Type)
	case active(typ):
		h.Set("Content-Type", "application/octet-stream")
	default:
		h.Set("Content-Type", u.Type)
	}
	h.Set("Content-Disposition", disposition+`; filename="`+ascii(u.Name)+`"; filename*=UTF-8''`+extValue(u.Name))
}

// active reports whether a browser could run a file of this type, or take it for
// a page or its style: then it gets it without a type.
func active(typ string) bool {
	for _, part := range [...]string{"script", "html", "xml", "svg", "css", "wasm", "flash", "json", "manifest", "multipart/", "message/"} {
		if strings.Contains(typ, part) {
			return true
		}
	}
	return !strings.Contains(typ, "/")
}

// ascii is a file name for who does not know RFC 8187.
func ascii(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '%' {
			return '_'
		}
		return r
	}, name)
}

// extValue is RFC 8187 §3.2.1.
func extValue(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$&+-.^_`|~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// begin counts a download in.
func (s *Service) begin(from string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.downloads >= openDownloads || from != "" && s.addresses[from] >= ofAddress {
		return false
	}
	s.downloads++
	if from != "" {
		s.addresses[from]++
	}
	return true
}

func (s *Service) end(from string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.downloads--
	if from == "" {
		return
	}
	if s.addresses[from]--; s.addresses[from] == 0 {
		delete(s.addresses, from)
	}
}

// pacing writes for a client that has to keep a pace: who takes nothing does not
// hold a file open.
type pacing struct {
	http.ResponseWriter
	s       *Service
	control *http.ResponseController
}

// paceBytes go out, or to the kernel, within the idle time.
const paceBytes = 256 << 10

func (p *pacing) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(p.s.o.Idle))
	n, err := p.ResponseWriter.Write(b)
	p.s.count.sent.Add(uint64(n))
	return n, err
}

// ReadFrom lets the kernel copy, a part at a time.
func (p *pacing) ReadFrom(from io.Reader) (total int64, err error) {
	to, ok := p.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{p}, from)
	}
	all, ok := from.(*io.LimitedReader)
	if !ok {
		all = &io.LimitedReader{R: from, N: math.MaxInt64}
	}
	for all.N > 0 {
		part := &io.LimitedReader{R: all.R, N: min(paceBytes, all.N)} // which the kernel knows, not one in another
		_ = p.control.SetWriteDeadline(time.Now().Add(p.s.o.Idle))
		n, err := to.ReadFrom(part)
		total, all.N = total+n, all.N-n
		p.s.count.sent.Add(uint64(n))
		if err != nil || n == 0 || part.N > 0 {
			return total, err
		}
	}
	return total, nil
}
