// SPDX-License-Identifier: Apache-2.0

package negotiate

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"

	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// maxResource is the length of a resource in bytes (RFC 7622 §3.4).
const maxResource = 1023

// establish goes on until a resource is bound (RFC 6120 §7) or a session
// resumed; tried: that failed already.
func (n *negotiation) establish(ctx context.Context, bare jid.JID, login Login, tried bool) (Login, error) {
	ctx, cancel := n.within(ctx)
	defer cancel()
	for {
		e, err := n.read()
		if err != nil {
			return Login{}, err
		}
		switch {
		case e.Is(stanza.NSClient, "iq") && e.First().Is(stanza.NSBind, "bind"):
			ok, err := n.bind(ctx, e, bare, &login)
			if ok || err != nil {
				return login, err
			}
		case e.Is(stanza.NSSM, "resume") && n.deps.Resume != nil && !tried:
			tried = true
			ok, err := n.resume(ctx, e, &login)
			if ok || err != nil {
				return login, err
			}
		case e.Is(stanza.NSSM, "resume"), e.Is(stanza.NSSM, "enable"):
			// XEP-0198 §enable @1.6.3: only after binding.
			if err := n.stream.WriteElement(failed(stanza.UnexpectedRequest)); err != nil {
				return Login{}, err
			}
		default: // RFC 6120 §7.1
			return Login{}, stanza.StreamErr(stanza.StreamNotAuthorized, "bind a resource first")
		}
	}
}

// bind answers a request to bind (RFC 6120 §7.6, §7.7); false when the client
// may try again.
func (n *negotiation) bind(ctx context.Context, iq *xmlstream.Element, bare jid.JID, login *Login) (bool, error) {
	full, err := chooseResource(iq, bare)
	if err == nil && n.deps.Current != nil {
		if cerr := n.deps.Current(ctx); cerr != nil {
			return false, n.internal(cerr)
		}
	}
	if err == nil && n.deps.Room != nil && !n.deps.Room(full) { // RFC 6120 §7.6.2.1
		err = stanza.Err(stanza.Wait, stanza.ResourceConstraint, tooManyDevices)
	}
	var refused *stanza.Error
	if errors.As(err, &refused) {
		return false, n.stream.WriteElement(refused.Reply(iq))
	}
	login.JID = full
	result := xmlstream.New(stanza.NSBind, "bind").Add(xmlstream.NewText(stanza.NSBind, "jid", full.String()))
	return true, n.stream.WriteElement(stanza.Result(iq, result))
}

// chooseResource takes the resource that the client asks for, or makes one.
// The error is a *stanza.Error.
func chooseResource(iq *xmlstream.Element, bare jid.JID) (jid.JID, error) {
	bad := stanza.Err(stanza.Modify, stanza.BadRequest, "")
	if iq.Get("type") != "set" || iq.Get("id") == "" {
		return jid.JID{}, bad
	}
	resource := iq.First().Child(stanza.NSBind, "resource").Text()
	if resource == "" {
		resource = rand.Text()
	}
	if len(resource) > maxResource {
		return jid.JID{}, bad
	}
	full, err := bare.WithResource(resource)
	if err != nil || full.IsBare() {
		return jid.JID{}, bad
	}
	return full, nil
}

const tooManyDevices = "This account has too many devices connected; log one of them out."

// resume asks for an earlier session; false when the client is to bind.
func (n *negotiation) resume(ctx context.Context, e *xmlstream.Element, login *Login) (bool, error) {
	if n.deps.Current != nil {
		if err := n.deps.Current(ctx); err != nil {
			return false, n.internal(err)
		}
	}
	if failed := n.takeUp(ctx, e, login); failed != nil {
		return false, n.stream.WriteElement(failed)
	}
	return true, nil
}

// takeUp takes up the session that <resume/> names; what it gives tells the
// client why it could not.
func (n *negotiation) takeUp(ctx context.Context, e *xmlstream.Element, login *Login) *xmlstream.Element {
	previd := e.Get("previd")
	h, err := strconv.ParseUint(e.Get("h"), 10, 32)
	if err != nil || previd == "" {
		return failed(stanza.BadRequest)
	}
	r := n.deps.Resume(ctx, login.Account, previd, uint32(h))
	if r.Session != nil {
		login.JID, login.Resumed, login.H = r.JID, r.Session, uint32(h)
		return nil
	}
	f := failed(stanza.ItemNotFound)
	if r.Known {
		f.Set("h", strconv.FormatUint(uint64(r.H), 10))
	}
	return f
}

// failed makes <failed/> (XEP-0198 §errors @1.6.3).
func failed(c stanza.Condition) *xmlstream.Element {
	return xmlstream.New(stanza.NSSM, "failed").Add(xmlstream.New(stanza.NSStanzaError, string(c)))
}
