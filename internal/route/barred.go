// SPDX-License-Identifier: Apache-2.0

package route

import "bavard/internal/stanza"

// Blocklists says who blocks whom.
type Blocklists interface {
	// Blocked reports whether an account's blocklist holds an address.
	Blocked(account, address string) (bool, error)
}

// Barred gives the answer to a request to another account when a blocklist of
// either side holds it back, else nil (XEP-0191 §block @1.3). It reads, so it
// is for use in a Read.
func (r *Request) Barred(b Blocklists) *stanza.Error {
	if r.Target&(ToAccount|ToSession) == 0 {
		return nil
	}
	if blocked, err := b.Blocked(r.From.Bare().String(), r.To.String()); blocked || err != nil {
		return stanza.Blocked()
	}
	if blocked, err := b.Blocked(r.To.Bare().String(), r.From.String()); blocked || err != nil {
		return stanza.Err(stanza.Cancel, stanza.ServiceUnavailable, "")
	}
	return nil
}
