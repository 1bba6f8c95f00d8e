// SPDX-License-Identifier: Apache-2.0

// Package accounttest offers a store of accounts in memory that decides as the
// view does, for tests of what stands on package account.
package accounttest

import (
	"context"
	"crypto/sha256"
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
	former   map[string]bool // names of deleted accounts
	fail     error
}

// New makes an empty Store.
func New() *Store {
	return &Store{accounts: make(map[string]state.Account), invites: make(map[[sha256.Size]byte]state.Invite), former: make(map[string]bool)}
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
	default:
		return stanza.Err(stanza.Cancel, stanza.FeatureNotImplemented, "")
	}
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
