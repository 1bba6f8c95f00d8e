// SPDX-License-Identifier: Apache-2.0

package account

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"bavard/internal/state"
)

// maxAgentText bounds what is kept of how a client describes itself, in
// characters.
const maxAgentText = 64

// Agent is what a client says of itself when it logs in (XEP-0388 §initiation
// @1.0.4).
type Agent struct {
	// ID of the installation: a UUID in lower case, "" when it is not said. Who
	// knows it can take the place of that client's sessions, so it is not shown.
	ID               string
	Software, Device string
}

// NewAgent takes what a client says; false when the id is no UUID. Texts are
// cut to what can be shown on a line.
func NewAgent(id, software, device string) (Agent, bool) {
	id = strings.ToLower(id)
	if id != "" && !uuid(id) {
		return Agent{}, false
	}
	return Agent{ID: id, Software: line(software), Device: line(device)}, true
}

// uuid reports whether s is one, in lower case.
func uuid(s string) bool {
	parts := strings.Split(s, "-")
	if len(s) != 36 || len(parts) != 5 {
		return false
	}
	for i, n := range []int{8, 4, 4, 4, 12} {
		if len(parts[i]) != n {
			return false
		}
		if _, err := hex.DecodeString(parts[i]); err != nil {
			return false
		}
	}
	return true
}

// line leaves of a text what can be shown on one line.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unprintable(r) {
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if n := utf8.RuneCountInString(s); n > maxAgentText {
		s = strings.TrimSpace(string([]rune(s)[:maxAgentText]))
	}
	return s
}

// ClientSize is the size of a client's name in bytes.
const ClientSize = 16

// Client names a client of an account, the same at each login: ClientSize bytes
// that tell nothing of its id; "" when it has none.
func (s *Service) Client(acc state.Account, a Agent) string {
	return string(s.of(acc, a, "client", ClientSize))
}

// Suffix is what a client's resource ends in (XEP-0386 §identifiers @1.1.0);
// "" when it has no id.
func (s *Service) Suffix(acc state.Account, a Agent) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(s.of(acc, a, "resource", 8)))
}

// of derives something of a client from its id and the service's secret.
func (s *Service) of(acc state.Account, a Agent, what string, n int) []byte {
	if a.ID == "" {
		return nil
	}
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte("user agent\x00" + what + "\x00"))
	mac.Write(binary.BigEndian.AppendUint64(nil, acc.ID))
	mac.Write([]byte(a.ID))
	return mac.Sum(nil)[:n]
}
