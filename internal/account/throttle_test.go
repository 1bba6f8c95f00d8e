// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bavard/internal/account/accounttest"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// stranger asks for accounts from one address block.
type stranger struct {
	t *testing.T
	s *Service
	b netip.Prefix
}

func (x stranger) ask(e *xmlstream.Element) *xmlstream.Element {
	x.t.Helper()
	g := x.s.Signup(x.b)
	return g.Handle(x.t.Context(), xmlstream.New(stanza.NSClient, "iq", "type", map[bool]string{true: "set", false: "get"}[len(e.Children) > 0], "id", "1").Add(e))
}

// make asks for an account and gives the condition and text of the error.
func (x stranger) make(user string) (stanza.Condition, string) {
	x.t.Helper()
	r := x.ask(xmlstream.New(stanza.NSRegister, "query").Add(
		xmlstream.NewText(stanza.NSRegister, "username", user),
		xmlstream.NewText(stanza.NSRegister, "password", "r0m30myr0m30")))
	return outcome(r)
}

func outcome(r *xmlstream.Element) (stanza.Condition, string) {
	e := r.Child(stanza.NSClient, "error")
	if e == nil {
		return "", ""
	}
	return stanza.Condition(e.First().Name.Local), e.Child(stanza.NSStanzaError, "text").Text()
}

func (x stranger) want(user string, want stanza.Condition, text string) {
	x.t.Helper()
	if c, got := x.make(user); c != want || !strings.Contains(got, text) {
		x.t.Errorf("%s: %q %q, want %q %q", user, c, got, want, text)
	}
}

func openService(t *testing.T, l Limits) (*Service, *accounttest.Store) {
	t.Helper()
	store := accounttest.New()
	return New(Config{Domain: "localhost", Store: store, Open: &l}), store
}

func TestOpenRegistrationIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := openService(t, Limits{AddressHourly: 2, AddressDaily: 3, Hourly: 5, Daily: 6})
		here := stranger{t, s, netip.MustParsePrefix("192.0.2.1/32")}
		there := stranger{t, s, netip.MustParsePrefix("2001:db8::/64")}
		loopback := stranger{t, s, netip.Prefix{}}

		here.want("a1", "", "")
		here.want("a1", stanza.Conflict, "taken") // gives the account back, not the try
		here.want("a2", "", "")
		here.want("a3", stanza.ResourceConstraint, "your network; try again in 30 minutes.")
		if c, text := outcome(here.ask(xmlstream.New(stanza.NSRegister, "query"))); c != stanza.ResourceConstraint || !strings.Contains(text, "30 minutes") {
			t.Errorf("the form: %q %q", c, text)
		}
		there.want("b1", "", "")
		loopback.want("c1", "", "")
		time.Sleep(30 * time.Minute)
		here.want("a3", "", "")
		here.want("a4", stanza.ResourceConstraint, "your network; try again in 8 hours.") // of the day
		time.Sleep(2 * time.Hour)
		loopback.want("c2", "", "")
		loopback.want("c3", stanza.ResourceConstraint, "made here; try again in 90 minutes.")
		store.Fail(errors.New("no quorum"))
		time.Sleep(2 * time.Hour)
		there.want("b2", stanza.InternalServerError, "")
		store.Fail(nil)
		there.want("b2", "", "")
		if got, want := s.Registrations(), (Registrations{Open: 7, Limited: 4, Refused: 2}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	})
}

func TestTakenNamesAreNotFoundOutAtWill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := openService(t, Limits{AddressHourly: 1, AddressDaily: 10, Hourly: 100, Daily: 100})
		x := stranger{t, s, netip.MustParsePrefix("192.0.2.1/32")}
		if _, err := s.Create(t.Context(), "juliet", "r0m30myr0m30", ""); err != nil {
			t.Fatal(err)
		}
		for range triesPer {
			x.want("juliet", stanza.Conflict, "taken")
		}
		x.want("juliet", stanza.ResourceConstraint, "try again in 6 minutes")
	})
}

// A stranger gets no name that somebody had before; the operator may give it.
func TestNamesOfDeletedAccounts(t *testing.T) {
	s, _ := openService(t, Limits{10, 10, 10, 10})
	x := stranger{t, s, netip.Prefix{}}
	x.want("juliet", "", "")
	if _, err := s.Delete(t.Context(), "juliet"); err != nil {
		t.Fatal(err)
	}
	x.want("juliet", stanza.Conflict, "")
	if _, err := s.Create(t.Context(), "juliet", "r0m30myr0m30", ""); err != nil {
		t.Error(err)
	}
}

func TestInvitesAreNotLimited(t *testing.T) {
	s, _ := openService(t, Limits{1, 1, 1, 1})
	stranger{t, s, netip.Prefix{}}.want("a", "", "")
	token, _, err := s.NewInvite(t.Context(), Invitation{Uses: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "c", "d"} {
		if _, err := s.Register(t.Context(), token, name, "r0m30myr0m30", ""); err != nil {
			t.Error(err)
		}
	}
}

// However many addresses ask, what is remembered of them is bounded, and those
// that are beyond are limited together.
func TestRememberedAddressesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(Limits{1, 1, 1 << 20, 1 << 20}, time.Now())
		block := func(i int) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		}
		for i := range blocksMost {
			if _, err := th.enter(block(i), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := th.enter(block(blocksMost), time.Now()); err != nil {
			t.Error(err)
		}
		if _, err := th.enter(block(blocksMost+1), time.Now()); err == nil {
			t.Error("one more than may be remembered was not limited")
		}
		if len(th.blocks) != blocksMost {
			t.Errorf("%d blocks are remembered", len(th.blocks))
		}
		time.Sleep(25 * time.Hour)
		if _, err := th.enter(block(blocksMost+1), time.Now()); err != nil || len(th.blocks) != 1 {
			t.Errorf("a day later: %v, %d blocks", err, len(th.blocks))
		}
	})
}

func TestFewStrangersWaitToBeHashed(t *testing.T) {
	th := newThrottle(Limits{1000, 1000, 1000, 1000}, time.Now())
	hold, begun := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		if err := th.admit(t.Context(), netip.Prefix{}, func() error { close(begun); <-hold; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	for range waitingMost - 1 {
		done.Go(func() {
			if err := th.admit(ctx, netip.Prefix{}, func() error { return nil }); err == nil {
				t.Error("it was not made to wait")
			}
		})
	}
	for len(th.waiting) < waitingMost {
		runtime.Gosched()
	}
	var e *stanza.Error
	if err := th.admit(t.Context(), netip.Prefix{}, func() error { return nil }); !errors.As(err, &e) || e.Condition != stanza.ResourceConstraint {
		t.Errorf("one too many: %v", err)
	}
	cancel()
	close(hold)
	done.Wait()
}
