// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"bavard/internal/command"
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

// Register makes an account for who comes with an invite, or, with no token,
// for anybody while registration is open. Whether the token is still good and
// the name free is decided when the command is applied. Limits are not looked
// at here: they belong to a Signup.
func (s *Service) Register(ctx context.Context, token, username, password, name string) (jid.JID, error) {
	j, err := s.parseLocal(username)
	if err != nil {
		return jid.JID{}, err
	}
	if err := mayRegister(j); err != nil {
		return jid.JID{}, err
	}
	// Applying would say so too, after work that somebody could ask for at will.
	if _, err := s.store.Account(j.String()); err == nil {
		return jid.JID{}, stanza.Err(stanza.Cancel, stanza.Conflict, "This name is taken; choose another.")
	} else if !errors.Is(err, state.ErrNotFound) {
		return jid.JID{}, err
	}
	return j, s.create(ctx, j, password, name, &command.AccountCreate{Invite: token, Registered: true})
}

// Open reports whether anybody may make an account.
func (s *Service) Open() bool { return s.open != nil }

// Registrations counts what came of requests to make an account.
type Registrations struct {
	Open    uint64 // accounts made by strangers
	Invited uint64 // accounts made with an invite
	Limited uint64 // refused by the limits on open registration
	Refused uint64 // refused for another reason, such as a name that is taken
}

// Registrations since the start.
func (s *Service) Registrations() Registrations {
	return Registrations{
		Open: s.counts.open.Load(), Invited: s.counts.invited.Load(),
		Limited: s.counts.limited.Load(), Refused: s.counts.refused.Load(),
	}
}

type counts struct{ open, invited, limited, refused atomic.Uint64 }

// Signup is registration over one stream that has not authenticated. It makes
// at most one account. It is not safe for concurrent use.
type Signup struct {
	service *Service
	block   netip.Prefix
	token   string
	asked   bool // for the form, while registration is open
	made    jid.JID
	cause   error
	refusal *stanza.Error
}

// Signup starts a registration from an address block, which is the unit that
// limits count; an invalid one, as of this machine, counts only in all.
func (s *Service) Signup(block netip.Prefix) *Signup { return &Signup{service: s, block: block} }

// Admitted reports whether a person may be typing: a valid token was shown, or
// the form got while registration is open.
func (g *Signup) Admitted() bool { return g.token != "" || g.asked }

// Invited reports whether a valid token was shown.
func (g *Signup) Invited() bool { return g.token != "" }

// Made is the account that was made, zero before that.
func (g *Signup) Made() jid.JID { return g.made }

// Cause is why the last request failed on our side, nil when it did not; for
// the log.
func (g *Signup) Cause() error { return g.cause }

// Refusal is why the last request to make an account was refused, nil when it
// was not; for the log.
func (g *Signup) Refusal() *stanza.Error { return g.refusal }

// Handle answers an IQ request of registration; nil means that it is not one.
func (g *Signup) Handle(ctx context.Context, iq *xmlstream.Element) *xmlstream.Element {
	g.cause, g.refusal = nil, nil
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
		result, err = g.preauth(payload.Get("token"))
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
// (XEP-0445 §preauth-ibr @0.2.0). Of an invite to a room it also gives which.
func (g *Signup) preauth(token string) (*xmlstream.Element, error) {
	inv, err := g.service.CheckInvite(token)
	if err != nil {
		return nil, err
	}
	g.token = token
	if inv.Room == "" {
		return nil, nil
	}
	return xmlstream.New(stanza.NSRoomInvite, "invite").Add(xmlstream.New(stanza.NSRoomInvite, "room", "jid", inv.Room, "name", inv.RoomName)), nil
}

// form names the fields, bare and as a data form, which clients prefer
// (XEP-0077 §usecases-register @2.4, §precedence). The field name is understood
// but not listed, because what is listed bare must be filled in.
func (g *Signup) form() (*xmlstream.Element, error) {
	if err := g.open(); err != nil {
		return nil, err
	}
	if g.token == "" {
		if err := g.service.open.look(g.block, time.Now()); err != nil {
			g.service.counts.limited.Add(1)
			return nil, err
		}
		g.asked = true
	}
	const instructions = "Choose a name and a password of at least 8 characters."
	field := func(typ, name, label string) *xmlstream.Element {
		return xmlstream.New(stanza.NSData, "field", "type", typ, "var", name, "label", label).
			Add(xmlstream.New(stanza.NSData, "required"))
	}
	return xmlstream.New(stanza.NSRegister, "query").Add(
		xmlstream.NewText(stanza.NSRegister, "instructions", instructions),
		xmlstream.New(stanza.NSRegister, "username"),
		xmlstream.New(stanza.NSRegister, "password"),
		xmlstream.New(stanza.NSData, "x", "type", "form").Add(
			xmlstream.NewText(stanza.NSData, "title", "A new account at "+g.service.domain),
			xmlstream.NewText(stanza.NSData, "instructions", instructions),
			xmlstream.New(stanza.NSData, "field", "type", "hidden", "var", "FORM_TYPE").
				Add(xmlstream.NewText(stanza.NSData, "value", stanza.NSRegister)),
			field("text-single", "username", "Name"),
			field("text-private", "password", "Password"),
		),
	), nil
}

// filled gives what a request says for a field: in its data form, if it has
// one, or bare (XEP-0077 §precedence @2.4).
func filled(query *xmlstream.Element) (get func(string) string, err error) {
	x := query.Child(stanza.NSData, "x")
	if x == nil {
		return func(name string) string { return query.Child(stanza.NSRegister, name).Text() }, nil
	}
	if x.Get("type") != "submit" {
		return nil, stanza.Err(stanza.Modify, stanza.BadRequest, "The form was not submitted.")
	}
	values := map[string]string{}
	for _, f := range x.Elements() {
		if f.Is(stanza.NSData, "field") {
			values[f.Get("var")] = f.Child(stanza.NSData, "value").Text()
		}
	}
	if typ := values["FORM_TYPE"]; typ != "" && typ != stanza.NSRegister {
		return nil, stanza.Err(stanza.Modify, stanza.BadRequest, "This is another form.")
	}
	return func(name string) string { return values[name] }, nil
}

func (g *Signup) register(ctx context.Context, query *xmlstream.Element) error {
	err := g.try(ctx, query)
	var refused *stanza.Error
	if errors.As(err, &refused) {
		g.refusal = refused
	}
	switch {
	case err == nil && g.token != "":
		g.service.counts.invited.Add(1)
	case err == nil:
		g.service.counts.open.Add(1)
	case refused != nil && refused.Condition == stanza.ResourceConstraint:
		g.service.counts.limited.Add(1)
	default:
		g.service.counts.refused.Add(1)
	}
	return err
}

func (g *Signup) try(ctx context.Context, query *xmlstream.Element) error {
	if err := g.open(); err != nil {
		return err
	}
	if query.Child(stanza.NSRegister, "remove") != nil {
		return stanza.Err(stanza.Wait, stanza.UnexpectedRequest, "Log in first.")
	}
	get, err := filled(query)
	if err != nil {
		return err
	}
	username, password := get("username"), get("password")
	if username == "" || password == "" {
		return notAcceptable("Both username and password are needed.")
	}
	create := func() error {
		j, err := g.service.Register(ctx, g.token, username, password, get("name"))
		if err == nil {
			g.made = j
		}
		return err
	}
	if g.token != "" {
		return create()
	}
	return g.service.open.admit(ctx, g.block, create)
}

// open says whether this stream may register, and once: with a token, or while
// anybody may.
func (g *Signup) open() error {
	if !g.made.IsZero() {
		return stanza.Err(stanza.Cancel, stanza.NotAcceptable, "An account was made already; log in.")
	}
	if g.token == "" && !g.service.Open() {
		return stanza.Err(stanza.Cancel, stanza.NotAllowed, "Registration is by invitation: show the token first.")
	}
	return nil
}
