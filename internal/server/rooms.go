// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/hmac"
	"crypto/sha256"

	"bavard/internal/archive"
	"bavard/internal/room"
	"bavard/internal/route"
)

// makeRooms puts the rooms together: who is in them, what is read of them, and
// what they answer.
func (s *server) makeRooms(key []byte, ids *archive.IDs) route.Feature {
	o := room.Options{
		Domain: "rooms." + s.cfg.Domain, View: s.cell, IDs: ids, Do: refusing{s.cell}.Do,
		OccupantKey: derived(key, "occupant-id"), NoDedupe: s.o.UnsafeNoDedupe, Logger: s.log,
	}
	s.rooms = room.NewHub(o)
	o.Archive = archive.Rooms(s.cell, ids, func(r *route.Request) archive.Said { return s.rooms.Archived(r.To.String(), r.From) })
	return room.Feature(o, s.rooms)
}

// derived makes a key of another for one purpose.
func derived(key []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}
