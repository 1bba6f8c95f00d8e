// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"errors"
	"testing"

	"bavard/internal/account/accounttest"
	"bavard/internal/command"
	"bavard/internal/stanza"
)

func TestManage(t *testing.T) {
	s, _ := service(t)
	create(t, s, "juliet", "r0m30myr0m30")
	j, err := s.SetPassword(t.Context(), "Juliet@localhost", "another one")
	if err != nil || j.String() != "juliet@localhost" {
		t.Fatal(j, err)
	}
	if _, err := s.SetEnabled(t.Context(), "juliet", false); err != nil {
		t.Fatal(err)
	}
	_, err = s.Verify(t.Context(), "juliet", "another one")
	wantFailure(t, err, AccountDisabled)
	// Who does not have the password learns nothing.
	_, err = s.Verify(t.Context(), "juliet", "r0m30myr0m30")
	wantFailure(t, err, NotAuthorized)
	if _, err := s.SetEnabled(t.Context(), "juliet", true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(t.Context(), "juliet", "another one"); err != nil {
		t.Error(err)
	}
	if _, err := s.Delete(t.Context(), "juliet"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Verify(t.Context(), "juliet", "another one")
	wantFailure(t, err, NotAuthorized)
	_, err = s.Delete(t.Context(), "juliet")
	wantStanza(t, err, stanza.ItemNotFound)
	_, err = s.Delete(t.Context(), "juliet@example.org")
	wantStanza(t, err, stanza.NotAcceptable)
}

// removing is a store that still removes who had a name before.
type removing struct {
	*accounttest.Store
	slices int // until it has
}

func (r *removing) Do(ctx context.Context, cmd *command.Command) (command.Outcome, error) {
	if cmd.GetArchiveSweep() != nil {
		r.slices--
		return command.Outcome{Verdict: command.Accepted}, nil
	}
	if r.slices > 0 && cmd.GetAccountCreate() != nil {
		return command.Outcome{Verdict: command.Refused, Err: stanza.Err(stanza.Wait, stanza.Conflict, "try again")}, nil
	}
	return r.Store.Do(ctx, cmd)
}

// Whoever makes an account whose name somebody else had waits until all of that has
// gone, within bounds.
func TestNameIsGivenAgain(t *testing.T) {
	r := &removing{Store: accounttest.New(), slices: 3}
	s := New(Config{Store: r, Domain: "localhost"})
	if _, err := s.Create(t.Context(), "ann", "correct horse", ""); err != nil || r.slices != 0 {
		t.Errorf("%v, %d slices are left", err, r.slices)
	}
	var e *stanza.Error
	if _, err := s.Create(t.Context(), "ann", "correct horse", ""); !errors.As(err, &e) || e.Type != stanza.Cancel || r.slices != 0 {
		t.Errorf("who is there: %v", err)
	}
	r.slices = removalSlices + 5
	if _, err := s.Create(t.Context(), "bob", "correct horse", ""); !errors.As(err, &e) || e.Type != stanza.Wait || r.slices != 5 {
		t.Errorf("%v, %d slices are left", err, r.slices)
	}
}
