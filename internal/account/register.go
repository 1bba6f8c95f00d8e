// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"errors"
	"time"

	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// CheckInvite says whether a token can be used now to make an account
// (XEP-0445 §preauth-ibr @0.2.0). The error is a *stanza.Error unless the
// store failed.
func (s *Service) CheckInvite(token string) (state.Invite, error) {
	unknown := stanza.Err(stanza.Cancel, stanza.ItemNotFound, "The provided token is invalid or expired")
	if token == "" || len(token) > maxToken {
		return state.Invite{}, unknown
	}
	inv, err := s.store.Invite(HashToken(token))
	if errors.Is(err, state.ErrNotFound) {
		return state.Invite{}, unknown
	}
	if err != nil {
		return state.Invite{}, err
	}
	if inv.Uses == 0 || !inv.Expires.IsZero() && !time.Now().Before(inv.Expires) {
		return state.Invite{}, unknown
	}
	return inv, nil
}

// Register makes an account with an invite. Whether the token is still good is
// decided when the command is applied.
func (s *Service) Register(ctx context.Context, token, username, password, name string) (jid.JID, error) {
	j, err := s.parseLocal(username)
	if err != nil {
		return jid.JID{}, err
	}
	if err := mayRegister(j); err != nil {
		return jid.JID{}, err
	}
	return j, s.create(ctx, j, password, name, token)
}

// Signup is registration over one stream that has not authenticated. It makes
// at most one account. It is not safe for concurrent use.
type Signup struct {
	service *Service
	token   string
	made    jid.JID
	cause   error
}

// Signup starts a registration.
func (s *Service) Signup() *Signup { return &Signup{service: s} }

// Admitted reports whether a valid token was shown.
func (g *Signup) Admitted() bool { return g.token != "" }

// Made is the account that was made, zero before that.
func (g *Signup) Made() jid.JID { return g.made }

// Cause is why the last request failed on our side, nil when it did not; for
// the log.
func (g *Signup) Cause() error { return g.cause }

// Handle answers an IQ request of registration; nil means that it is not one.
func (g *Signup) Handle(ctx context.Context, iq *xmlstream.Element) *xmlstream.Element {
	g.cause = nil
	if !iq.Is(stanza.NSClient, "iq") {
		return nil
	}
	payload, typ := iq.First(), iq.Get("type")
	preauth, query := payload.Is(stanza.NSPARS, "preauth"), payload.Is(stanza.NSRegister, "query")
	if !preauth && !query || typ != "get" && typ != "set" {
		return nil
	}
	var result *xmlstream.Element
	var err error
	switch {
	case !g.service.addressed(iq.Get("to")):
		err = stanza.Err(stanza.Auth, stanza.NotAuthorized, "Log in first.")
	case preauth && typ == "set":
		err = g.preauth(payload.Get("token"))
	case query && typ == "get":
		result, err = g.form()
	case query && typ == "set":
		err = g.register(ctx, payload)
	default:
		err = stanza.Err(stanza.Modify, stanza.BadRequest, "")
	}
	if err != nil {
		return g.fail(iq, err)
	}
	return stanza.Result(iq, result).Set("from", g.service.domain)
}

// addressed reports whether a stanza is for the domain itself.
func (s *Service) addressed(to string) bool {
	if to == "" || to == s.domain {
		return true
	}
	j, err := jid.Parse(to)
	return err == nil && j.String() == s.domain
}

func (g *Signup) fail(iq *xmlstream.Element, err error) *xmlstream.Element {
	var e *stanza.Error
	if !errors.As(err, &e) {
		g.cause = err
		e = stanza.Err(stanza.Wait, stanza.InternalServerError, "Try again later.")
	}
	return e.Reply(iq).Set("from", g.service.domain)
}

// preauth checks the token; using it up is left to the registration
// (XEP-0445 §preauth-ibr @0.2.0).
func (g *Signup) preauth(token string) error {
	if _, err := g.service.CheckInvite(token); err != nil {
		return err
	}
	g.token = token
	return nil
}

// form names the fields (XEP-0077 §usecases-register @2.4). The field name is
// understood but not listed, because what is listed must be filled in.
func (g *Signup) form() (*xmlstream.Element, error) {
	if err := g.open(); err != nil {
		return nil, err
	}
	return xmlstream.New(stanza.NSRegister, "query").Add(
		xmlstream.NewText(stanza.NSRegister, "instructions", "Choose a name and a password of at least 8 characters."),
		xmlstream.New(stanza.NSRegister, "username"),
		xmlstream.New(stanza.NSRegister, "password"),
	), nil
}

func (g *Signup) register(ctx context.Context, query *xmlstream.Element) error {
	if err := g.open(); err != nil {
		return err
	}
	if query.Child(stanza.NSRegister, "remove") != nil {
		return stanza.Err(stanza.Wait, stanza.UnexpectedRequest, "Log in first.")
	}
	username := query.Child(stanza.NSRegister, "username").Text()
	password := query.Child(stanza.NSRegister, "password").Text()
	if username == "" || password == "" {
		return notAcceptable("Both username and password are needed.")
	}
	name := query.Child(stanza.NSRegister, "name").Text()
	j, err := g.service.Register(ctx, g.token, username, password, name)
	if err != nil {
		return err
	}
	g.made = j
	return nil
}

// open says whether this stream may register: with a token, and once.
func (g *Signup) open() error {
	if !g.made.IsZero() {
		return stanza.Err(stanza.Cancel, stanza.NotAcceptable, "An account was made already; log in.")
	}
	if g.token == "" {
		return stanza.Err(stanza.Cancel, stanza.NotAllowed, "Registration is by invitation: show the token first.")
	}
	return nil
}
