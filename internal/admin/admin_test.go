// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bavard/internal/account"
	"bavard/internal/admin"
	"bavard/internal/health"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// accounts is a small account.Service in memory.
type accounts struct {
	mu    sync.Mutex
	users map[string]string // bare JID to password
	fail  error             // of Create
	block chan struct{}     // Create waits for it, unless nil
}

func (a *accounts) Create(ctx context.Context, local, password, _ string) (jid.JID, error) {
	if a.block != nil {
		select {
		case <-a.block:
		case <-ctx.Done():
			return jid.JID{}, ctx.Err()
		}
	}
	j, err := jid.Make(local, "localhost", "")
	if err != nil {
		return jid.JID{}, stanza.Err(stanza.Modify, stanza.NotAcceptable, "This name cannot be used.")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return jid.JID{}, a.fail
	}
	if _, ok := a.users[j.String()]; ok {
		return jid.JID{}, stanza.Err(stanza.Cancel, stanza.Conflict, "")
	}
	a.users[j.String()] = password
	return j, nil
}

func (a *accounts) NewInvite(_ context.Context, inv account.Invitation) (string, time.Time, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	token := fmt.Sprintf("TOKEN%d", len(a.users))
	a.users[token] = inv.Circle
	var expires time.Time
	if inv.TTL > 0 {
		expires = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	}
	return token, expires, nil
}

func (a *accounts) RevokeInvite(_ context.Context, hash []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for token := range a.users {
		if bytes.Equal(account.HashToken(token), hash) {
			delete(a.users, token)
			return nil
		}
	}
	return stanza.Err(stanza.Cancel, stanza.ItemNotFound, "")
}

// invites lists a page of two.
func (a *accounts) invites(from []byte, _ int) (page []state.ListedInvite, next []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for token, circle := range a.users {
		if hash := account.HashToken(token); strings.HasPrefix(token, "TOKEN") && bytes.Compare(hash, from) >= 0 {
			page = append(page, state.ListedInvite{Hash: hash, Invite: state.Invite{Circle: circle, Uses: 1}})
		}
	}
	slices.SortFunc(page, func(a, b state.ListedInvite) int { return bytes.Compare(a.Hash, b.Hash) })
	if len(page) > 2 {
		page, next = page[:2], page[2].Hash
	}
	return page, next, nil
}

func (a *accounts) account(bare string) (state.Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.users[bare]; !ok {
		return state.Account{}, state.ErrNotFound
	}
	return state.Account{JID: bare}, nil
}

// run runs a test on the data itself and over a socket.
func run(t *testing.T, f func(t *testing.T, a *accounts, b admin.Backend)) {
	for _, over := range []string{"data", "socket"} {
		t.Run(over, func(t *testing.T) {
			a := &accounts{users: map[string]string{}}
			warnings := health.NewWarnings(time.Now)
			warnings.Raise(health.DiskLow, "")
			b := admin.New(admin.Options{
				Domain: "localhost", Version: "1.2.3", Accounts: a, Account: a.account, Invites: a.invites,
				Base:     func() string { return "http://localhost:5280" },
				Report:   func(_ context.Context, s *admin.Status) error { s.Accounts = len(a.users); return nil },
				Warnings: warnings,
				Checks:   []health.Check{{Name: "journal", Test: func() error { return errors.New("no leader") }}},
			})
			if over == "socket" {
				b = serve(t, b, filepath.Join(t.TempDir(), "admin.sock"))
			}
			f(t, a, b)
		})
	}
}

// serve serves b at path for the test and gives a client.
func serve(t *testing.T, b admin.Backend, path string) *admin.Client {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- admin.ServeListener(ctx, l, admin.Handler(b, health.NewRegistry("1.2.3", nil), log), log)
	}()
	c, err := admin.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

func code(err error) string {
	var e *admin.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

func TestAddUser(t *testing.T) {
	run(t, func(t *testing.T, a *accounts, b admin.Backend) {
		address, err := b.AddUser(t.Context(), admin.User{Localpart: "Alice", Password: "correct horse"})
		if err != nil || address != "alice@localhost" || a.users[address] != "correct horse" {
			t.Fatalf("%q, %v; users %v", address, err, a.users)
		}
		if _, err := b.AddUser(t.Context(), admin.User{Localpart: "alice", Password: "x"}); code(err) != admin.CodeExists {
			t.Errorf("again: %v", err)
		}
		if _, err := b.AddUser(t.Context(), admin.User{Localpart: "al@ice", Password: "x"}); code(err) != admin.CodeInvalid {
			t.Errorf("bad name: %v", err)
		}
		a.fail = errors.New("journal: no space")
		if _, err := b.AddUser(t.Context(), admin.User{Localpart: "bob", Password: "x"}); code(err) != admin.CodeFailed || !strings.Contains(err.Error(), "no space") {
			t.Errorf("journal full: %v", err)
		}
	})
}

func TestInvites(t *testing.T) {
	run(t, func(t *testing.T, _ *accounts, b admin.Backend) {
		all, err := b.NewInvites(t.Context(), admin.InviteOptions{Count: 2, Uses: 3, Expires: time.Hour, Circle: "family"})
		if err != nil || len(all) != 2 {
			t.Fatalf("%v, %v", all, err)
		}
		want := admin.Invite{
			ID: state.InviteID(account.HashToken("TOKEN1")), Token: "TOKEN1", Link: "http://localhost:5280/i/TOKEN1", URI: "xmpp:localhost?register;preauth=TOKEN1",
			Uses: 3, Expires: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Circle: "family",
		}
		if all[1] != want {
			t.Errorf("got %+v\nwant %+v", all[1], want)
		}
		for _, o := range []admin.InviteOptions{
			{Count: 0, Uses: 1},
			{Count: 1001, Uses: 1},
			{Count: 1, Uses: 0},
			{Count: 1, Uses: 1 << 40},
			{Count: 1, Uses: 1, Expires: -time.Second},
			{Count: 1, Uses: 1, Circle: strings.Repeat("x", 101)},
		} {
			if _, err := b.NewInvites(t.Context(), o); code(err) != admin.CodeInvalid {
				t.Errorf("%+v: %v", o, err)
			}
		}
	})
}

func TestStatus(t *testing.T) {
	run(t, func(t *testing.T, a *accounts, b admin.Backend) {
		a.users["alice@localhost"] = ""
		s, err := b.Status(t.Context())
		if err != nil || s.Version != "1.2.3" || s.Accounts != 1 || s.App != "http://localhost:5280" {
			t.Fatalf("%+v, %v", s, err)
		}
		if len(s.Failing) != 1 || s.Failing[0] != "journal: no leader" || len(s.Warnings) != 1 || s.Warnings[0].ID != "disk-low" {
			t.Errorf("%+v", s)
		}
	})
}

func TestImport(t *testing.T) {
	run(t, func(t *testing.T, a *accounts, b admin.Backend) {
		a.users["old@localhost"] = "kept"
		file := "alice\tcorrect horse\r\n" + // 1
			"\n" +
			"no tab here\n" + // 3
			"old\tnew password\n" + // 4
			"\tempty name\n" + // 5
			"empty\t\n" + // 6
			"tab\twith\ttab\n" + // 7
			strings.Repeat("x", 20000) + "\tlong\n" + // 8
			"bad\xff\tutf8\n" + // 9
			"who@example.org\tdomain\n" + // 10
			"bob\tlast line without end"
		problems := map[int]string{}
		done, err := b.Import(t.Context(), strings.NewReader(file), admin.TSV, func(e admin.ImportEvent) {
			if e.Problem != nil {
				problems[e.Line] = e.Problem.Code
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := (admin.Progress{Read: 10, Added: 3, Existing: 1, Bad: 6}); done != want {
			t.Errorf("got %+v, want %+v", done, want)
		}
		want := map[int]string{3: "invalid", 4: "exists", 5: "invalid", 6: "invalid", 8: "invalid", 9: "invalid", 10: "invalid"}
		if fmt.Sprint(problems) != fmt.Sprint(want) {
			t.Errorf("problems %v, want %v", problems, want)
		}
		if a.users["tab@localhost"] != "with\ttab" || a.users["alice@localhost"] != "correct horse" ||
			a.users["bob@localhost"] != "last line without end" || a.users["old@localhost"] != "kept" {
			t.Errorf("users %v", a.users)
		}
	})
}

func TestImportNDJSON(t *testing.T) {
	run(t, func(t *testing.T, a *accounts, b admin.Backend) {
		file := `{"localpart":"alice","password":"p1","name":"Alice"}` + "\n" + `{"localpart":"bob","pass":"p2"}` + "\n"
		done, err := b.Import(t.Context(), strings.NewReader(file), admin.NDJSON, func(admin.ImportEvent) {})
		if err != nil || done.Added != 1 || done.Bad != 1 || a.users["alice@localhost"] != "p1" {
			t.Errorf("%+v, %v, %v", done, err, a.users)
		}
	})
}

// An interrupted import is run again, and goes on where it stopped.
func TestImportGoesOn(t *testing.T) {
	run(t, func(t *testing.T, a *accounts, b admin.Backend) {
		var file strings.Builder
		for i := range 500 {
			fmt.Fprintf(&file, "user%d\tpassword%d\n", i, i)
		}
		a.fail = errors.New("journal: no space")
		if _, err := b.Import(t.Context(), strings.NewReader(file.String()), admin.TSV, func(admin.ImportEvent) {}); code(err) != admin.CodeFailed || !strings.Contains(err.Error(), "line ") {
			t.Fatalf("a full journal: %v", err)
		}
		a.fail = nil
		for _, want := range []admin.Progress{{Read: 500, Added: 500}, {Read: 500, Existing: 500}} {
			last := admin.Progress{}
			done, err := b.Import(t.Context(), strings.NewReader(file.String()), admin.TSV, func(e admin.ImportEvent) {
				if e.Progress.Read < last.Read {
					t.Errorf("progress went back: %+v after %+v", e.Progress, last)
				}
				last = e.Progress
			})
			if err != nil || done != want {
				t.Fatalf("got %+v, %v; want %+v", done, err, want)
			}
		}
	})
}

// The answer comes while the request is still being sent.
func TestImportReportsWhileItReads(t *testing.T) {
	run(t, func(t *testing.T, _ *accounts, b admin.Backend) {
		r, w := io.Pipe()
		problems := make(chan int, 10)
		done := make(chan error, 1)
		go func() {
			_, err := b.Import(t.Context(), r, admin.TSV, func(e admin.ImportEvent) {
				if e.Problem != nil {
					problems <- e.Line
				}
			})
			done <- err
		}()
		for line := 1; line <= 3; line++ {
			fmt.Fprintln(w, "bad line")
			if got := <-problems; got != line {
				t.Errorf("problem in line %d, want %d", got, line)
			}
		}
		w.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestImportStopsWithItsContext(t *testing.T) {
	run(t, func(t *testing.T, a *accounts, b admin.Backend) {
		a.block = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		go func() {
			fmt.Fprintln(w, "alice\tcorrect horse")
			cancel()
			w.CloseWithError(ctx.Err())
		}()
		if _, err := b.Import(ctx, r, admin.TSV, func(admin.ImportEvent) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestSocketIsForItsOwnerAndReplacesAStaleOne(t *testing.T) {
	for name, dir := range map[string]string{"short": "d", "long": strings.Repeat("directory/", 20)} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), dir, "admin.sock")
			if _, err := admin.Dial(t.Context(), path); !errors.Is(err, admin.ErrNotRunning) {
				t.Fatalf("no directory: %v", err)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil { // as a killed server leaves it
				t.Fatal(err)
			}
			if _, err := admin.Dial(t.Context(), path); !errors.Is(err, admin.ErrNotRunning) {
				t.Fatalf("stale socket: %v", err)
			}
			a := &accounts{users: map[string]string{}}
			t.Run("serve", func(t *testing.T) {
				c := serve(t, admin.New(admin.Options{Domain: "localhost", Accounts: a, Account: a.account}), path)
				if _, err := c.AddUser(t.Context(), admin.User{Localpart: "alice", Password: "x"}); err != nil {
					t.Error(err)
				}
				info, err := os.Stat(path)
				if err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("mode %v, %v", info.Mode(), err)
				}
			})
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is still there: %v", err)
			}
		})
	}
}

func TestHandlerRefusesWhatItDoesNotKnow(t *testing.T) {
	a := &accounts{users: map[string]string{}}
	b := admin.New(admin.Options{Domain: "localhost", Accounts: a, Account: a.account})
	s := httptest.NewServer(admin.Handler(b, health.NewRegistry("1", nil), slog.New(slog.DiscardHandler)))
	defer s.Close()
	for _, tc := range []struct {
		path, body string
		want       int
	}{
		{"/v1/users", `{"localpart":"a","password":"b","admin":true}`, 400},
		{"/v1/users", `{"localpart":"` + strings.Repeat("a", 100_000) + `"}`, 400},
		{"/v1/users", `{`, 400},
		{"/v1/invites", `{"count":1}`, 400},
		{"/v1/other", `{}`, 404},
		{"/metrics", ``, 405},
	} {
		resp, err := http.Post(s.URL+tc.path, "application/json", strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%s %.40s: %d, want %d", tc.path, tc.body, resp.StatusCode, tc.want)
		}
	}
}

func TestSocketThatCannotBeMade(t *testing.T) {
	if _, err := admin.Listen(filepath.Join(t.TempDir(), "missing", "admin.sock")); err == nil {
		t.Error("listened in a directory that is not there")
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte("a\tb\nc\td"), true)
	f.Add([]byte(`{"localpart":"a","password":"b"}`), false)
	f.Fuzz(func(t *testing.T, text []byte, tsv bool) {
		a := &accounts{users: map[string]string{}}
		b := admin.New(admin.Options{Domain: "localhost", Accounts: a, Account: a.account})
		format := admin.NDJSON
		if tsv {
			format = admin.TSV
		}
		done, err := b.Import(t.Context(), strings.NewReader(string(text)), format, func(admin.ImportEvent) {})
		if err != nil || done.Added != len(a.users) || done.Added+done.Existing+done.Bad != done.Read {
			t.Errorf("%+v, %v, %d users", done, err, len(a.users))
		}
	})
}

// Invites are listed page by page and taken back by their ids.
func TestInvitesAreListedAndTakenBack(t *testing.T) {
	run(t, func(t *testing.T, _ *accounts, b admin.Backend) {
		want := map[string]bool{}
		for range 5 {
			made, err := b.NewInvites(t.Context(), admin.InviteOptions{Count: 1, Uses: 1})
			if err != nil {
				t.Fatal(err)
			}
			want[made[0].ID] = true
		}
		var ids []string
		for from := ""; ; {
			l, err := b.ListInvites(t.Context(), from)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range l.Invites {
				ids = append(ids, i.ID)
				delete(want, i.ID)
			}
			if from = l.Next; from == "" {
				break
			}
		}
		if len(ids) != 5 || len(want) != 0 || !slices.IsSorted(ids) {
			t.Errorf("listed %q, not %v", ids, want)
		}
		if i, err := b.RevokeInvite(t.Context(), ids[1]); err != nil || i.ID != ids[1] {
			t.Errorf("%+v, %v", i, err)
		}
		for id, want := range map[string]string{
			ids[1]: admin.CodeUnknown, "": admin.CodeInvalid, "12345678": admin.CodeInvalid, "../users": admin.CodeInvalid, strings.Repeat("0", 66): admin.CodeInvalid,
			"0000000000000000": admin.CodeUnknown,
		} {
			if _, err := b.RevokeInvite(t.Context(), id); id != "" && code(err) != want {
				t.Errorf("%q: %v", id, err)
			}
		}
		if _, err := b.ListInvites(t.Context(), "x"); code(err) != admin.CodeInvalid {
			t.Errorf("from nowhere: %v", err)
		}
	})
}
