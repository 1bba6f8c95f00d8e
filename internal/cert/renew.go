// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"golang.org/x/crypto/acme"

	"bavard/internal/health"
)

// How long to wait after a failed attempt; each failure doubles it.
const (
	// unreachableFirst and unreachableMost: the authority did not answer, so
	// asking again costs it nothing.
	unreachableFirst = 5 * time.Second
	unreachableMost  = 30 * time.Minute
	// refusedFirst and refusedMost: it did. Public authorities allow few failed
	// attempts in an hour (Let's Encrypt: five for each name).
	refusedFirst = 10 * time.Minute
	refusedMost  = 6 * time.Hour
	// rateLimitMost bounds how long we do as the authority says.
	rateLimitMost = 24 * time.Hour
	// lookEvery is how often the clock is looked at, which may have been set.
	lookEvery = time.Hour
)

// restore takes the certificate that was obtained before, an expired one among
// them: clients then say what is the matter, and renewal is under way. Until
// there is one, the self-made certificate is served.
func (s *Store) restore() error {
	c, err := s.issuer.stored()
	switch {
	case err == nil && c.Leaf.VerifyHostname(s.o.Domain) == nil:
		s.use(c, false)
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		s.o.Logger.Error("the stored certificate cannot be used; getting another", "err", err)
	}
	s.o.Warnings.Raise(health.CertificatePending, "from "+s.issuer.o.Directory)
	s.o.Logger.Warn("there is no certificate of the authority yet: the self-made one is served meanwhile, which clients do not trust",
		"authority", s.issuer.o.Directory, "names", s.issuer.names)
	return s.checkSelfMade()
}

// obtainAndRenew keeps the authority's certificate fresh until ctx ends.
func (s *Store) obtainAndRenew(ctx context.Context) {
	failures := 0
	for wait := s.due(); ; {
		if !sleep(ctx, min(wait, lookEvery)) {
			return
		}
		if wait > lookEvery {
			wait = s.due()
			continue
		}
		c, err := s.issuer.obtain(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			failures = 0
			s.o.Logger.Info("certificate obtained", "authority", s.issuer.o.Directory, "account", s.issuer.account)
			s.mu.Lock()
			s.use(c, false)
			s.mu.Unlock()
			s.o.Warnings.Clear(health.CertificatePending)
			s.o.Warnings.Clear(health.CertificateNotRenewed)
			s.warnOfEnd()
			// Whatever the clocks say, never one after the other.
			wait = max(s.due(), life(c.Leaf)/6)
			continue
		}
		failures++
		wait = pause(failures, err, rand.N[time.Duration])
		s.failed(err, wait)
	}
}

// failed tells of an attempt that failed.
func (s *Store) failed(err error, wait time.Duration) {
	s.o.Logger.Error("no certificate from the authority", "authority", s.issuer.o.Directory, "err", err, "again_in", wait.Round(time.Second))
	kind := health.CertificateNotRenewed
	if s.current.Load().selfMade {
		kind = health.CertificatePending
	}
	s.o.Warnings.Raise(kind, fmt.Sprintf("%v; trying again at %s", err, s.o.Now().Add(wait).UTC().Format("15:04 MST")))
}

// due tells how long the certificate is fresh: for two thirds of its life, and
// not at all when it is not for all names.
func (s *Store) due() time.Duration {
	c := s.current.Load()
	leaf := c.config.Certificates[0].Leaf
	if c.selfMade || !s.issuer.covers(leaf) {
		return 0
	}
	return leaf.NotAfter.Add(-life(leaf) / 3).Sub(s.o.Now())
}

// pause gives the wait after so many failures, the last one err; up to a tenth
// more by chance, so that servers do not come together.
func pause(failures int, err error, random func(time.Duration) time.Duration) time.Duration {
	first, most := unreachableFirst, unreachableMost
	var answer *acme.Error
	var authz *acme.AuthorizationError
	var order *acme.OrderError
	if errors.As(err, &answer) && answer.StatusCode < 500 || errors.As(err, &authz) || errors.As(err, &order) {
		first, most = refusedFirst, refusedMost
	}
	wait := first
	for range failures - 1 {
		if wait *= 2; wait >= most {
			break
		}
	}
	wait = min(wait, most)
	if answer != nil {
		if after, ok := acme.RateLimit(answer); ok {
			wait = min(max(wait, after), rateLimitMost)
		}
	}
	return wait + random(wait/10)
}

// sleep waits; false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
