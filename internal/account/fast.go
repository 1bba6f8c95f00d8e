// SPDX-License-Identifier: Apache-2.0

package account

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"bavard/internal/command"
	"bavard/internal/state"
)

const (
	// TokenTime is how long a client's token is good, and how long one that has
	// none is remembered.
	TokenTime = 60 * 24 * time.Hour
	// tokenRenew is the age at which a token that is used is replaced.
	tokenRenew = 7 * 24 * time.Hour
	seedSize   = 16
	// tokenPrefix of the mechanisms' names.
	tokenPrefix = "HT-SHA-256-"
	// maxTokenMessage bounds what a client sends, in bytes.
	maxTokenMessage = 1024 + 1 + sha256.Size
)

// tokenMechanisms by what they bind to (draft-schmaus-kitten-sasl-ht).
// Immutable. There is none for tls-unique: TLS 1.3 has no such thing.
var tokenMechanisms = []struct {
	name      string
	binding   string // type; "" for none
	mechanism command.TokenMechanism
}{
	{tokenPrefix + "EXPR", "tls-exporter", command.TokenMechanism_TOKEN_MECHANISM_EXPR},
	{tokenPrefix + "ENDP", "tls-server-end-point", command.TokenMechanism_TOKEN_MECHANISM_ENDP},
	{tokenPrefix + "NONE", "", command.TokenMechanism_TOKEN_MECHANISM_NONE},
}

// TokenMechanisms names the mechanisms that tokens can be used with on a stream
// (XEP-0484 §support @0.2.0).
func (o Offer) TokenMechanisms() []string {
	var names []string
	for _, m := range tokenMechanisms {
		if _, ok := o.tokenBinding(m.name); ok {
			names = append(names, m.name)
		}
	}
	return names
}

// tokenBinding gives what a token's mechanism binds to; false when it is not
// offered.
func (o Offer) tokenBinding(name string) ([]byte, bool) {
	for _, m := range tokenMechanisms {
		if m.name == name {
			if m.binding == "" {
				return nil, true
			}
			return o.binding(m.binding)
		}
	}
	return nil, false
}

// tokenMechanism finds a mechanism by its name.
func tokenMechanism(name string) (command.TokenMechanism, bool) {
	for _, m := range tokenMechanisms {
		if m.name == name {
			return m.mechanism, true
		}
	}
	return 0, false
}

// token derives a token: a secret of the server's makes it of what is stored,
// so that the journal, the view and their copies hold none.
func (s *Service) token(acc state.Account, client string, m command.TokenMechanism, seed []byte) string {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte("token\x00"))
	mac.Write(binary.BigEndian.AppendUint64(nil, acc.ID))
	mac.Write([]byte(client))
	mac.Write(append([]byte{byte(m)}, seed...))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// hashed is the server's side of a login with a token: one message each way
// (XEP-0484 §fast-auth @0.2.0).
type hashed struct {
	service   *Service
	attempt   Attempt
	mechanism command.TokenMechanism
	binding   []byte
	proof     Proof
}

func (x *hashed) Proof() Proof { return x.proof }

func (x *hashed) Next(_ context.Context, in []byte) ([]byte, bool, error) {
	name, mac, ok := bytes.Cut(in, []byte{0})
	if !ok || len(name) == 0 || len(mac) != sha256.Size || len(in) > maxTokenMessage {
		return nil, false, &Failure{Condition: MalformedRequest}
	}
	acc, _, err := x.service.lookup(string(name))
	if err != nil {
		return nil, false, err
	}
	var client state.Client
	id := x.service.Client(acc, x.attempt.Agent)
	if acc.JID != "" {
		if client, err = x.service.store.Client(acc.JID, id); err != nil && !errors.Is(err, state.ErrNotFound) {
			return nil, false, &Failure{Condition: TemporaryAuthFailure, Cause: err}
		}
	}
	token, key := x.find(acc, id, client, mac)
	switch {
	case token == nil:
		return nil, false, &Failure{Condition: NotAuthorized}
	case !time.Now().Before(token.Expires):
		return nil, false, &Failure{Condition: CredentialsExpired}
	}
	if err := enabled(acc); err != nil {
		return nil, false, err
	}
	x.proof = Proof{
		Account: acc, auth: command.ClientAuth_CLIENT_AUTH_TOKEN, used: token.Seed, client: &client,
		next: token == client.Next, renew: time.Since(token.Issued) >= tokenRenew, mechanism: x.mechanism,
	}
	return x.sum(key, "Responder"), true, nil
}

// find gives the token that a client has shown, nil if none is that. It does the
// same work for each.
func (x *hashed) find(acc state.Account, id string, client state.Client, mac []byte) (found *state.Token, key []byte) {
	for _, t := range []*state.Token{client.Next, client.Current} {
		seed, mechanism := make([]byte, seedSize), x.mechanism
		if t != nil {
			seed, mechanism = t.Seed, t.Mechanism
		}
		k := []byte(x.service.token(acc, id, mechanism, seed))
		same := subtle.ConstantTimeCompare(x.sum(k, "Initiator"), mac) == 1
		if same && t != nil && mechanism == x.mechanism {
			found, key = t, k
		}
	}
	return found, key
}

func (x *hashed) sum(key []byte, who string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(who))
	m.Write(x.binding)
	return m.Sum(nil)
}
