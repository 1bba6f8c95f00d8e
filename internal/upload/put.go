// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// refusal is an answer to a PUT that is not 201.
type refusal struct {
	code  int
	text  string
	after time.Duration // when to try again; 0 does not say
}

func (e *refusal) Error() string { return e.text }

func refuse(code int, text string) *refusal { return &refusal{code: code, text: text} }

func busy(text string) *refusal {
	return &refusal{code: http.StatusServiceUnavailable, text: text, after: 5 * time.Second}
}

// refusedTime is how long a client that is refused may take to stop sending.
const refusedTime = 5 * time.Second

// errBroken: the client went, was too slow, or began anew.
var errBroken = errors.New("the upload broke off")

// put takes a file (XEP-0363 §upload @1.2.0).
func (s *Service) put(w http.ResponseWriter, r *http.Request, first, name string) {
	err := s.take(w, r, first, name)
	if err == nil {
		w.WriteHeader(http.StatusCreated)
		return
	}
	var no *refusal
	switch {
	case errors.As(err, &no):
		s.count.rejected.Add(1)
	case errors.Is(err, errBroken):
		s.count.interrupted.Add(1)
		no = refuse(http.StatusRequestTimeout, "the upload broke off: begin again")
	default:
		s.count.rejected.Add(1)
		s.o.Logger.Error("an upload failed", "err", err)
		no = refuse(http.StatusInternalServerError, "the file could not be stored: try again")
	}
	if errors.Is(err, errBroken) {
		w.Header().Set("Connection", "close")
	}
	// Before it answers, the web server reads on for a little: not for long.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(min(s.o.Idle, refusedTime)))
	if no.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(no.after/time.Second)))
	}
	http.Error(w, no.text, no.code)
}

// take is put without the answer; nil is 201.
func (s *Service) take(w http.ResponseWriter, r *http.Request, first, name string) error {
	l, ok := s.open(first, name)
	if !ok {
		return refuse(http.StatusNotFound, "there is no such slot")
	}
	if err := fits(l, r); err != nil {
		return err
	}
	a, err := s.arrive(r.Context(), l, http.NewResponseController(w))
	if err != nil {
		return err
	}
	settling := false
	defer func() {
		if !settling {
			s.leave(l, a)
		}
	}()
	switch old, err := s.o.View.Upload(l.id); {
	case err == nil:
		if err := s.again(a, l, &old, r.Body); err != nil {
			return err
		}
		a.over()
		return s.secure(r.Context(), &old)
	case !errors.Is(err, state.ErrNotFound):
		return err
	}
	if err := s.admit(l); err != nil {
		return err
	}
	arrived, sum, err := s.receive(a, l, r.Body)
	if err != nil {
		return err
	}
	a.over()
	settling = true
	return s.settle(r.Context(), l, a, arrived, sum)
}

// fits holds the request against what was asked for: not more, not less, nothing
// else. A slot without a content type takes the one that comes.
func fits(l *slot, r *http.Request) error {
	switch n := r.ContentLength; {
	case n < 0:
		return refuse(http.StatusLengthRequired, "say how long the file is: Content-Length")
	case uint64(n) > l.size:
		return refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("the slot is for %d bytes", l.size))
	case uint64(n) < l.size:
		return refuse(http.StatusBadRequest, fmt.Sprintf("the slot is for %d bytes", l.size))
	case r.Header.Get("Content-Encoding") != "":
		return refuse(http.StatusUnsupportedMediaType, "send the file as it is, without Content-Encoding")
	case r.Header.Get("Content-Range") != "": // RFC 9110 §14.5
		return refuse(http.StatusBadRequest, "send the file whole")
	}
	given := r.Header.Get("Content-Type")
	typ, ok := cleanType(given)
	switch {
	case l.typ != "" && (!ok || typ != l.typ):
		return refuse(http.StatusUnsupportedMediaType, "the slot is for the content type "+l.typ)
	case l.typ == "" && given != "" && !ok:
		return refuse(http.StatusUnsupportedMediaType, "the content type is none")
	case l.typ == "" && given != "":
		l.typ = typ
	case l.typ == "":
		l.typ = "application/octet-stream"
	}
	return nil
}

// admit looks once more at what held when the slot was given.
func (s *Service) admit(l *slot) error {
	now := s.o.Now()
	if now.After(l.until) || !l.expires.IsZero() && !now.Before(l.expires) {
		return refuse(http.StatusGone, "the slot is too old: ask for a new one")
	}
	if a, err := s.o.View.Account(l.account); err != nil || a.ID != l.owner || a.Disabled {
		return refuse(http.StatusForbidden, "the account is not there any more")
	}
	own, all, err := s.o.View.UploadUsage(l.account)
	if err != nil {
		return err
	}
	if s.quota(l, own) != nil || s.total(all, l.size) != nil {
		return refuse(http.StatusInsufficientStorage, "there is no room for it")
	}
	err = s.room(0) // what it takes is promised already
	if errors.Is(err, errDiskFull) {
		return refuse(http.StatusInsufficientStorage, err.Error())
	}
	return err
}

// again has the same file once more, of a client that did not get the answer.
func (s *Service) again(a *arrival, l *slot, old *state.Upload, body io.Reader) error {
	if old.Owner != l.owner || uint64(old.Size) != l.size || old.Type != l.typ {
		return refuse(http.StatusConflict, "something else was uploaded there")
	}
	h := sha256.New()
	if err := s.copy(a, l, h, body); err != nil {
		return err
	}
	if [32]byte(h.Sum(nil)) != old.SHA256 {
		return refuse(http.StatusConflict, "something else was uploaded there")
	}
	s.count.repeated.Add(1)
	return nil
}

// syncEvery is how much of a file is written before it has to be on the disk: a large
// one does not hold up the journal's writes at its end.
const syncEvery = 4 << 20

// receive writes what comes to a file, until all of it is on the disk.
func (s *Service) receive(a *arrival, l *slot, body io.Reader) (arrived string, sum [32]byte, err error) {
	return s.store(a, func(to io.Writer) error { return s.copy(a, l, to, body) })
}

// store has what comes written to a file, until all of it is on the disk.
func (s *Service) store(a *arrival, comes func(to io.Writer) error) (arrived string, sum [32]byte, err error) {
	file, err := s.files.create()
	if err != nil {
		return "", sum, diskErr(err)
	}
	h := sha256.New()
	err = comes(&syncing{s: s, a: a, file: file, hash: h})
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", sum, errors.Join(diskErr(err), os.Remove(file.Name()))
	}
	return file.Name(), [32]byte(h.Sum(nil)), nil
}

func diskErr(err error) error {
	if noSpace(err) {
		return refuse(http.StatusInsufficientStorage, errDiskFull.Error())
	}
	return err
}

// syncing writes to a file and its hash.
type syncing struct {
	s     *Service
	a     *arrival
	file  *os.File
	hash  hash.Hash
	dirty int
}

func (w *syncing) Write(b []byte) (int, error) {
	n, err := w.file.Write(b)
	_, _ = w.hash.Write(b[:n])
	w.s.written(w.a, uint64(n))
	if w.dirty += n; err == nil && w.dirty >= syncEvery {
		w.dirty = 0
		if err = w.file.Sync(); err == nil {
			err = w.s.room(0)
		}
	}
	if errors.Is(err, errDiskFull) {
		err = refuse(http.StatusInsufficientStorage, errDiskFull.Error())
	}
	return n, err
}

// copy reads as many bytes as the slot is for, from a client that has to keep a
// pace.
func (s *Service) copy(a *arrival, l *slot, to io.Writer, body io.Reader) error {
	end := time.Now().Add(graceTime + time.Duration(l.size/slowest)*time.Second)
	buf := make([]byte, min(64<<10, l.size))
	for left := l.size; left > 0; {
		deadline := time.Now().Add(s.o.Idle)
		if deadline.After(end) {
			deadline = end
		}
		if err := a.extend(deadline); err != nil {
			return err
		}
		n, err := body.Read(buf[:min(uint64(len(buf)), left)])
		left -= uint64(n)
		s.count.received.Add(uint64(n))
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil && left > 0 {
			return errBroken
		}
	}
	return nil
}

// settle gives the file its place and has it recorded. It goes on when the client does not
// wait: what was recorded stays, what was refused goes.
func (s *Service) settle(ctx context.Context, l *slot, a *arrival, arrived string, sum [32]byte) error {
	done := make(chan error, 1)
	if !s.goes(func() {
		defer s.leave(l, a)
		done <- s.record(l, arrived, sum)
	}) {
		s.leave(l, a)
		return errors.Join(busy("the server is stopping"), os.Remove(arrived))
	}
	if s.o.UnsafeEarly {
		return nil
	}
	most := settleTime
	if s.several() {
		most = patience(l.size)
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
	case <-ctx.Done():
	}
	return busy("it takes long to store the file: put it again")
}

// record ends with the file recorded, or with nothing left of it, or with an unknown
// fate that the next start settles.
func (s *Service) record(l *slot, arrived string, sum [32]byte) error {
	here := s.files.unrecorded(l.id, sum, true)
	if err := s.files.await(arrived, l.id, sum, true); err != nil {
		return errors.Join(diskErr(err), os.Remove(arrived))
	}
	other, err := s.replicate(s.ctx, l.id, int64(l.size), sum)
	if err != nil {
		return errors.Join(err, os.Remove(here))
	}
	out, err := s.o.Do(s.ctx, &command.Command{Request: &command.Command_UploadStore{UploadStore: l.command(s, sum, other)}})
	switch {
	case err != nil:
		s.o.Logger.Warn("it is not known whether an upload was recorded", "upload", idText(l.id), "err", err)
		return busy("it is not known whether the file was stored: put it again")
	case out.Err != nil:
		return errors.Join(answer(out.Err), os.Remove(here))
	}
	s.count.stored.Add(1)
	u := state.Upload{ID: l.id, SHA256: sum}
	if err := s.claim(&u); err != nil {
		s.o.Logger.Error("give an upload its place", "upload", idText(l.id), "err", err) // it is safe where it is
	}
	return nil
}

func answer(e *stanza.Error) *refusal {
	switch e.Condition {
	case stanza.Conflict:
		return refuse(http.StatusConflict, e.Text)
	case stanza.ResourceConstraint:
		return refuse(http.StatusInsufficientStorage, e.Text)
	}
	return refuse(http.StatusForbidden, e.Text)
}

// command has the file recorded, which is here and on another node, if there is one.
func (l *slot) command(s *Service, sum [32]byte, other string) *command.UploadStore {
	c := &command.UploadStore{
		Id: l.id[:], Account: l.account, AccountId: l.owner, Name: l.name, Type: l.typ, Size: l.size, Sha256: sum[:],
		Purpose: l.purpose, Holders: []string{s.o.Node},
		AccountBytes: s.o.Limits.Account, AccountFiles: s.o.Limits.AccountFiles, TotalBytes: s.o.Limits.Total,
	}
	if other != "" {
		c.Holders = append(c.Holders, other)
	}
	if !l.expires.IsZero() {
		c.ExpiresMs = l.expires.UnixMilli()
	}
	return c
}
