// SPDX-License-Identifier: Apache-2.0

package command

import "google.golang.org/protobuf/proto"

// DefaultRoom is how a room is configured unless its owner says otherwise: a
// private group, as people know it from messengers. Everybody in it sees
// everybody, only members get in, and members may invite.
func DefaultRoom() *RoomConfig {
	return &RoomConfig{
		Name:             proto.String(""),
		Description:      proto.String(""),
		Lang:             proto.String(""),
		MembersOnly:      proto.Bool(true),
		NonAnonymous:     proto.Bool(true),
		Public:           proto.Bool(false),
		Moderated:        proto.Bool(false),
		Persistent:       proto.Bool(true),
		Password:         proto.String(""),
		MaxOccupants:     proto.Uint32(RoomOccupants),
		SubjectByAll:     proto.Bool(true),
		InvitesByMembers: proto.Bool(true),
		Whispers:         RoomWhispers_ROOM_WHISPERS_ANYONE.Enum(),
		Announcements:    proto.Bool(false),
		Unarchived:       proto.Bool(false),
		Vcard:            nil,
	}
}

// Bounds of a room.
const (
	RoomOccupants = 5000 // devices in it at the same time
	// RoomMembers bounds the affiliations of a room that is for members only,
	// RoomAffiliations those of another one, outcasts among them.
	RoomMembers      = 1024
	RoomAffiliations = 10_000
	// RoomNicks that one person holds in one room.
	RoomNicks = 4
	// RoomGuests bounds the remembered nicks of persons without affiliation;
	// all are forgotten when it is reached.
	RoomGuests = 10_000
	// RoomLinks bounds the invite links of a room.
	RoomLinks = 64
	// RoomsOfOne bounds the rooms that one account is a member of.
	RoomsOfOne   = 1000
	RoomChanges  = 100  // affiliations in one command
	RoomNameSize = 512  // bytes
	RoomTextSize = 4096 // bytes of a description, a reason, a password
	RoomNickSize = 255  // bytes
	RoomVCard    = 64 << 10
	RoomUnseen   = 1<<3 - 1 // all roles, as in RoomConfig.unseen
	// RoomListsForMembers are members, as in RoomConfig.lists_for, RoomListsForAll they and all roles.
	RoomListsForMembers = 1 << 3
	RoomListsForAll     = RoomUnseen | RoomListsForMembers
)
