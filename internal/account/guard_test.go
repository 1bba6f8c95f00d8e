// SPDX-License-Identifier: Apache-2.0

package account

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/account/accounttest"
)

// Guessing is slowed down, and does not lock the owner out.
func TestGuard(t *testing.T) {
	s := New(Config{Store: accounttest.New(), Domain: "localhost"})
	if _, err := s.Create(t.Context(), "juliet", "r0m30myr0m30", ""); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		login := func(block, password string) error {
			x, err := s.Begin(Attempt{Mechanism: "PLAIN", Offer: NewOffer(true, nil), Block: netip.MustParsePrefix(block)})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = x.Next(t.Context(), []byte("\x00juliet\x00"+password))
			return err
		}
		is := func(err error, c Condition) bool {
			var f *Failure
			return errors.As(err, &f) && f.Condition == c
		}
		if err := login("192.0.2.1/32", "r0m30myr0m30"); err != nil {
			t.Fatal(err)
		}
		for range nameFailures {
			if err := login("198.51.100.1/32", "wrong password"); !is(err, NotAuthorized) {
				t.Fatal(err)
			}
		}
		// Strangers are held up, wherever they are; the owner at home is not.
		for _, block := range []string{"198.51.100.1/32", "203.0.113.1/32"} {
			if err := login(block, "r0m30myr0m30"); !is(err, TemporaryAuthFailure) {
				t.Errorf("%s: %v", block, err)
			}
		}
		if err := login("192.0.2.1/32", "r0m30myr0m30"); err != nil {
			t.Errorf("the owner is locked out: %v", err)
		}
		for range blockFailures {
			if err := login("192.0.2.1/32", "wrong password"); !is(err, NotAuthorized) {
				t.Fatal(err)
			}
		}
		if err := login("192.0.2.1/32", "r0m30myr0m30"); !is(err, TemporaryAuthFailure) {
			t.Errorf("one network may fail for ever: %v", err)
		}
		time.Sleep(time.Hour) // of fake time
		if err := login("203.0.113.1/32", "r0m30myr0m30"); err != nil {
			t.Errorf("after an hour: %v", err)
		}
	})
}
