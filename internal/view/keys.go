// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"

	"bavard/internal/command"
)

// Tables are key prefixes of one byte. Persisted: never change or reuse.
const (
	tableArchive  = 'a' // account id, position → peer, direction
	tableBlock    = 'b' // account id, JID → nothing: it is blocked
	tableTalk     = 'c' // lower id, higher id, position → message
	tableDedupe   = 'd' // bucket, dedupe key → position
	tableVCard    = 'e' // account id → vCard
	tableFormat   = 'f' // → format version
	tableFormer   = 'g' // bare JID → ids of accounts deleted under it
	tableAvatar   = 'h' // account id → hash of the picture, where it is
	tableItem     = 'i' // account id, number of a node, item id → item
	tablePrivate  = 'j' // account id → counts; account id, namespace, 0, name → private XML
	tableCircle   = 'k' // circle → first redeemers
	tableBlocksOf = 'l' // account id → how many it blocks
	tableMeta     = 'm' // → applied position and what goes with it
	tableInvite   = 'n' // token hash → invite
	tableCursor   = 'o' // account id → offline cursor
	tableNode     = 'p' // account id, name → node
	tableOrder    = 'q' // account id, number of a node, position → item id
	tableRoster   = 'r' // account id, peer JID → roster item
	tableStream   = 's' // bucket, stream id → h
	tableTime     = 't' // minute → first position in it
	tableAccount  = 'u' // bare JID → account
	tableRosterOf = 'v' // account id → roster version and counts
	tablePubsubOf = 'w' // account id → counts of nodes and items
	tableCell     = 'x' // → what CellInit said
	tableSweep    = 'y' // id of a deleted account → how far its archive is removed
	tableTrace    = '4' // id of a deleted account → how far what others' records say of it is removed
	tableReport   = '0' // see report.go
	tableRelation = 'P' // account id, number of a node, JID → affiliation, subscription
	tableLeft     = 'z' // account id → when its last device left

	tableClient   = 'B' // account id, client → client, its tokens
	tableRecovery = 'C' // account id → keys of the recovery code
	tableLink     = 'D' // account id → keys of the token that lets a client in

	tableMember    = 'A' // room id, JID → affiliation and nicks
	tableSaid      = 'G' // room id, position → message
	tableGuest     = 'H' // room id, JID → nicks of who has no affiliation
	tableJoined    = 'J' // account id, room's JID → nothing: it is a member
	tableNick      = 'N' // room id, nick → JID of who has an affiliation
	tableGuestNick = 'O' // room id, nick → JID of who has none
	tableRoom      = 'R' // room's JID → room

	tableUpload    = 'F' // upload id → upload
	tableUploadOf  = 'I' // account id → counts; account id, time, upload id → what retention needs
	tableRetention = 'K' // → counts of all; purpose, time, upload id → nothing; 0, account id → its uploads go
	tableRoomSweep = 'U' // id of a removed room → how far its archive is removed
	tableRoomLink  = 'V' // room id, token hash → nothing: an invite makes members of it

	tablePush        = 'S' // account id, JID of a push service, 0, node → what to publish there
	tablePushService = 'T' // account id, node → address of Web Push
	tablePeers       = 'L' // account id → how far its chats are noted; account id, peer's id → nothing: they have exchanged messages
	tableFloor       = 'M' // account id, peer's or room's JID → up to where the chat is hidden
	tableDirectory   = 'Q' // bare JID → how an account is found in the directory
	tableHidden      = 'E' // account id → nothing: nobody sees its presence

	tableJournal = 'Y' // → the journal that the view is folded from

	tableLevel = 'W' // → the cell's feature level

	tableExpiry = 'X' // see expire.go
	tableLook   = 'Z' // account id, position of a retraction → what it looks for
)

const (
	idSize     = 8
	dedupeSize = 16
	streamSize = 16
	tokenSize  = 32

	archiveKeySize = 1 + idSize + command.PositionSize
	talkKeySize    = 1 + 2*idSize + command.PositionSize
	dedupeKeySize  = 1 + 4 + dedupeSize
	streamKeySize  = 1 + 4 + streamSize
)

func appendArchivePrefix(dst []byte, account uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tableArchive), account)
}

func archiveKey(account uint64, p command.Position) []byte {
	return p.AppendTo(appendArchivePrefix(make([]byte, 0, archiveKeySize), account))
}

func appendTalkPrefix(dst []byte, a, b uint64) []byte {
	if a > b {
		a, b = b, a
	}
	dst = binary.BigEndian.AppendUint64(append(dst, tableTalk), a)
	return binary.BigEndian.AppendUint64(dst, b)
}

func talkKey(a, b uint64, p command.Position) []byte {
	return p.AppendTo(appendTalkPrefix(make([]byte, 0, talkKeySize), a, b))
}

func appendBucketPrefix(dst []byte, table byte, bucket uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, table), bucket)
}

func appendDedupeKey(dst []byte, bucket uint32, key []byte) []byte {
	return append(appendBucketPrefix(dst, tableDedupe, bucket), key...)
}

func appendStreamKey(dst []byte, bucket uint32, id []byte) []byte {
	return append(appendBucketPrefix(dst, tableStream, bucket), id...)
}

func timeKey(minute int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{tableTime}, uint64(minute))
}

func accountKey(bare string) []byte { return append([]byte{tableAccount}, bare...) }

func idKey(table byte, account uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{table}, account)
}

// idOf reads the id of a key that idKey made.
func idOf(key []byte) (uint64, error) {
	if len(key) != 1+idSize {
		return 0, corruptf("key of %d bytes", len(key))
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

func rosterKey(account uint64, peer string) []byte {
	return append(idKey(tableRoster, account), peer...)
}

func blockKey(account uint64, blocked string) []byte {
	return append(idKey(tableBlock, account), blocked...)
}

func formerKey(bare string) []byte { return append([]byte{tableFormer}, bare...) }

func inviteKey(hash []byte) []byte { return append([]byte{tableInvite}, hash...) }

func circleKey(name string) []byte { return append([]byte{tableCircle}, name...) }

// prefixEnd returns the first key after all keys with this prefix; a prefix
// here never consists of 0xff alone, because tables are ASCII.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// positionOf reads the position that ends a key.
func positionOf(key []byte) (command.Position, error) {
	if len(key) < command.PositionSize {
		return command.Position{}, corruptf("key of %d bytes", len(key))
	}
	return command.ParsePosition(key[len(key)-command.PositionSize:])
}

// bare cuts the resource off a JID.
func bare(jid string) string {
	for i := range len(jid) {
		if jid[i] == '/' {
			return jid[:i]
		}
	}
	return jid
}

// split gives the localpart and the domain of a bare JID; no localpart means
// that there was no "@".
func split(bare string) (local, domain string) {
	for i := range len(bare) {
		if bare[i] == '@' {
			return bare[:i], bare[i+1:]
		}
	}
	return "", bare
}
