// SPDX-License-Identifier: Apache-2.0

package account

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"bavard/internal/jid"
	"bavard/internal/state"
)

// Condition is a SASL error condition (RFC 6120 §6.5).
type Condition string

// SASL error conditions.
const (
	AccountDisabled      Condition = "account-disabled"
	Aborted              Condition = "aborted"
	CredentialsExpired   Condition = "credentials-expired"
	EncryptionRequired   Condition = "encryption-required"
	IncorrectEncoding    Condition = "incorrect-encoding"
	InvalidAuthzid       Condition = "invalid-authzid"
	InvalidMechanism     Condition = "invalid-mechanism"
	MalformedRequest     Condition = "malformed-request"
	NotAuthorized        Condition = "not-authorized"
	TemporaryAuthFailure Condition = "temporary-auth-failure"
)

// Failure ends a SASL exchange without success.
type Failure struct {
	Condition Condition
	Text      string // English; may be ""
	Cause     error  // for the log; never shown to the client
}

func (f *Failure) Error() string {
	s := "authentication failed: " + string(f.Condition)
	if f.Text != "" {
		s += ": " + f.Text
	}
	if f.Cause != nil {
		s += ": " + f.Cause.Error()
	}
	return s
}

func (f *Failure) Unwrap() error { return f.Cause }

// Exchange is the server's side of one SASL attempt. It is not safe for
// concurrent use.
type Exchange interface {
	// Next takes the client's next message. While done is false, out is the
	// challenge to send; once it is true the client is who Account says and
	// out, unless nil, is the additional data with success. The error is a
	// *Failure and ends the exchange.
	Next(ctx context.Context, in []byte) (out []byte, done bool, err error)
	// Proof is what the exchange has shown, the zero Proof before that.
	Proof() Proof
}

// Begin starts an exchange, or says why there is none: a *Failure.
func (s *Service) Begin(a Attempt) (Exchange, error) {
	x, err := s.begin(a)
	if err != nil {
		return nil, err
	}
	return &guarded{Exchange: x, service: s, attempt: a}, nil
}

func (s *Service) begin(a Attempt) (Exchange, error) {
	if a.Shown != Password && a.Agent.ID == "" {
		return nil, &Failure{Condition: MalformedRequest, Text: "say which client you are, by a user-agent with an id"}
	}
	invalid := &Failure{Condition: InvalidMechanism}
	if a.Shown == Token {
		binding, offered := a.Offer.tokenBinding(a.Mechanism)
		m, _ := tokenMechanism(a.Mechanism)
		if !offered {
			return nil, invalid
		}
		return &hashed{service: s, attempt: a, mechanism: m, binding: binding}, nil
	}
	if !slices.Contains(a.Offer.Mechanisms, a.Mechanism) {
		return nil, invalid
	}
	base, plus := strings.CutSuffix(a.Mechanism, plusSuffix)
	switch {
	case base == scramSHA256.name:
		return &scram{service: s, mech: scramSHA256, plus: plus, offer: a.Offer, attempt: a}, nil
	case a.Shown != Password:
		return nil, invalid
	case base == scramSHA1.name:
		return &scram{service: s, mech: scramSHA1, plus: plus, offer: a.Offer, attempt: a}, nil
	case a.Mechanism == "PLAIN":
		return &plain{service: s}, nil
	}
	return nil, invalid
}

// authorize checks the authorization identity that a client asked for: only
// its own (RFC 6120 §6.3.8).
func authorize(authzid string, acc state.Account) error {
	if authzid == "" {
		return nil
	}
	j, err := jid.Parse(authzid)
	if err != nil || !j.IsBare() || j.String() != acc.JID {
		return &Failure{Condition: InvalidAuthzid}
	}
	return nil
}

// plain is the mechanism PLAIN (RFC 4616).
type plain struct {
	service *Service
	account state.Account
}

func (x *plain) Proof() Proof { return Proof{Account: x.account} }

func (x *plain) Next(ctx context.Context, in []byte) ([]byte, bool, error) {
	parts := splitPlain(in)
	if parts == nil {
		return nil, false, &Failure{Condition: MalformedRequest}
	}
	acc, err := x.service.Verify(ctx, string(parts[1]), string(parts[2]))
	if err != nil {
		return nil, false, err
	}
	if err := authorize(string(parts[0]), acc); err != nil {
		return nil, false, err
	}
	x.account = acc
	return nil, true, nil
}

// splitPlain gives the authorization identity, user name and password of a
// message, nil when it is none.
func splitPlain(in []byte) [][]byte {
	parts := bytes.Split(in, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 || !utf8.Valid(in) {
		return nil
	}
	return parts
}
