// SPDX-License-Identifier: Apache-2.0

package negotiate

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"bavard/internal/account"
	"bavard/internal/listen"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

const agent = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>"

// Mechanisms of tokens, by what they bind to (draft-schmaus-kitten-sasl-ht).
const (
	exporter = "HT-SHA-256-EXPR"
	endPoint = "HT-SHA-256-ENDP"
	unbound  = "HT-SHA-256-NONE"
)

// bindsTo gives what a client binds a mechanism to.
func (d *device) bindsTo(mechanism string) []byte {
	switch mechanism {
	case exporter:
		return d.binding("p=tls-exporter,,", "")
	case endPoint:
		return d.binding("p=tls-server-end-point,,", "")
	}
	return nil
}

// secure opens a stream over TLS, and reads up to its features.
func (n *node) secure(t testing.TB) *device {
	t.Helper()
	d := n.dial(t, listen.TCP)
	d.startTLS(n.client)
	d.begin()
	return d
}

// newToken logs in with the password and gives the token that it asks for.
func (n *node) newToken(t testing.TB, mechanism string) string {
	t.Helper()
	d := n.secure(t)
	d.scram(sasl2, "SCRAM-SHA-256", user, password, "n,,", agent+"<request-token xmlns='"+stanza.NSFAST+"' mechanism='"+mechanism+"'/>")
	token := d.mustRead().Child(stanza.NSFAST, "token").Get("token")
	if token == "" {
		t.Fatal("no token for ", mechanism)
	}
	d.close()
	return token
}

func hashed(token, who string, binding []byte) []byte {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(who))
	mac.Write(binding)
	return mac.Sum(nil)
}

// show logs in with a token, bound to what the client takes for the channel, and
// gives the server's answer.
func (d *device) show(mechanism, token string, binding []byte) *xmlstream.Element {
	d.t.Helper()
	message := append([]byte(user+"\x00"), hashed(token, "Initiator", binding)...)
	d.send("<authenticate xmlns='" + stanza.NSSASL2 + "' mechanism='" + mechanism + "'><initial-response>" +
		base64.StdEncoding.EncodeToString(message) + "</initial-response>" + agent + "<fast xmlns='" + stanza.NSFAST + "'/></authenticate>")
	return d.mustRead()
}

func (d *device) refused(mechanism, token string, binding []byte, want account.Condition) {
	d.t.Helper()
	if e := d.show(mechanism, token, binding); !e.Is(stanza.NSSASL2, "failure") || e.Child(stanza.NSSASL, string(want)) == nil {
		d.t.Errorf("%s answers %s, want %s", mechanism, xmlstream.AppendElement(nil, e, stanza.NSClient), want)
	}
}

func (d *device) admitted(mechanism, token string) {
	d.t.Helper()
	binding := d.bindsTo(mechanism)
	e := d.show(mechanism, token, binding)
	if !e.Is(stanza.NSSASL2, "success") || e.Child(stanza.NSSASL2, "authorization-identifier").Text() != user+"@localhost" {
		d.t.Fatalf("%s answers %s", mechanism, xmlstream.AppendElement(nil, e, stanza.NSClient))
	}
	proof, err := base64.StdEncoding.DecodeString(e.Child(stanza.NSSASL2, "additional-data").Text())
	if err != nil || !bytes.Equal(proof, hashed(token, "Responder", binding)) {
		d.t.Errorf("%s: the server does not prove that it knows the token and the channel: %x, %v", mechanism, proof, err)
	}
}

// TestBoundTokens: a token of a mechanism that binds to the channel is good on the
// channel that the client sees, by that mechanism, and the server proves itself
// on it; everything else is refused, and does the token no harm.
func TestBoundTokens(t *testing.T) {
	for _, o := range []options{{directTLS: true}, {directTLS: true, tls12: true}} {
		for _, mechanism := range []string{exporter, endPoint} {
			name := mechanism + ", TLS 1.3"
			if o.tls12 {
				name = mechanism + ", TLS 1.2"
			}
			t.Run(name, func(t *testing.T) {
				n := start(t, o)
				token := n.newToken(t, mechanism)
				n.secure(t).admitted(mechanism, token)

				d, other := n.secure(t), n.secure(t)
				right := d.bindsTo(mechanism)
				changed := slices.Clone(right)
				changed[len(changed)-1] ^= 1
				for _, wrong := range [][]byte{changed, right[:len(right)-1], nil} {
					d.refused(mechanism, token, wrong, account.NotAuthorized)
				}
				d.admitted(mechanism, token) // it may try again

				// Bound to the other thing that could be; and shown by another mechanism.
				for _, instead := range []string{exporter, endPoint, unbound} {
					if instead == mechanism {
						continue
					}
					other.refused(mechanism, token, other.bindsTo(instead), account.NotAuthorized)
					other.refused(instead, token, other.bindsTo(instead), account.NotAuthorized)
				}
				other.admitted(mechanism, token)
			})
		}
	}
}

// TestRelayedToken: what a client says to who stands in between, on a TLS channel
// of that one's, is worth nothing on another channel.
func TestRelayedToken(t *testing.T) {
	n, between := start(t, options{directTLS: true}), start(t, options{directTLS: true})
	for _, mechanism := range []string{exporter, endPoint} {
		token := n.newToken(t, mechanism)
		victim, relay := between.secure(t), n.secure(t)
		relay.refused(mechanism, token, victim.bindsTo(mechanism), account.NotAuthorized)
	}
	// The exporter's is of one connection, and the certificate's of all.
	token := n.newToken(t, exporter)
	first, second := n.secure(t), n.secure(t)
	second.refused(exporter, token, first.bindsTo(exporter), account.NotAuthorized)
	second.admitted(exporter, token)
	token = n.newToken(t, endPoint)
	first, second = n.secure(t), n.secure(t)
	if !bytes.Equal(first.bindsTo(endPoint), second.bindsTo(endPoint)) {
		t.Error("one certificate has two end points")
	}
	second.admitted(endPoint, token)
}

// TestBoundTokenAfterSTARTTLS: what is bound to is the TLS that the stream began
// in the middle; before it there is nothing, and over WebSocket nothing either.
func TestBoundTokenAfterSTARTTLS(t *testing.T) {
	n := start(t, options{startTLS: true})
	var tokens []string
	for _, mechanism := range []string{exporter, endPoint} {
		d := n.dial(t, listen.TCP)
		d.begin()
		if len(tokens) > 0 {
			d.refused(exporter, tokens[0], nil, account.InvalidMechanism)
		}
		d.upgrade(n)
		d.scram(sasl2, "SCRAM-SHA-256-PLUS", user, password, "p=tls-exporter,,", agent+"<request-token xmlns='"+stanza.NSFAST+"' mechanism='"+mechanism+"'/>")
		token := d.mustRead().Child(stanza.NSFAST, "token").Get("token")
		tokens = append(tokens, token)

		d = n.dial(t, listen.TCP)
		d.begin()
		d.upgrade(n)
		d.admitted(mechanism, token)

		d = n.dial(t, listen.WebSocket)
		d.begin()
		d.refused(mechanism, token, nil, account.InvalidMechanism)
	}
}

// upgrade starts TLS on a stream that has begun, and begins again.
func (d *device) upgrade(n *node) {
	d.t.Helper()
	d.send("<starttls xmlns='" + stanza.NSTLS + "'/>")
	d.expect("proceed")
	d.startTLS(n.client)
	d.begin()
}

// FuzzAuthenticate: <authenticate/> is understood or refused with a SASL error, and
// whatever it says lets nobody in by itself.
func FuzzAuthenticate(f *testing.F) {
	for _, s := range []string{
		"mechanism='SCRAM-SHA-256'><initial-response>biwsbj1qdWxpZXQscj1hYmM=</initial-response>" + agent + "<bind xmlns='urn:xmpp:bind:0'><tag>x</tag></bind>",
		"mechanism='HT-SHA-256-NONE'><initial-response>anVsaWV0AA==</initial-response>" + agent + "<fast xmlns='urn:xmpp:fast:0' count='1' invalidate='true'/>",
		"mechanism='HT-SHA-256-EXPR'><initial-response>anVsaWV0AHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg=</initial-response>" + agent + "<fast xmlns='urn:xmpp:fast:0'/>",
		"mechanism='SCRAM-SHA-256-PLUS'><initial-response>=</initial-response><user-agent id=''><software>a</software><device>b</device></user-agent>",
		"mechanism='SCRAM-SHA-256'>" + agent + "<link xmlns='urn:bavard:link:0'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-ENDP'/>",
		"mechanism='SCRAM-SHA-1'>" + agent + "<recovery xmlns='urn:bavard:recovery:0'/><resume xmlns='urn:xmpp:sm:3' previd='alive' h='3'/>",
	} {
		f.Add("<authenticate xmlns='" + stanza.NSSASL2 + "' " + s + "</authenticate>")
	}
	n := prepare(f, options{})
	offer := account.NewOffer(false, []account.Binding{{Type: "tls-exporter", Data: []byte("exported")}, {Type: "tls-server-end-point", Data: []byte("hashed")}})
	f.Fuzz(func(t *testing.T, text string) {
		e, err := xmlstream.ParseElement([]byte(text), xmlstream.BeforeAuth)
		if err != nil {
			return
		}
		var failure *account.Failure
		r, err := parseRequest(e)
		if err != nil {
			if !errors.As(err, &failure) || failure.Condition != account.MalformedRequest && failure.Condition != account.IncorrectEncoding {
				t.Errorf("%s: %v", text, err)
			}
			return
		}
		switch {
		case r.silent != (e.Child(stanza.NSSASL2, "initial-response") == nil), r.silent && r.initial != nil,
			(r.Shown == account.Token) != (e.Child(stanza.NSFAST, "fast") != nil), r.entry.Invalidate && r.Shown != account.Token,
			r.Agent != r.entry.Agent, r.Agent.ID != strings.ToLower(e.Child(stanza.NSSASL2, "user-agent").Get("id")):
			t.Errorf("%s was read as %+v", text, r)
		}
		r.Offer = offer
		x, err := n.accounts.Begin(r.Attempt)
		if err != nil {
			if !errors.As(err, &failure) {
				t.Errorf("%s: %v", text, err)
			}
			return
		}
		if _, done, err := x.Next(t.Context(), r.initial); done || err != nil && !errors.As(err, &failure) || x.Proof().Account.JID != "" {
			t.Errorf("%s: done %v, %v", text, done, err)
		}
	})
}
