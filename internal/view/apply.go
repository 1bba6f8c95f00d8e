// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Batch is a committed batch of the journal: encoded commands, in order. The
// view does not keep or change them.
type Batch struct {
	Revision uint64 // 48 bits
	Commands [][]byte
}

// Result of applying a batch.
type Result struct {
	// Outcomes, one per command; empty when the batch had been applied before.
	Outcomes []command.Outcome
	// Events in order.
	Events []state.Event
}

const maxRevision = 1<<48 - 1

// applier is what Apply keeps between batches.
type applier struct {
	v        *View
	accounts map[string]uint64 // id of every account
	ids      map[uint64]bool   // of every account
	recent   streams
	sieves   sieves
	failed   uint64           // revision that failed and must come next; 0 for none
	rooms    map[string]*room // some, as they are stored
	// expiring counts the messages from one account to another whose time runs from
	// when they are read.
	expiring map[pair]int
	txn      txn
}

func (a *applier) init(v *View) {
	a.v = v
	a.accounts = make(map[string]uint64)
	a.ids = make(map[uint64]bool)
	a.rooms = make(map[string]*room)
	a.expiring = make(map[pair]int)
	a.recent.init()
	a.sieves.budget = v.opts.DedupeBytes
	a.txn.init(a)
}

// loadAccounts fills the directory. It holds every account of the cell, about
// 100 bytes each, so that no message needs a read to learn whom it concerns.
func (a *applier) loadAccounts() error {
	it, err := a.v.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte{tableAccount},
		UpperBound: []byte{tableAccount + 1},
	})
	if err != nil {
		return a.v.damaged(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		rec, err := parseAccount(it.Value())
		if err != nil {
			return errors.Join(a.v.damaged(err), it.Close())
		}
		a.accounts[string(it.Key()[1:])] = rec.id
		a.ids[rec.id] = true
	}
	a.v.counters.accounts.Store(int64(len(a.accounts)))
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return a.v.damaged(err)
	}
	if n := a.v.published.Load().people; n != uint64(len(a.accounts)) {
		return a.v.damaged(corruptf("%d accounts, not %d", len(a.accounts), n))
	}
	return nil
}

// Apply applies one batch: all of it or nothing. Batches come in order of
// their revisions; one that was applied before is ignored, so that a caller
// may replay from any position up to Applied. After an error only the batch
// that failed may be tried again (ErrOrder). Commands that the state does not
// allow are refused in their outcome; that is no error.
func (v *View) Apply(b Batch) (Result, error) {
	if err := v.enter(); err != nil {
		return Result{}, err
	}
	defer v.leave()
	if b.Revision == 0 || b.Revision > maxRevision {
		return Result{}, fmt.Errorf("%w: revision %d", ErrBadCommand, b.Revision)
	}
	done := v.published.Load().applied
	if done.Epoch == v.opts.Epoch && b.Revision <= done.Revision {
		return Result{}, nil
	}
	if f := v.apply.failed; f != 0 && f != b.Revision {
		return Result{}, fmt.Errorf("%w: %d comes while %d is not applied", ErrOrder, b.Revision, f)
	}
	r, err := v.apply.batch(b)
	if err != nil {
		v.apply.failed = b.Revision
		return Result{}, err
	}
	v.apply.failed = 0
	return r, nil
}

func (a *applier) batch(b Batch) (Result, error) {
	reqs, err := decode(b, a.v.opts.Level)
	if err != nil {
		return Result{}, err
	}
	t := &a.txn
	t.begin(b.Revision, len(reqs))
	defer t.end()
	outcomes := make([]command.Outcome, len(reqs))
	for i := range reqs {
		t.at(uint32(i), reqs[i].c.TimeMs)
		o, err := t.whole(&reqs[i])
		if err != nil {
			return Result{}, err
		}
		o.Position, o.Time = t.pos, t.time()
		outcomes[i] = o
		if err := t.settle(&reqs[i], o.Verdict); err != nil {
			return Result{}, err
		}
	}
	if err := t.commit(); err != nil {
		return Result{}, err
	}
	return Result{Outcomes: outcomes, Events: t.events}, nil
}

// request is a decoded command.
type request struct {
	c   *command.Command
	raw []byte // the encoded command.Message or RoomMessage, when it is one
}

// decode decodes all commands of a batch before any is applied; most is the highest feature
// level that they may need.
func decode(b Batch, most uint32) ([]request, error) {
	reqs := make([]request, len(b.Commands))
	for i, raw := range b.Commands {
		c := &command.Command{}
		if err := proto.Unmarshal(raw, c); err != nil {
			return nil, fmt.Errorf("%w: revision %d, index %d: %w", ErrBadCommand, b.Revision, i, err)
		}
		if c.Level > most {
			return nil, fmt.Errorf("%w: revision %d, index %d needs feature level %d, this version has %d: upgrade this node",
				ErrUnknownCommand, b.Revision, i, c.Level, most)
		}
		if !known(c) {
			return nil, fmt.Errorf("%w: revision %d, index %d: upgrade this node", ErrUnknownCommand, b.Revision, i)
		}
		reqs[i].c = c
		if m := c.GetMessage(); m != nil {
			reqs[i].raw = rawMessage(raw, messageField, m)
		} else if m := c.GetRoomMessage(); m != nil {
			reqs[i].raw = rawMessage(raw, roomMessageField, m)
		}
	}
	return reqs, nil
}

// known reports whether this version knows what the command asks for.
func known(c *command.Command) bool {
	switch r := c.Request.(type) {
	case nil:
		return false
	case *command.Command_Message:
		_, ok := command.MessageType_name[int32(r.Message.GetType())]
		return ok
	case *command.Command_Subscription:
		_, ok := command.SubscriptionType_name[int32(r.Subscription.GetType())]
		return ok
	case *command.Command_UploadStore:
		_, ok := command.UploadPurpose_name[int32(r.UploadStore.GetPurpose())]
		return ok
	}
	return true
}

// Numbers of Command.message and Command.room_message.
const (
	messageField     = 10
	roomMessageField = 75
)

// rawMessage finds the encoded message in its command, so that it need not be
// encoded again. A command that carries it in several parts, which ours do
// not, is encoded anew.
func rawMessage(b []byte, field protowire.Number, m proto.Message) []byte {
	var found []byte
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return reencode(m)
		}
		b = b[n:]
		if num == field && typ == protowire.BytesType {
			value, n := protowire.ConsumeBytes(b)
			if n < 0 || found != nil {
				return reencode(m)
			}
			found, b = value, b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return reencode(m)
		}
		b = b[n:]
	}
	if found == nil {
		found = []byte{}
	}
	return found
}

func reencode(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return []byte{}
	}
	return b
}

// whole decides upon a command and what goes with it.
func (t *txn) whole(r *request) (command.Outcome, error) {
	o, err := t.command(r)
	if err == nil && r.c.Displayed != nil && o.Verdict == command.Accepted && carries(r.c) {
		_, err = t.pubsubPublish(r.c.Displayed) // refused or not, the message is accepted
	}
	return o, err
}

// carries reports whether a command can have something that is published with it.
func carries(c *command.Command) bool {
	switch c.Request.(type) {
	case *command.Command_Message, *command.Command_RoomMessage, *command.Command_RoomWhisper, *command.Command_Noop:
		return true
	}
	return false
}

// command decides upon one command. An error stops the batch; what the state
// does not allow is an outcome.
func (t *txn) command(r *request) (command.Outcome, error) {
	if t.cell == nil {
		switch r.c.Request.(type) {
		case *command.Command_CellInit, *command.Command_Noop:
		default:
			return refuse(stanza.Wait, stanza.ServiceUnavailable, "this cell is not initialised yet"), nil
		}
	}
	switch q := r.c.Request.(type) {
	case *command.Command_Message:
		return t.message(r, q.Message)
	case *command.Command_AccountCreate:
		return t.accountCreate(q.AccountCreate)
	case *command.Command_CredentialsSet:
		return t.credentialsSet(q.CredentialsSet)
	case *command.Command_InviteCreate:
		return t.inviteCreate(q.InviteCreate)
	case *command.Command_RosterSet:
		return t.rosterSet(q.RosterSet)
	case *command.Command_RosterRemove:
		return t.rosterRemove(q.RosterRemove)
	case *command.Command_Subscription:
		return t.subscription(q.Subscription)
	case *command.Command_OfflineCursor:
		return t.offlineCursor(q.OfflineCursor)
	case *command.Command_Block, *command.Command_Unblock, *command.Command_BlockReport, *command.Command_ReportRemove:
		return t.blockCommand(r.c)
	case *command.Command_VcardSet:
		return t.vcardSet(q.VcardSet)
	case *command.Command_Left:
		return t.left(q.Left)
	case *command.Command_AccountDisable:
		return t.accountDisable(q.AccountDisable)
	case *command.Command_AccountDelete:
		return t.accountDelete(q.AccountDelete)
	case *command.Command_CellInit:
		return t.cellInit(q.CellInit)
	case *command.Command_CellJournal:
		return t.cellJournal(q.CellJournal)
	case *command.Command_LevelRaise:
		return t.levelRaise(q.LevelRaise)
	case *command.Command_ArchiveSweep:
		return t.archiveSweep()
	case *command.Command_PubsubPublish:
		return t.pubsubPublish(q.PubsubPublish)
	case *command.Command_PubsubRetract:
		return t.pubsubRetract(q.PubsubRetract)
	case *command.Command_PubsubCreate:
		return t.pubsubCreate(q.PubsubCreate)
	case *command.Command_PubsubConfigure:
		return t.pubsubConfigure(q.PubsubConfigure)
	case *command.Command_PubsubDelete:
		return t.pubsubDelete(q.PubsubDelete)
	case *command.Command_PubsubPurge:
		return t.pubsubPurge(q.PubsubPurge)
	case *command.Command_ArchiveBlank:
		return t.archiveBlank()
	case *command.Command_Noop:
		return accept(), nil
	}
	for _, decide := range []func(*request) (command.Outcome, error){t.roomCommand, t.chatsCommand} {
		if o, err := decide(r); !errors.Is(err, ErrUnknownCommand) {
			return o, err
		}
	}
	if o, err := t.clientCommand(r.c); !errors.Is(err, ErrUnknownCommand) {
		return o, err
	}
	if o, err := t.uploadCommand(r.c); !errors.Is(err, ErrUnknownCommand) {
		return o, err
	}
	if o, err := t.pushCommand(r.c); !errors.Is(err, ErrUnknownCommand) {
		return o, err
	}
	return t.privateCommand(r.c)
}

// chatsCommand decides upon one about a list of chats or the directory.
func (t *txn) chatsCommand(r *request) (command.Outcome, error) {
	switch q := r.c.Request.(type) {
	case *command.Command_ChatsNote:
		return t.chatsNote(q.ChatsNote)
	case *command.Command_ChatDelete:
		return t.chatDelete(q.ChatDelete)
	case *command.Command_DirectorySet:
		return t.directorySet(q.DirectorySet)
	}
	return command.Outcome{}, ErrUnknownCommand
}

// roomCommand decides upon one about a room.
func (t *txn) roomCommand(r *request) (command.Outcome, error) {
	switch q := r.c.Request.(type) {
	case *command.Command_RoomMessage:
		return t.roomMessage(r, q.RoomMessage)
	case *command.Command_RoomWhisper:
		return t.roomWhisper(r, q.RoomWhisper)
	case *command.Command_RoomCreate:
		return t.roomCreate(q.RoomCreate)
	case *command.Command_RoomConfigure:
		return t.roomConfigure(q.RoomConfigure)
	case *command.Command_RoomDestroy:
		return t.roomDestroy(q.RoomDestroy)
	case *command.Command_RoomAffiliate:
		return t.roomAffiliate(q.RoomAffiliate)
	case *command.Command_RoomNick:
		return t.roomNick(q.RoomNick)
	case *command.Command_RoomRegister:
		return t.roomRegister(q.RoomRegister)
	case *command.Command_RoomModerate:
		return t.roomModerate(q.RoomModerate)
	case *command.Command_InviteRevoke:
		return t.inviteRevoke(q.InviteRevoke)
	case *command.Command_InviteRedeem:
		return t.inviteRedeem(q.InviteRedeem)
	}
	return command.Outcome{}, ErrUnknownCommand
}

// settle notes what holds for every command: how far its stream has come.
func (t *txn) settle(r *request, verdict command.Verdict) error {
	c := &t.a.v.counters
	switch verdict {
	case command.Refused:
		c.refused.Add(1)
	case command.Duplicate:
		c.duplicates.Add(1)
	}
	return t.advance(r.c.GetStream(), verdict)
}

func refuse(t stanza.ErrorType, c stanza.Condition, text string) command.Outcome {
	return command.Outcome{Verdict: command.Refused, Err: stanza.Err(t, c, text)}
}

func duplicate(original command.Position) command.Outcome {
	return command.Outcome{Verdict: command.Duplicate, Original: original}
}

func accept() command.Outcome { return command.Outcome{Verdict: command.Accepted} }
