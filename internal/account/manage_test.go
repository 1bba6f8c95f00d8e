// SPDX-License-Identifier: Apache-2.0

package account

import (
	"testing"

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
