// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/state"
)

// Bounds of what a client may send, in bytes.
const (
	maxSCRAMMessage = 2048
	maxSCRAMNonce   = 256
	maxBindingType  = 64
)

// plusSuffix marks the mechanisms with channel binding (RFC 5802 §4).
const plusSuffix = "-PLUS"

// scram is the server's side of a SCRAM exchange (RFC 5802 §5).
type scram struct {
	service *Service
	mech    mechanism
	plus    bool  // with channel binding
	offer   Offer // that the client has chosen from
	attempt Attempt
	// nonce gives the server's part of the nonce; nil takes a random one.
	nonce func() string

	first       clientFirst
	binding     []byte // what the client has to bind to
	serverFirst string
	fullNonce   string
	keys        *command.ScramKeys
	found       state.Account // zero for an unknown user
	proof       Proof
	step        int
}

func (x *scram) Proof() Proof { return x.proof }

func (x *scram) Next(_ context.Context, in []byte) ([]byte, bool, error) {
	x.step++
	switch x.step {
	case 1:
		out, err := x.begin(in)
		return out, false, err
	case 2:
		out, err := x.finish(in)
		return out, err == nil, err
	}
	return nil, false, &Failure{Condition: MalformedRequest}
}

func (x *scram) begin(in []byte) ([]byte, error) {
	first, err := parseClientFirst(in)
	if err != nil {
		return nil, err
	}
	if err := x.bind(first); err != nil {
		return nil, err
	}
	acc, keys, err := x.lookup(first.username)
	if err != nil {
		return nil, err
	}
	nonce := rand.Text()
	if x.nonce != nil {
		nonce = x.nonce()
	}
	x.first, x.found, x.keys, x.fullNonce = first, acc, keys, first.nonce+nonce
	x.serverFirst = "r=" + x.fullNonce +
		",s=" + base64.StdEncoding.EncodeToString(keys.GetSalt()) +
		",i=" + strconv.FormatUint(uint64(keys.GetIterations()), 10)
	if len(x.offer.Mechanisms) > 0 {
		x.serverFirst += ",h=" + x.offer.digest(x.mech)
	}
	return []byte(x.serverFirst), nil
}

// lookup finds the account and the keys of what the client is to show. Where there
// are none they are made up, and the account is zero.
func (x *scram) lookup(username string) (state.Account, *command.ScramKeys, error) {
	acc, cred, err := x.service.lookup(username)
	if err != nil {
		return state.Account{}, nil, err
	}
	keys, made := x.mech.keys(cred), username
	if x.attempt.Shown != Password {
		if j, err := jid.Make(username, x.service.domain, ""); err == nil {
			made = j.Local()
		}
		keys, made = nil, made+"\x00"+strconv.Itoa(int(x.attempt.Shown))
		read := x.service.store.Link
		if x.attempt.Shown == Recovery {
			read = x.service.store.Recovery
		}
		if acc.JID != "" {
			found, err := read(acc.JID)
			switch {
			case err == nil && (found.Expires.IsZero() || time.Now().Before(found.Expires)):
				keys = found.Keys
			case err != nil && !errors.Is(err, state.ErrNotFound):
				return state.Account{}, nil, &Failure{Condition: TemporaryAuthFailure, Cause: err}
			}
		}
	}
	if len(keys.GetStoredKey()) == 0 {
		return state.Account{}, x.mech.keys(x.service.fakeCredentials(made)), nil
	}
	return acc, keys, nil
}

// bind holds the client's GS2 flag against what was offered (RFC 5802 §6).
func (x *scram) bind(first clientFirst) error {
	switch {
	case first.bindingType != "" && !x.plus:
		return malformed("channel binding asked of a mechanism without it")
	case first.bindingType != "":
		data, ok := x.offer.binding(first.bindingType)
		if !ok { // unsupported-channel-binding-type
			return malformed("this type of channel binding is not offered")
		}
		x.binding = data
	case x.plus:
		return malformed("a -PLUS mechanism without channel binding")
	case strings.HasPrefix(first.gs2, "y") && x.offer.plus():
		// server-does-support-channel-binding: the client could bind and did
		// not see that we can, so somebody has shortened our offer.
		return &Failure{Condition: NotAuthorized, Text: "channel binding was offered and did not reach you: somebody may be in between"}
	}
	return nil
}

func (x *scram) finish(in []byte) ([]byte, error) {
	final, err := parseClientFinal(in)
	if err != nil {
		return nil, err
	}
	// The channel binding input is the GS2 header, and with -PLUS the binding's
	// data behind it (RFC 5802 §5.1, c).
	if subtle.ConstantTimeCompare([]byte(final.binding), append([]byte(x.first.gs2), x.binding...)) != 1 {
		return nil, &Failure{Condition: NotAuthorized, Text: "channel bindings don't match"}
	}
	if subtle.ConstantTimeCompare([]byte(final.nonce), []byte(x.fullNonce)) != 1 {
		return nil, &Failure{Condition: NotAuthorized}
	}
	authMessage := []byte(x.first.bare + "," + x.serverFirst + "," + final.withoutProof)
	if !x.proven(authMessage, final.proof) {
		return nil, &Failure{Condition: NotAuthorized}
	}
	if err := authorize(x.first.authzid, x.found); err != nil {
		return nil, err
	}
	if from := x.attempt.From; x.first.authzid != "" && !from.IsZero() && from.String() != x.found.JID { // XEP-0388 §initiation @1.0.4
		return nil, &Failure{Condition: InvalidAuthzid}
	}
	if err := enabled(x.found); err != nil {
		return nil, err
	}
	x.proof = Proof{Account: x.found}
	switch x.attempt.Shown {
	case Link:
		x.proof.auth, x.proof.used = command.ClientAuth_CLIENT_AUTH_LINK, x.keys.GetStoredKey()
	case Recovery:
		x.proof.auth, x.proof.used = command.ClientAuth_CLIENT_AUTH_RECOVERY, x.keys.GetStoredKey()
	}
	signature := x.mech.hmac(x.keys.GetServerKey(), authMessage)
	return []byte("v=" + base64.StdEncoding.EncodeToString(signature)), nil
}

// proven checks the client's proof (RFC 5802 §3): the StoredKey must be the
// hash of ClientProof XOR ClientSignature. It does the same work for an
// unknown user.
func (x *scram) proven(authMessage, proof []byte) bool {
	key := x.mech.hmac(x.keys.GetStoredKey(), authMessage)
	if len(proof) != len(key) {
		return false
	}
	subtle.XORBytes(key, key, proof)
	same := subtle.ConstantTimeCompare(x.mech.sum(key), x.keys.GetStoredKey()) == 1
	return same && x.found.JID != ""
}

// clientFirst is a parsed client-first-message (RFC 5802 §7).
type clientFirst struct {
	gs2         string // the GS2 header as sent, "n,," or "p=tls-exporter,a=…,"
	bindingType string // of p=
	bare        string // client-first-message-bare
	authzid     string
	username    string
	nonce       string
}

func parseClientFirst(in []byte) (clientFirst, error) {
	var m clientFirst
	s, err := scramText(in)
	if err != nil {
		return m, err
	}
	flag, rest, ok := strings.Cut(s, ",")
	if !ok {
		return m, malformed("no GS2 header")
	}
	if typ, ok := strings.CutPrefix(flag, "p="); ok && bindingName(typ) {
		m.bindingType = typ
	} else if flag != "n" && flag != "y" {
		return m, malformed("bad GS2 flag")
	}
	authzid, bare, ok := strings.Cut(rest, ",")
	if !ok {
		return m, malformed("no GS2 header")
	}
	if authzid != "" {
		v, ok := strings.CutPrefix(authzid, "a=")
		if !ok {
			return m, malformed("bad authzid")
		}
		if m.authzid, ok = saslname(v); !ok {
			return m, malformed("bad authzid")
		}
	}
	m.gs2, m.bare = s[:len(s)-len(bare)], bare
	return m, m.parseBare()
}

func (m *clientFirst) parseBare() error {
	attrs := strings.Split(m.bare, ",")
	if strings.HasPrefix(attrs[0], "m=") {
		return malformed("mandatory extension not supported")
	}
	if len(attrs) < 2 {
		return malformed("attributes missing")
	}
	name, ok1 := strings.CutPrefix(attrs[0], "n=")
	nonce, ok2 := strings.CutPrefix(attrs[1], "r=")
	if !ok1 || !ok2 {
		return malformed("attributes missing")
	}
	var ok bool
	if m.username, ok = saslname(name); !ok {
		return malformed("bad user name")
	}
	if !printable(nonce) || len(nonce) > maxSCRAMNonce {
		return malformed("bad nonce")
	}
	m.nonce = nonce
	return extensions(attrs[2:])
}

// clientFinal is a parsed client-final-message (RFC 5802 §7).
type clientFinal struct {
	binding      string // decoded c=
	nonce        string
	withoutProof string
	proof        []byte
}

func parseClientFinal(in []byte) (clientFinal, error) {
	var m clientFinal
	s, err := scramText(in)
	if err != nil {
		return m, err
	}
	i := strings.LastIndex(s, ",p=")
	if i < 0 {
		return m, malformed("no proof")
	}
	m.withoutProof = s[:i]
	if m.proof, err = base64.StdEncoding.Strict().DecodeString(s[i+len(",p="):]); err != nil {
		return m, malformed("bad proof")
	}
	attrs := strings.Split(m.withoutProof, ",")
	if len(attrs) < 2 {
		return m, malformed("attributes missing")
	}
	binding, ok1 := strings.CutPrefix(attrs[0], "c=")
	nonce, ok2 := strings.CutPrefix(attrs[1], "r=")
	if !ok1 || !ok2 {
		return m, malformed("attributes missing")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(binding)
	if err != nil {
		return m, malformed("bad channel binding")
	}
	m.binding, m.nonce = string(b), nonce
	return m, extensions(attrs[2:])
}

// scramText bounds a message. Line ends would make base64 lenient.
func scramText(in []byte) (string, error) {
	if len(in) == 0 || len(in) > maxSCRAMMessage || !utf8.Valid(in) {
		return "", malformed("bad length or encoding")
	}
	s := string(in)
	if strings.ContainsAny(s, "\x00\r\n") {
		return "", malformed("control character")
	}
	return s, nil
}

// extensions are ignored when they are well-formed (RFC 5802 §5.1).
func extensions(attrs []string) error {
	for _, a := range attrs {
		if len(a) < 3 || a[1] != '=' || !letter(a[0]) || a[0] == 'm' {
			return malformed("bad extension")
		}
	}
	return nil
}

// bindingName: letters, digits, dots and hyphens (RFC 5802 §7, cb-name).
func bindingName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !letter(s[i]) && (s[i] < '0' || s[i] > '9') && s[i] != '.' && s[i] != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxBindingType
}

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// saslname undoes the quoting of "," and "=" (RFC 5802 §5.1, n).
func saslname(s string) (string, bool) {
	if s == "" {
		return "", false
	}
	if !strings.Contains(s, "=") {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		switch {
		case strings.HasPrefix(s[i:], "=2C"):
			b.WriteByte(',')
		case strings.HasPrefix(s[i:], "=3D"):
			b.WriteByte('=')
		default:
			return "", false
		}
		i += 2
	}
	return b.String(), true
}

// printable: %x21-2B / %x2D-7E, at least one (RFC 5802 §7).
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7E || s[i] == ',' {
			return false
		}
	}
	return s != ""
}

func malformed(text string) *Failure {
	return &Failure{Condition: MalformedRequest, Text: text}
}
