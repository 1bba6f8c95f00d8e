// SPDX-License-Identifier: Apache-2.0

package negotiate

import (
	"context"
	"encoding/base64"
	"errors"

	"bavard/internal/account"
	"bavard/internal/listen"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// sasl runs the exchange that <auth/> begins (RFC 6120 §6.4). It gives the
// account when it succeeded; neither account nor error when the client may try
// again; and an <auth/> that came before the exchange was over, which replaces
// it (§6.4.2).
func (n *negotiation) sasl(ctx context.Context, auth *xmlstream.Element) (state.Account, *xmlstream.Element, error) {
	var none state.Account
	name := auth.Get("mechanism")
	x, ok := n.deps.Accounts.Begin(name, n.offer)
	if !ok {
		return none, nil, n.fail(&account.Failure{Condition: account.InvalidMechanism})
	}
	ctx, cancel := n.within(ctx)
	defer cancel()
	if n.deps.Current != nil {
		if err := n.deps.Current(ctx); err != nil {
			return none, nil, n.fail(&account.Failure{Condition: account.TemporaryAuthFailure, Cause: err})
		}
	}
	// Without an initial response the first challenge is empty: each of our
	// mechanisms lets the client speak first (RFC 4422 §5.1).
	var challenge []byte
	e, waiting := auth, auth.Text() == ""
	for {
		if waiting {
			if err := n.stream.WriteElement(message("challenge", challenge)); err != nil {
				return none, nil, err
			}
			var err error
			if e, err = n.read(); err != nil {
				return none, nil, err
			}
			switch {
			case e.Is(stanza.NSSASL, "auth"):
				return none, e, nil
			case e.Is(stanza.NSSASL, "abort"):
				return none, nil, n.fail(&account.Failure{Condition: account.Aborted})
			case !e.Is(stanza.NSSASL, "response"):
				return none, nil, stanza.StreamErr(stanza.StreamNotAuthorized, "")
			}
		}
		in, err := decode(e.Text())
		if err != nil {
			return none, nil, n.fail(err)
		}
		out, done, err := x.Next(ctx, in)
		if err != nil {
			return none, nil, n.fail(err)
		}
		if done {
			n.mechanism = name
			return x.Account(), nil, n.stream.WriteElement(message("success", out))
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

// fail tells the client that authentication failed (RFC 6120 §6.4.5), and ends
// the stream when it did so too often.
func (n *negotiation) fail(err error) error {
	f := &account.Failure{Condition: account.TemporaryAuthFailure, Cause: err}
	_ = errors.As(err, &f)
	n.log.Info("authentication failed", "conn", n.stream, "condition", string(f.Condition))
	switch {
	case f.Cause == nil:
	case errors.Is(f.Cause, context.DeadlineExceeded), errors.Is(f.Cause, context.Canceled):
		// As while there is no journal, of which a warning tells: not an error for each login.
		n.log.Warn("cannot authenticate in time", "conn", n.stream, "err", f.Cause)
	default:
		n.log.Error("cannot authenticate", "conn", n.stream, "err", f.Cause)
	}
	e := xmlstream.New(stanza.NSSASL, "failure").Add(xmlstream.New(stanza.NSSASL, string(f.Condition)))
	if f.Text != "" {
		text := xmlstream.NewText(stanza.NSSASL, "text", f.Text)
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
func message(local string, data []byte) *xmlstream.Element {
	return xmlstream.NewText(stanza.NSSASL, local, base64.StdEncoding.EncodeToString(data))
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
