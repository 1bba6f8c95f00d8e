// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"bavard/internal/command"
	"bavard/internal/stanza"
)

// Bounds of an invite.
const (
	maxInviteUses = 10000
	maxToken      = 128 // bytes
)

// Invitation describes an invite to make.
type Invitation struct {
	// Inviter is the bare JID of who invites and becomes the contact of those
	// who come; "" when the operator does.
	Inviter string
	// Circle, unless "", makes those who come with invites of the same circle
	// each other's contacts.
	Circle string
	// Room, unless "", is the bare JID of a room that those who come become members
	// of, whether they make an account or have one; they become nobody's contacts.
	Room string
	// Uses is how many accounts may be made with it; 0 means one.
	Uses uint32
	// TTL is how long it is valid; 0 means for ever.
	TTL time.Duration
}

// NewInvite makes an invite and gives its token, which is the capability and
// is not stored, and when it expires (zero: never). The token is alphanumeric
// (XEP-0401 §create-invitation) with at least 128 random bits.
func (s *Service) NewInvite(ctx context.Context, inv Invitation) (token string, expires time.Time, err error) {
	if inv.Uses == 0 {
		inv.Uses = 1
	}
	if inv.Uses > maxInviteUses {
		return "", time.Time{}, stanza.Err(stanza.Modify, stanza.NotAcceptable, fmt.Sprintf("An invite has at most %d uses.", maxInviteUses))
	}
	if inv.TTL < 0 {
		return "", time.Time{}, stanza.Err(stanza.Modify, stanza.NotAcceptable, "An invite cannot expire in the past.")
	}
	token = rand.Text()
	create := &command.InviteCreate{
		TokenHash: HashToken(token), Uses: inv.Uses, Inviter: inv.Inviter, Circle: inv.Circle, Room: inv.Room,
	}
	if inv.TTL > 0 {
		expires = time.Now().Add(inv.TTL).Truncate(time.Millisecond)
		create.ExpiresMs = expires.UnixMilli()
	}
	err = s.do(ctx, &command.Command{Request: &command.Command_InviteCreate{InviteCreate: create}})
	if err != nil {
		return "", time.Time{}, err
	}
	return token, expires, nil
}

// RevokeInvite takes back the invite whose token has the SHA-256, for the
// operator. The error is a *stanza.Error, item-not-found, when there is none.
func (s *Service) RevokeInvite(ctx context.Context, hash []byte) error {
	return s.do(ctx, &command.Command{Request: &command.Command_InviteRevoke{InviteRevoke: &command.InviteRevoke{TokenHash: hash}}})
}

// HashToken gives what is stored of a token: its SHA-256.
func HashToken(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}
