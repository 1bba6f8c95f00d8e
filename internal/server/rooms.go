// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"time"

	"bavard/internal/account"
	"bavard/internal/archive"
	"bavard/internal/room"
	"bavard/internal/route"
)

// makeRooms puts the rooms together: who is in them, what is read of them, and
// what they answer.
func (s *server) makeRooms(key []byte, ids *archive.IDs) route.Feature {
	o := room.Options{
		Domain: "rooms." + s.cfg.Domain, Host: s.cfg.Domain, Link: s.inviteLink, View: s.cell, IDs: ids, Do: refusing{s.cell}.Do,
		OccupantKey: derived(key, "occupant-id"), NoDedupe: s.o.UnsafeNoDedupe, Logger: s.log,
	}
	o.Invite = func(ctx context.Context, by, room string, uses uint32, ttl time.Duration) (string, time.Time, error) {
		return s.accounts.NewInvite(ctx, account.Invitation{Inviter: by, Room: room, Uses: uses, TTL: ttl})
	}
	s.rooms = room.NewHub(o)
	o.Archive = archive.Rooms(s.cell, ids, func(r *route.Request) archive.Said { return s.rooms.Archived(r.To.String(), r.From) })
	return room.Feature(o, s.rooms)
}

// inviteLink is the address of an invite's page, "" when there is none.
func (s *server) inviteLink(token string) string {
	if base := s.base(); base != "" {
		return base + "/i/" + token
	}
	return ""
}

// derived makes a key of another for one purpose.
func derived(key []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}
