// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"bavard/internal/jid"
	"bavard/internal/state"
)

// Format of a file of users.
type Format string

// Formats.
const (
	// TSV has lines "localpart<TAB>password"; the password is all that follows
	// the first tab.
	TSV Format = "tsv"
	// NDJSON has lines that are JSON objects like User.
	NDJSON Format = "ndjson"
)

const (
	// maxLine bounds a line of a file of users, in bytes.
	maxLine = 8 << 10
	// importWorkers wait for the journal at the same time; the hashing of
	// passwords is bounded by the accounts themselves.
	importWorkersPerCPU = 8
	progressEvery       = 200 * time.Millisecond
)

// Progress of an import, in lines.
type Progress struct {
	Read     int `json:"read"` // not empty
	Added    int `json:"added"`
	Existing int `json:"existing"` // skipped: there is such an account
	Bad      int `json:"bad"`
}

// ImportEvent is progress, and the line that caused it if that gave no account.
type ImportEvent struct {
	Progress Progress `json:"progress"`
	// Line counts from 1; 0 when this is about no line in particular.
	Line int `json:"line,omitempty"`
	// Problem with the line: CodeExists or CodeInvalid.
	Problem *Error `json:"problem,omitempty"`
}

type importLine struct {
	number  int
	user    User
	problem *Error
}

// Import implements Backend. Keys are derived on all cores while earlier
// accounts are committed. Lines are independent of each other, so what an
// interrupted import has made stays, and running it again goes on from there.
func (b *backend) Import(ctx context.Context, src io.Reader, format Format, report func(ImportEvent)) (Progress, error) {
	var mu sync.Mutex // holds progress, last and the calls of report
	var progress Progress
	var last time.Time
	settled := func(l importLine, err error) {
		mu.Lock()
		defer mu.Unlock()
		var problem *Error
		errors.As(err, &problem)
		progress.Read++
		switch {
		case err == nil:
			progress.Added++
		case problem.Code == CodeExists:
			progress.Existing++
		default:
			progress.Bad++
		}
		if problem != nil {
			report(ImportEvent{Progress: progress, Line: l.number, Problem: problem})
		} else if now := time.Now(); now.Sub(last) >= progressEvery {
			last = now
			report(ImportEvent{Progress: progress})
		}
	}

	group, ctx := errgroup.WithContext(ctx)
	lines := make(chan importLine)
	group.Go(func() error {
		defer close(lines)
		return readLines(ctx, src, format, lines)
	})
	for range importWorkersPerCPU * runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for l := range lines {
				err := b.importOne(ctx, l)
				var problem *Error
				if err != nil && (!errors.As(err, &problem) || problem.Code == CodeFailed) {
					return fmt.Errorf("line %d: %w", l.number, err)
				}
				settled(l, err)
			}
			return nil
		})
	}
	err := group.Wait()
	return progress, err
}

// importOne makes one account; an existing one costs no derivation of keys.
func (b *backend) importOne(ctx context.Context, l importLine) error {
	if l.problem != nil {
		return l.problem
	}
	if j, err := jid.Make(l.user.Localpart, b.o.Domain, ""); err == nil {
		switch _, err := b.o.Account(j.String()); {
		case err == nil:
			return &Error{Code: CodeExists, Text: "there is such an account already"}
		case !errors.Is(err, state.ErrNotFound):
			return explain(err)
		}
	}
	_, err := b.AddUser(ctx, l.user)
	return err
}

// readLines sends each line of src that is not empty. A line that cannot be
// read is sent with its problem; an error ends it.
func readLines(ctx context.Context, src io.Reader, format Format, to chan<- importLine) error {
	r := bufio.NewReaderSize(src, maxLine)
	for number := 1; ; number++ {
		text, err := r.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if text = bytes.TrimRight(text, "\r\n"); len(text) > 0 {
			l := importLine{number: number}
			if tooLong {
				l.problem = &Error{Code: CodeInvalid, Text: "the line is longer than 8 KiB"}
			} else {
				l.user, l.problem = parseLine(text, format)
			}
			select {
			case to <- l:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err != nil {
			return nil
		}
	}
}

// parseLine reads one line. The problem says nothing of the password.
func parseLine(text []byte, format Format) (User, *Error) {
	if !utf8.Valid(text) {
		return User{}, &Error{Code: CodeInvalid, Text: "the line is not UTF-8"}
	}
	var u User
	if format == NDJSON {
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&u); err != nil {
			return User{}, &Error{Code: CodeInvalid, Text: `the line is not like {"localpart":"alice","password":"…"}`}
		}
	} else {
		var ok bool
		u.Localpart, u.Password, ok = strings.Cut(string(text), "\t")
		if !ok {
			return User{}, &Error{Code: CodeInvalid, Text: "there is no tab between the name and the password"}
		}
	}
	switch {
	case u.Localpart == "":
		return User{}, &Error{Code: CodeInvalid, Text: "the name is missing"}
	case strings.ContainsRune(u.Localpart, '@'):
		return User{}, &Error{Code: CodeInvalid, Text: "the name is to stand without @ and domain"}
	case u.Password == "":
		return User{}, &Error{Code: CodeInvalid, Text: "the password is missing"}
	}
	return u, nil
}
