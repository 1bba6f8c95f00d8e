// SPDX-License-Identifier: Apache-2.0

package negotiate

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"bavard/internal/account"
	"bavard/internal/listen"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// profile is a way of carrying SASL over XMPP: of RFC 6120, or SASL2.
type profile struct {
	space string
	begin string // element that begins an exchange
}

// The profiles; immutable.
var (
	sasl1 = profile{stanza.NSSASL, "auth"}
	sasl2 = profile{stanza.NSSASL2, "authenticate"}
)

// proven is who a client has shown to be.
type proven struct {
	account.Proof
	data    []byte   // additional data with success
	request *request // of SASL2, nil for SASL
}

// sasl runs the exchange that <auth/> begins (RFC 6120 §6.4). It gives the
// account when it succeeded; neither account nor error when the client may try
// again; and an <auth/> that came before the exchange was over, which replaces
// it (§6.4.2).
func (n *negotiation) sasl(ctx context.Context, auth *xmlstream.Element) (proven, *xmlstream.Element, error) {
	initial, err := decode(auth.Text())
	if err != nil {
		return proven{}, nil, n.fail(sasl1, err)
	}
	// Without an initial response the first challenge is empty: each of our
	// mechanisms lets the client speak first (RFC 4422 §5.1).
	a := attempt{Attempt: account.Attempt{Mechanism: auth.Get("mechanism"), Offer: n.offer}, initial: initial, silent: auth.Text() == ""}
	p, next, err := n.exchange(ctx, sasl1, a)
	if err != nil || p.Account.JID == "" {
		return p, next, err
	}
	return p, nil, n.stream.WriteElement(message(sasl1.space, "success", p.data))
}

// attempt is the beginning of an exchange.
type attempt struct {
	account.Attempt
	initial []byte
	silent  bool // there is no initial response
	resumes bool // a session, in the same request
}

// giveWay lets those first that show a token or resume: they are done at once,
// and their people have been here a moment ago. It takes nothing from the
// client's time. Who has waited in vain is told to come again.
func (n *negotiation) giveWay(in profile) error {
	began := time.Now()
	admitted := n.stream.GiveWay(n.deps.PasswordWait)
	n.end = n.end.Add(time.Since(began))
	n.stream.SetDeadline(n.end)
	if admitted {
		return nil
	}
	const busy = "The server has too much to do at the moment; try again in a minute."
	if err := n.fail(in, &account.Failure{Condition: account.TemporaryAuthFailure, Text: busy}); err != nil {
		return err
	}
	return stanza.StreamErr(stanza.StreamResourceConstraint, busy) // RFC 6120 §4.9.3.17
}

// exchange has the client prove who it is. Nothing is said of the success. The
// element is one that began another exchange instead.
func (n *negotiation) exchange(ctx context.Context, in profile, a attempt) (proven, *xmlstream.Element, error) {
	a.Block = n.stream.Block()
	x, err := n.deps.Accounts.Begin(a.Attempt)
	if err != nil {
		return proven{}, nil, n.fail(in, err)
	}
	if a.Shown != account.Token && !a.resumes {
		defer n.stream.GoAhead()
		if err := n.giveWay(in); err != nil {
			return proven{}, nil, err
		}
	}
	ctx, cancel := n.within(ctx)
	defer cancel()
	if n.deps.Current != nil {
		if err := n.deps.Current(ctx); err != nil {
			return proven{}, nil, n.fail(in, &account.Failure{Condition: account.TemporaryAuthFailure, Cause: err})
		}
	}
	var challenge []byte
	data, waiting := a.initial, a.silent
	for {
		if waiting {
			if err := n.stream.WriteElement(message(in.space, "challenge", challenge)); err != nil {
				return proven{}, nil, err
			}
			e, err := n.read()
			switch {
			case err != nil:
				return proven{}, nil, err
			case in == sasl1 && e.Is(in.space, in.begin):
				return proven{}, e, nil
			case e.Is(in.space, "abort"):
				return proven{}, nil, n.fail(in, &account.Failure{Condition: account.Aborted})
			case !e.Is(in.space, "response"):
				return proven{}, nil, stanza.StreamErr(stanza.StreamNotAuthorized, "")
			}
			if data, err = decode(e.Text()); err != nil {
				return proven{}, nil, n.fail(in, err)
			}
		}
		out, done, err := x.Next(ctx, data)
		if err != nil {
			return proven{}, nil, n.fail(in, err)
		}
		if done {
			if n.deps.Elsewhere != nil {
				if told := n.deps.Elsewhere(x.Proof().Account.JID); told != nil {
					return proven{}, nil, told
				}
			}
			n.mechanism = a.Mechanism
			return proven{Proof: x.Proof(), data: out}, nil, nil
		}
		challenge, waiting = out, true
	}
}

// bindings gives what TLS offers to bind to. Over WebSocket that is nothing: a
// page in a browser does not get to see the TLS channel, and there are clients
// (stanza 12) that choose a -PLUS mechanism wherever there is one, and then
// cannot log in.
func bindings(s *listen.Stream) []account.Binding {
	if s.Framing() == listen.WebSocket {
		return nil
	}
	var all []account.Binding
	for _, b := range s.Bindings() {
		all = append(all, account.Binding(b))
	}
	return all
}

// bindingTypes makes the stream feature that names the types of channel
// binding (XEP-0440 §sasl-cb-type @1.0.0). It stands beside <mechanisms/>, and
// as it is beside SASL2's <authentication/>.
func bindingTypes(types []string) *xmlstream.Element {
	f := xmlstream.New(stanza.NSSASLCB, "sasl-channel-binding")
	for _, t := range types {
		f.Add(xmlstream.New(stanza.NSSASLCB, "channel-binding", "type", t))
	}
	return f
}

// fail tells the client that authentication failed (RFC 6120 §6.4.5, XEP-0388
// §failure @1.0.4), and ends the stream when it did so too often.
func (n *negotiation) fail(in profile, err error) error {
	f := &account.Failure{Condition: account.TemporaryAuthFailure, Cause: err}
	_ = errors.As(err, &f)
	if errors.Is(f.Cause, context.Canceled) { // says nothing of who logs in, who is to come back, or to go elsewhere
		return n.cancelled()
	}
	n.log.Info("authentication failed", "conn", n.stream, "condition", string(f.Condition))
	switch {
	case f.Cause == nil:
	case errors.Is(f.Cause, context.DeadlineExceeded):
		// As while there is no journal, of which a warning tells: not an error for each login.
		n.log.Warn("cannot authenticate in time", "conn", n.stream, "err", f.Cause)
	default:
		n.log.Error("cannot authenticate", "conn", n.stream, "err", f.Cause)
	}
	e := xmlstream.New(in.space, "failure").Add(xmlstream.New(stanza.NSSASL, string(f.Condition)))
	if f.Text != "" {
		text := xmlstream.NewText(in.space, "text", f.Text)
		text.Attr = append(text.Attr, xmlstream.Attr{Name: xmlstream.Name{Space: xmlstream.XMLNamespace, Local: "lang"}, Value: "en"})
		e.Add(text)
	}
	if err := n.stream.WriteElement(e); err != nil {
		return err
	}
	if n.failures++; n.failures >= maxFailures {
		return stanza.StreamErr(stanza.StreamPolicyViolation, "too many failures")
	}
	return nil
}

// message makes a SASL element that carries data.
func message(space, local string, data []byte) *xmlstream.Element {
	return xmlstream.NewText(space, local, base64.StdEncoding.EncodeToString(data))
}

// decode reads the content of <auth/> and <response/>: base64, where "=" alone
// is empty data (RFC 6120 §6.4.2).
func decode(s string) ([]byte, error) {
	if s == "" || s == "=" {
		return nil, nil
	}
	for i := range len(s) { // base64 skips line ends, RFC 6120 §13.9.1 does not
		if s[i] == '\r' || s[i] == '\n' {
			return nil, &account.Failure{Condition: account.IncorrectEncoding}
		}
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, &account.Failure{Condition: account.IncorrectEncoding}
	}
	return b, nil
}
