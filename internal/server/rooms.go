// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bavard/internal/account"
	"bavard/internal/archive"
	"bavard/internal/room"
	"bavard/internal/route"
)

// makeRooms puts the rooms together: who is in them, what is read of them, and
// what they answer.
func (s *server) makeRooms(key []byte, ids *archive.IDs) route.Feature {
	o := room.Options{
		Domain: s.roomsDomain(), Host: s.cfg.Domain, Link: s.inviteLink, View: s.cell, IDs: ids, Do: refusing{s.cell}.Do,
		OccupantKey: derived(key, "occupant-id"), NoDedupe: s.o.UnsafeNoDedupe, Logger: s.log,
	}
	o.Invite = func(ctx context.Context, by, room string, uses uint32, ttl time.Duration) (string, time.Time, error) {
		return s.accounts.NewInvite(ctx, account.Invitation{Inviter: by, Room: room, Uses: uses, TTL: ttl})
	}
	if s.mesh != nil {
		o.Elsewhere = s.mesh.Rooms()
	}
	s.rooms = room.NewHub(o)
	o.Archive = archive.Rooms(s.cell, ids, func(r *route.Request) archive.Said { return s.rooms.Archived(r.To.String(), r.From) })
	return room.Feature(o, s.rooms)
}

func (s *server) roomsDomain() string { return "rooms." + s.cfg.Domain }

// crowd is how many devices are in the room of an address, 0 if it is none.
func (s *server) crowd(to string) int {
	room, _, _ := strings.Cut(to, "/")
	if !strings.HasSuffix(room, "@"+s.roomsDomain()) {
		return 0
	}
	return s.rooms.Crowd(room)
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

// collectRooms registers the figures of the rooms that somebody is in.
func (s *server) collectRooms(r prometheus.Registerer) {
	gauge := func(name, help string, read func(room.Stats) int) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "bavard", Name: name, Help: help}, func() float64 { return float64(read(s.rooms.Stats())) }))
	}
	counter := func(name, help string, read func(room.Stats) uint64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "bavard", Name: name, Help: help}, func() float64 { return float64(read(s.rooms.Stats())) }))
	}
	gauge("rooms_open", "Rooms that a device of this node is in.", func(st room.Stats) int { return st.Rooms })
	gauge("rooms_devices", "Devices of this node in rooms, one in two of them counted twice.", func(st room.Stats) int { return st.Visits })
	gauge("rooms_queued", "What rooms have yet to do.", func(st room.Stats) int { return st.Queued })
	counter("rooms_handed_total", "Stanzas handed to devices in rooms.", func(st room.Stats) uint64 { return st.Handed })
	counter("rooms_shed_total", "Entries, typing notices and requests dropped or refused because a room had too much to do.", func(st room.Stats) uint64 { return st.Shed })
	counter("rooms_behind_total", "Events dropped because a room had too much to do; devices were told to read the archive.", func(st room.Stats) uint64 { return st.Behind })
}
