// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"encoding/base32"
	"errors"
	"net/netip"
	"strings"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/state"
)

// Shown is what a client logs in with.
type Shown uint8

// What a client shows. Of a link and of a recovery code it shows by SCRAM-SHA-256
// that it knows it, as of a password.
const (
	Password Shown = iota
	Token
	Link
	Recovery
)

// Attempt is what is known of a login before its exchange.
type Attempt struct {
	Mechanism string
	Offer     Offer // that the client has chosen from
	Agent     Agent
	Shown     Shown
	// Block is where it comes from, the unit that failures are counted in; invalid
	// for this machine.
	Block netip.Prefix
	// From is the bare JID that the stream's header names; zero when it names none.
	From jid.JID
}

// Proof is who a client has shown to be, and by what.
type Proof struct {
	Account   state.Account
	auth      command.ClientAuth
	used      []byte // seed of a token, or stored key
	client    *state.Client
	next      bool // the token has not been used before
	renew     bool // it is due to be replaced
	mechanism command.TokenMechanism
}

// Entry is what a client asks for with a login.
type Entry struct {
	Agent Agent
	// Token is the mechanism that it wants a token for, "" for none.
	Token string
	// Invalidate ends the token that it used.
	Invalidate bool
}

// Issued is a new token for a client.
type Issued struct {
	Token   string
	Expires time.Time
}

// seenEvery is how exactly it is noted when a client was last here: not each of
// thousands that come back at once causes a write.
const seenEvery = time.Hour

// Enter notes a login and gives the client its new token, nil when there is none
// for it. Errors are *Failure: what it has shown may just have become void.
func (s *Service) Enter(ctx context.Context, p Proof, e Entry) (*Issued, error) {
	id := s.Client(p.Account, e.Agent)
	if id == "" {
		return nil, nil
	}
	client := p.client
	if client == nil {
		c, err := s.store.Client(p.Account.JID, id)
		if err == nil {
			client = &c
		} else if !errors.Is(err, state.ErrNotFound) {
			return nil, &Failure{Condition: TemporaryAuthFailure, Cause: err}
		}
	}
	login := &command.ClientLogin{
		Account: p.Account.JID, Client: []byte(id), Software: e.Agent.Software, Device: e.Agent.Device,
		Auth: p.auth, Used: p.used, Keys: p.Account.Keys, Invalidate: e.Invalidate, KeepMs: TokenTime.Milliseconds(),
	}
	mechanism, wanted := tokenMechanism(e.Token)
	if !wanted && p.renew && !e.Invalidate {
		mechanism, wanted = p.mechanism, true
	}
	var issued *Issued
	if wanted {
		expires := time.Now().Add(TokenTime).Truncate(time.Second)
		login.Issue = &command.ClientToken{Seed: randomBytes(seedSize), Mechanism: mechanism, ExpiresMs: expires.UnixMilli()}
		issued = &Issued{Token: s.token(p.Account, id, mechanism, login.Issue.Seed), Expires: expires}
	}
	if issued == nil && !e.Invalidate && !p.next && settled(p, client, e.Agent) {
		if time.Since(client.Last) >= seenEvery {
			s.noted.add(p.Account.JID, id, time.Now())
		}
		return nil, nil
	}
	out, err := s.store.Do(ctx, &command.Command{Request: &command.Command_ClientLogin{ClientLogin: login}})
	switch {
	case err != nil:
		return nil, &Failure{Condition: TemporaryAuthFailure, Cause: err}
	case out.Verdict == command.Refused:
		return nil, &Failure{Condition: NotAuthorized}
	}
	return issued, nil
}

// settled reports whether there is nothing to be noted of a login but its time.
func settled(p Proof, c *state.Client, a Agent) bool {
	if c == nil || c.Software != a.Software || c.Device != a.Device {
		return false
	}
	return p.auth == command.ClientAuth_CLIENT_AUTH_TOKEN || p.auth == command.ClientAuth_CLIENT_AUTH_PASSWORD && c.Password
}

// Admits reports whether who has logged in may still, now: after its session
// hears of what becomes of its account.
func (s *Service) Admits(p Proof, client string) bool {
	acc, err := s.store.Account(p.Account.JID)
	if err != nil || acc.Disabled || acc.ID != p.Account.ID {
		return false
	}
	if p.auth == command.ClientAuth_CLIENT_AUTH_PASSWORD {
		return acc.Keys == p.Account.Keys
	}
	_, err = s.store.Client(acc.JID, client)
	return err == nil // a new password would have taken it away
}

// LinkTime is how long a link is good.
const LinkTime = 10 * time.Minute

// NewLink makes the token that lets one more client of an account log in, once. An
// earlier one is void.
func (s *Service) NewLink(ctx context.Context, bare string) (token string, expires time.Time, err error) {
	token = strings.ToLower(secretText())
	expires = time.Now().Add(LinkTime).Truncate(time.Second)
	keys, err := s.secretKeys(ctx, token)
	if err != nil {
		return "", time.Time{}, err
	}
	return token, expires, s.do(ctx, &command.Command{Request: &command.Command_LinkSet{
		LinkSet: &command.LinkSet{Account: bare, Keys: keys, ExpiresMs: expires.UnixMilli()},
	}})
}

// NewRecovery makes an account's recovery code; an earlier one is void.
func (s *Service) NewRecovery(ctx context.Context, bare string) (code string, err error) {
	text := secretText()
	keys, err := s.secretKeys(ctx, text)
	if err != nil {
		return "", err
	}
	var parts []string
	for i := 0; i < len(text); i += 4 {
		parts = append(parts, text[i:min(i+4, len(text))])
	}
	return strings.Join(parts, "-"), s.do(ctx, &command.Command{Request: &command.Command_RecoverySet{
		RecoverySet: &command.RecoverySet{Account: bare, Keys: keys},
	}})
}

// NoRecovery voids an account's recovery code.
func (s *Service) NoRecovery(ctx context.Context, bare string) error {
	return s.do(ctx, &command.Command{Request: &command.Command_RecoverySet{RecoverySet: &command.RecoverySet{Account: bare}}})
}

// secretText makes 140 random bits as 28 letters and digits that are not taken
// for each other: A to Z, 2 to 7.
func secretText() string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(randomBytes(18))[:28]
}

func (s *Service) secretKeys(ctx context.Context, secret string) (*command.ScramKeys, error) {
	release, err := s.hash(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return scramSHA256.derive(secret, randomBytes(saltSize), Iterations)
}

// Revoke ends the tokens and sessions of a client. Errors are *stanza.Error where
// it cannot be done.
func (s *Service) Revoke(ctx context.Context, bare, client string) error {
	return s.do(ctx, &command.Command{Request: &command.Command_ClientRevoke{
		ClientRevoke: &command.ClientRevoke{Account: bare, Client: []byte(client)},
	}})
}
