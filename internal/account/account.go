// SPDX-License-Identifier: Apache-2.0

// Package account knows who may log in: SCRAM keys and exchanges (RFC 5802,
// RFC 7677), PLAIN (RFC 4616) against the same keys, registration by invite or,
// while that is switched on, by anybody within limits (XEP-0077, XEP-0445),
// and the invites themselves. A password is turned into keys where it arrives
// and is neither stored nor logged.
package account

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"time"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Store is what the package needs from the cell.
type Store interface {
	// Do submits a command and waits until it was applied.
	Do(ctx context.Context, cmd *command.Command) (command.Outcome, error)
	// Account gives the account of a bare JID; state.ErrNotFound when there is
	// none.
	Account(bare string) (state.Account, error)
	// Invite gives the invite whose token has this SHA-256; state.ErrNotFound
	// when there is none.
	Invite(tokenHash []byte) (state.Invite, error)
	// Client gives a client of an account by its name, Link what lets one more log
	// in, and Recovery the keys of the recovery code; state.ErrNotFound when there
	// is none.
	Client(bare, client string) (state.Client, error)
	Link(bare string) (state.Secret, error)
	Recovery(bare string) (state.Secret, error)
}

// Config of a Service.
type Config struct {
	Store Store
	// Domain that the accounts belong to, normalised.
	Domain string
	// Secret makes the answers about unknown users: 32 bytes that should be
	// the same after a restart and on each node of the cell, or a stranger can
	// tell unknown users by their changing salt. Nil takes a random one.
	Secret []byte
	// Hashers is how many passwords are hashed at once; ≤ 0 means one for each
	// processor. The others wait.
	Hashers int
	// Open lets anybody make an account, within these limits; nil means by
	// invite only.
	Open *Limits
}

// Service answers logins and registrations of one domain. It is safe for
// concurrent use.
type Service struct {
	store   Store
	domain  string
	secret  []byte
	hashers chan struct{}
	open    *throttle // nil: by invite only
	counts  counts
	noted   noted
	guard   guard
}

// New makes a Service.
func New(cfg Config) *Service {
	s := &Service{store: cfg.Store, domain: cfg.Domain, secret: cfg.Secret}
	if len(s.secret) == 0 {
		s.secret = randomBytes(sha256.Size)
	}
	n := cfg.Hashers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	s.hashers = make(chan struct{}, n)
	if cfg.Open != nil {
		s.open = newThrottle(*cfg.Open, time.Now())
	}
	return s
}

// Verify checks a password against the stored keys and gives the account. It
// takes as long for an unknown user as for a known one. Errors are *Failure.
func (s *Service) Verify(ctx context.Context, username, password string) (state.Account, error) {
	acc, cred, err := s.lookup(username)
	if err != nil {
		return state.Account{}, err
	}
	prepared, perr := preparePassword(password)
	mech := scramSHA256
	if len(cred.GetScramSha256().GetStoredKey()) == 0 {
		mech = scramSHA1
	}
	release, err := s.hash(ctx)
	if err != nil {
		return state.Account{}, &Failure{Condition: TemporaryAuthFailure, Cause: err}
	}
	defer release()
	ok, err := mech.matches(mech.keys(cred), prepared)
	if err != nil {
		return state.Account{}, &Failure{Condition: TemporaryAuthFailure, Cause: err}
	}
	if perr != nil || !ok || acc.JID == "" {
		return state.Account{}, &Failure{Condition: NotAuthorized}
	}
	if err := enabled(acc); err != nil {
		return state.Account{}, err
	}
	return acc, nil
}

// enabled is asked once the password was right, so that nobody else learns of
// it (RFC 6120 §6.5.2).
func enabled(acc state.Account) error {
	if acc.Disabled {
		return &Failure{Condition: AccountDisabled, Text: "This account is switched off; ask who runs the server."}
	}
	return nil
}

// Create makes an account without an invite, for the operator. Reserved names
// are allowed. Errors are *stanza.Error where the fault is in what was given.
func (s *Service) Create(ctx context.Context, local, password, name string) (jid.JID, error) {
	j, err := s.parseLocal(local)
	if err != nil {
		return jid.JID{}, err
	}
	return j, s.create(ctx, j, password, name, &command.AccountCreate{})
}

// create fills in the command and has it decided.
func (s *Service) create(ctx context.Context, j jid.JID, password, name string, c *command.AccountCreate) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	name, err := cleanName(name)
	if err != nil {
		return err
	}
	cred, err := s.derive(ctx, password)
	if err != nil {
		return err
	}
	c.Jid, c.Credentials, c.Name = j.String(), cred, name
	for range removalSlices {
		err = s.do(ctx, &command.Command{Request: &command.Command_AccountCreate{AccountCreate: c}})
		var e *stanza.Error
		if !errors.As(err, &e) || e.Condition != stanza.Conflict || e.Type != stanza.Wait {
			break
		}
		// Somebody of that name is still being removed, a slice at a time.
		if err := s.do(ctx, &command.Command{Request: &command.Command_ArchiveSweep{ArchiveSweep: &command.ArchiveSweep{}}}); err != nil {
			return err
		}
	}
	return err
}

// removalSlices bounds how much of who had a name before is removed by who takes it: at
// 200 records each, all that 200,000 rooms and as many invites say of them. Beyond, they
// are told to try again.
const removalSlices = 2000

// ChangePassword replaces the keys of the account with this bare JID
// (XEP-0077 §usecases-changepw @2.4). Errors are *stanza.Error where the fault
// is in the password or the account.
func (s *Service) ChangePassword(ctx context.Context, bare, password string) error {
	return s.changePassword(ctx, bare, password, "", "")
}

// ChangeOwnPassword is ChangePassword for a device, which stays logged in; the
// account's others do not. client names the program on it, "" if that is not
// known.
func (s *Service) ChangeOwnPassword(ctx context.Context, by jid.JID, client, password string) error {
	return s.changePassword(ctx, by.Bare().String(), password, by.String(), client)
}

func (s *Service) changePassword(ctx context.Context, bare, password, by, client string) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	cred, err := s.derive(ctx, password)
	if err != nil {
		return err
	}
	return s.do(ctx, &command.Command{Request: &command.Command_CredentialsSet{CredentialsSet: &command.CredentialsSet{
		Jid: bare, Credentials: cred, By: by, Client: []byte(client),
	}}})
}

// do submits a command; a refusal comes back as its *stanza.Error.
func (s *Service) do(ctx context.Context, cmd *command.Command) error {
	out, err := s.store.Do(ctx, cmd)
	if err != nil {
		return fmt.Errorf("account: %w", err)
	}
	if out.Verdict == command.Refused {
		if out.Err == nil {
			return stanza.Err(stanza.Cancel, stanza.NotAllowed, "")
		}
		return out.Err
	}
	return nil
}

// lookup finds the account and keys of a user name as a client sent it. For an
// unknown user the account is zero and the keys are made up, the same ones
// each time, so that the exchange goes on as with a known user.
func (s *Service) lookup(username string) (state.Account, *command.Credentials, error) {
	name := username
	j, err := jid.Make(username, s.domain, "")
	if err == nil && j.Local() != "" {
		name = j.Local()
		acc, err := s.store.Account(j.String())
		if err == nil && acc.Credentials != nil {
			return acc, acc.Credentials, nil
		}
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return state.Account{}, nil, &Failure{Condition: TemporaryAuthFailure, Cause: err}
		}
	}
	return state.Account{}, s.fakeCredentials(name), nil
}

// fakeCredentials are keys that no password matches, a function of the user
// name and the service's secret alone.
func (s *Service) fakeCredentials(name string) *command.Credentials {
	made := func(what string, n int) []byte {
		mac := hmac.New(sha256.New, s.secret)
		mac.Write([]byte(what))
		mac.Write([]byte{0})
		mac.Write([]byte(name))
		return mac.Sum(nil)[:n]
	}
	return &command.Credentials{
		ScramSha1: &command.ScramKeys{
			Salt: made("sha1 salt", saltSize), Iterations: Iterations,
			StoredKey: made("sha1 stored", 20), ServerKey: made("sha1 server", 20),
		},
		ScramSha256: &command.ScramKeys{
			Salt: made("sha256 salt", saltSize), Iterations: Iterations,
			StoredKey: made("sha256 stored", 32), ServerKey: made("sha256 server", 32),
		},
	}
}

// hash waits for a place among those who hash passwords.
func (s *Service) hash(ctx context.Context) (release func(), err error) {
	select {
	case s.hashers <- struct{}{}:
		return func() { <-s.hashers }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Service) derive(ctx context.Context, password string) (*command.Credentials, error) {
	release, err := s.hash(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return Derive(password)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}
