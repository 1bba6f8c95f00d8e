// SPDX-License-Identifier: Apache-2.0

// Package accounttest offers a store of accounts in memory that decides as the
// view does, for tests of what stands on package account.
package accounttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Store implements account.Store.
type Store struct {
	mu       sync.Mutex
	revision uint64
	accounts map[string]state.Account
	invites  map[[sha256.Size]byte]state.Invite
	clients  map[[2]string]state.Client
	links    map[string]state.Secret
	codes    map[string]state.Secret // for recovery
	former   map[string]bool         // names of deleted accounts
	fail     error
}

// New makes an empty Store.
func New() *Store {
	return &Store{
		accounts: make(map[string]state.Account), invites: make(map[[sha256.Size]byte]state.Invite), former: make(map[string]bool),
		clients: make(map[[2]string]state.Client), links: make(map[string]state.Secret), codes: make(map[string]state.Secret),
	}
}

// Fail makes every call fail with err; nil heals.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// Account implements account.Store.
func (s *Store) Account(bare string) (state.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return state.Account{}, s.fail
	}
	a, ok := s.accounts[bare]
	if !ok {
		return state.Account{}, state.ErrNotFound
	}
	return a, nil
}

// Invite implements account.Store.
func (s *Store) Invite(tokenHash []byte) (state.Invite, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return state.Invite{}, s.fail
	}
	inv, ok := s.invites[[sha256.Size]byte(tokenHash)]
	if !ok {
		return state.Invite{}, state.ErrNotFound
	}
	return inv, nil
}

// Client implements account.Store.
func (s *Store) Client(bare, client string) (state.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[[2]string{bare, client}]
	if !ok {
		return state.Client{}, errors.Join(s.fail, state.ErrNotFound)
	}
	return c, s.fail
}

// Link implements account.Store.
func (s *Store) Link(bare string) (state.Secret, error) { return s.secret(s.links, bare) }

// Recovery implements account.Store.
func (s *Store) Recovery(bare string) (state.Secret, error) { return s.secret(s.codes, bare) }

func (s *Store) secret(of map[string]state.Secret, bare string) (state.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := of[bare]
	if !ok {
		return state.Secret{}, errors.Join(s.fail, state.ErrNotFound)
	}
	return x, s.fail
}

// Do implements account.Store.
func (s *Store) Do(ctx context.Context, cmd *command.Command) (command.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return command.Outcome{}, s.fail
	}
	if err := ctx.Err(); err != nil {
		return command.Outcome{}, err
	}
	s.revision++
	out := command.Outcome{Position: command.Position{Revision: s.revision}, Verdict: command.Accepted, Time: time.Now()}
	if out.Err = s.apply(cmd); out.Err != nil {
		out.Verdict = command.Refused
	}
	return out, nil
}

func (s *Store) apply(cmd *command.Command) *stanza.Error {
	switch r := cmd.Request.(type) {
	case *command.Command_AccountCreate:
		return s.create(r.AccountCreate)
	case *command.Command_CredentialsSet:
		a, ok := s.accounts[r.CredentialsSet.Jid]
		if !ok {
			return stanza.Err(stanza.Cancel, stanza.ItemNotFound, "")
		}
		a.Credentials = r.CredentialsSet.Credentials
		s.accounts[a.JID] = a
	case *command.Command_AccountDisable:
		a, ok := s.accounts[r.AccountDisable.Jid]
		if !ok {
			return stanza.Err(stanza.Cancel, stanza.ItemNotFound, "")
		}
		a.Disabled = !r.AccountDisable.Enable
		s.accounts[a.JID] = a
	case *command.Command_AccountDelete:
		if _, ok := s.accounts[r.AccountDelete.Jid]; !ok {
			return stanza.Err(stanza.Cancel, stanza.ItemNotFound, "")
		}
		delete(s.accounts, r.AccountDelete.Jid)
		s.former[r.AccountDelete.Jid] = true
	case *command.Command_InviteCreate:
		inv := state.Invite{Uses: r.InviteCreate.Uses, Inviter: r.InviteCreate.Inviter, Circle: r.InviteCreate.Circle}
		if ms := r.InviteCreate.ExpiresMs; ms != 0 {
			inv.Expires = time.UnixMilli(ms)
		}
		s.invites[[sha256.Size]byte(r.InviteCreate.TokenHash)] = inv
	case *command.Command_ClientLogin:
		return s.login(r.ClientLogin)
	case *command.Command_ClientsSeen:
	case *command.Command_LinkSet:
		s.links[r.LinkSet.Account] = state.Secret{Keys: r.LinkSet.Keys, Made: time.Now(), Expires: time.UnixMilli(r.LinkSet.ExpiresMs)}
	case *command.Command_RecoverySet:
		delete(s.codes, r.RecoverySet.Account)
		if r.RecoverySet.Keys != nil {
			s.codes[r.RecoverySet.Account] = state.Secret{Keys: r.RecoverySet.Keys, Made: time.Now()}
		}
	default:
		return stanza.Err(stanza.Cancel, stanza.FeatureNotImplemented, "")
	}
	return nil
}

func (s *Store) login(l *command.ClientLogin) *stanza.Error {
	key := [2]string{l.Account, string(l.Client)}
	c, no := s.clients[key], stanza.Err(stanza.Auth, stanza.NotAuthorized, "")
	if c.ID == "" {
		c.ID, c.First = string(l.Client), time.Now()
	}
	switch l.Auth {
	case command.ClientAuth_CLIENT_AUTH_PASSWORD:
		c.Password = true
	case command.ClientAuth_CLIENT_AUTH_TOKEN:
		if c.Next != nil && bytes.Equal(c.Next.Seed, l.Used) {
			c.Current, c.Next = c.Next, nil
		} else if c.Current == nil || !bytes.Equal(c.Current.Seed, l.Used) {
			return no
		}
		if l.Invalidate {
			c.Current = nil
		}
	case command.ClientAuth_CLIENT_AUTH_LINK:
		if !bytes.Equal(s.links[l.Account].Keys.GetStoredKey(), l.Used) {
			return no
		}
		delete(s.links, l.Account)
		c.Link = true
	case command.ClientAuth_CLIENT_AUTH_RECOVERY:
		if !bytes.Equal(s.codes[l.Account].Keys.GetStoredKey(), l.Used) {
			return no
		}
		c.Recovery = true
	}
	if t := l.Issue; t != nil {
		c.Next = &state.Token{Seed: t.Seed, Mechanism: t.Mechanism, Issued: time.Now(), Expires: time.UnixMilli(t.ExpiresMs)}
	}
	c.Last, c.Software, c.Device = time.Now(), l.Software, l.Device
	s.clients[key] = c
	return nil
}

func (s *Store) create(c *command.AccountCreate) *stanza.Error {
	if _, ok := s.accounts[c.Jid]; ok || c.Registered && s.former[c.Jid] {
		return stanza.Err(stanza.Cancel, stanza.Conflict, "")
	}
	if c.Invite != "" {
		key := sha256.Sum256([]byte(c.Invite))
		inv, ok := s.invites[key]
		if !ok || inv.Uses == 0 {
			return stanza.Err(stanza.Cancel, stanza.NotAllowed, "")
		}
		inv.Uses--
		s.invites[key] = inv
	}
	s.accounts[c.Jid] = state.Account{
		JID: c.Jid, ID: s.revision, Name: c.Name, Created: time.Now(), Credentials: c.Credentials,
	}
	return nil
}
