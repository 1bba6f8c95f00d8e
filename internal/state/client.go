// SPDX-License-Identifier: Apache-2.0

package state

import (
	"time"

	"bavard/internal/command"
)

// Client is a program on a device that has logged in to an account and said
// which one it is (XEP-0388).
type Client struct {
	// ID, 16 bytes, names it; it tells nothing of what the client calls itself.
	ID               string
	First, Last      time.Time // logins; the last one may be up to an hour later
	Software, Device string    // as it describes itself; "" when it does not
	// How it has shown that it may.
	Password, Link, Recovery bool
	// Current is the token that it uses, Next the one that it was given since; nil
	// for none.
	Current, Next *Token
}

// Token lets a client log in (XEP-0484). The token itself is not known here.
type Token struct {
	Seed            []byte // 16 bytes
	Mechanism       command.TokenMechanism
	Issued, Expires time.Time
}

// Secret is something that stands in for a password: the keys of a link or of a
// recovery code.
type Secret struct {
	Keys    *command.ScramKeys
	Made    time.Time
	Expires time.Time // zero: never
}
