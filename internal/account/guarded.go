// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"errors"
	"time"

	"bavard/internal/jid"
)

// guarded holds back attempts where too many have failed.
type guarded struct {
	Exchange
	service *Service
	attempt Attempt
	name    string // that the limit of the account counts, once it is known
	begun   bool
}

func (x *guarded) Next(ctx context.Context, in []byte) ([]byte, bool, error) {
	g, block := &x.service.guard, x.attempt.Block
	if !x.begun {
		x.begun = true
		x.name = x.counted(in)
		if err := g.look(block, x.name, time.Now()); err != nil {
			return nil, false, err
		}
	}
	out, done, err := x.Exchange.Next(ctx, in)
	var f *Failure
	switch {
	case errors.As(err, &f) && (f.Condition == NotAuthorized || f.Condition == CredentialsExpired):
		g.failed(block, x.name, time.Now())
	case done:
		if j, err := jid.ParseBare(x.Proof().Account.JID); err == nil {
			g.succeeded(block, j.Local())
		}
	}
	return out, done, err
}

// counted gives the account whose failures count, "" for none: where something
// is shown that cannot be guessed, and for a client that the account knows.
func (x *guarded) counted(in []byte) string {
	if x.attempt.Shown != Password {
		return ""
	}
	username := usernameOf(x.attempt.Mechanism, in)
	j, err := jid.Make(username, x.service.domain, "")
	if err != nil {
		return username
	}
	if x.attempt.Agent.ID != "" {
		if acc, err := x.service.store.Account(j.String()); err == nil {
			if _, err := x.service.store.Client(acc.JID, x.service.Client(acc, x.attempt.Agent)); err == nil {
				return ""
			}
		}
	}
	return j.Local()
}

// usernameOf reads the user name from a client's first message; what it is worth
// the exchange says.
func usernameOf(mechanism string, in []byte) string {
	if mechanism == "PLAIN" {
		if parts := splitPlain(in); parts != nil {
			return string(parts[1])
		}
		return ""
	}
	first, err := parseClientFirst(in)
	if err != nil {
		return ""
	}
	return first.username
}
