// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/binary"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

const (
	minuteMs = 60 * 1000
	// A bucket of dedupe keys and streams spans a week and is kept while the
	// next two fill: an entry is known for 14 to 21 days. Weeks, because each
	// bucket is one more place to look.
	bucketMs    = 7 * 24 * 60 * minuteMs
	liveBuckets = 3

	// maxTime is the last millisecond of the year 9999, the last one that a
	// date of XEP-0082 can name.
	maxTime = 253402300799999
)

func bucketOf(ms int64) uint32 { return uint32(max(ms, 0) / bucketMs) }

// message archives a message for its sender and its recipient.
func (t *txn) message(r *request, m *command.Message) (command.Outcome, error) {
	from, to := bare(m.From), bare(m.To)
	sender := t.account(from)
	if sender == 0 {
		return refuse(stanza.Auth, stanza.NotAuthorized, "the sender's account does not exist"), nil
	}
	// RFC 6121 §8.5.1: no such account; the error is the sender's own.
	if _, domain := split(to); domain != t.cell.domain {
		return refuse(stanza.Cancel, stanza.RemoteServerNotFound, "this server does not exchange messages with other servers yet"), nil
	}
	recipient := t.account(to)
	if recipient == 0 {
		return refuse(stanza.Cancel, stanza.ServiceUnavailable, "there is no account "+to), nil
	}
	original, repeated, err := t.repeated(r.c.GetStream(), m.Dedupe)
	if err != nil {
		return command.Outcome{}, err
	}
	if repeated {
		t.event(state.Event{Kind: state.EventDuplicate, Account: from, Position: original, Message: m})
		return duplicate(original), nil
	}
	if o, err := t.barred(m.From, m.To); err != nil || o != nil {
		return outcomeOr(o), err
	}
	t.archive(sender, recipient, r.raw)
	if m.Retracts != "" || m.Timer != 0 || m.Flags&command.FlagDisplayed != 0 {
		if err := t.fades(sender, recipient, m); err != nil {
			return command.Outcome{}, err
		}
	}
	if sender != recipient {
		t.event(state.Event{Kind: state.EventMessage, Account: from, Position: t.pos, Message: m})
	}
	t.event(state.Event{Kind: state.EventMessage, Account: to, Position: t.pos, Message: m, Incoming: true})
	if len(m.Dedupe) == dedupeSize {
		t.remember([dedupeSize]byte(m.Dedupe))
	}
	return accept(), nil
}

// archive writes the message once and an index entry for each account.
func (t *txn) archive(sender, recipient uint64, raw []byte) {
	var head [16]byte
	h := appendTalkHead(head[:0], t.meta.time)
	op := t.b.SetDeferred(talkKeySize, len(h)+len(raw))
	t.pos.AppendTo(appendTalkPrefix(op.Key[:0], sender, recipient))
	copy(op.Value[copy(op.Value, h):], raw)
	_ = op.Finish()
	t.archived(t.chainWrite(opSet, op.Key, op.Value))
	if sender != recipient {
		t.index(sender, recipient, false)
	}
	t.index(recipient, sender, true)
}

func (t *txn) index(account, peer uint64, incoming bool) {
	var key [archiveKeySize]byte
	var value [1 + binary.MaxVarintLen64]byte
	t.archived(t.set(t.pos.AppendTo(appendArchivePrefix(key[:0], account)), appendArchiveRecord(value[:0], peer, incoming)))
}

func (t *txn) archived(hash uint64) {
	t.meta.records++
	t.meta.sum += hash
}

// repeated reports whether the message was accepted before, and where when it
// is known. The dedupe key decides; without one, the stream and its count.
func (t *txn) repeated(s *command.Stream, key []byte) (command.Position, bool, error) {
	if len(key) == dedupeSize {
		return t.known([dedupeSize]byte(key))
	}
	if s == nil || len(s.Id) != streamSize {
		return command.Position{}, false, nil
	}
	h, ok, err := t.streamH([streamSize]byte(s.Id))
	if err != nil || !ok {
		return command.Position{}, false, err
	}
	return command.Position{}, !after(s.H, h), nil
}

// after compares counts modulo 2^32 (RFC 1982).
func after(a, b uint32) bool { return int32(a-b) > 0 }

// known looks a dedupe key up, in the batch and in the buckets kept.
func (t *txn) known(key [dedupeSize]byte) (command.Position, bool, error) {
	if s, ok := t.seen[key]; ok && !t.expired(s.bucket) {
		return s.at, true, nil
	}
	if t.a.sieves.fresh(t.meta.bucket, &key) {
		return command.Position{}, false, nil
	}
	var buf [dedupeKeySize]byte
	for i := range uint32(liveBuckets) {
		if i > t.meta.bucket {
			break
		}
		b, err := t.get(appendDedupeKey(buf[:0], t.meta.bucket-i, key[:]))
		if err != nil {
			return command.Position{}, false, err
		}
		if b != nil {
			p, err := parsePosition(b)
			return p, err == nil, t.a.v.damaged(err)
		}
	}
	return command.Position{}, false, nil
}

// expired reports whether a bucket is no longer kept.
func (t *txn) expired(bucket uint32) bool { return t.meta.bucket-bucket >= liveBuckets }

func (t *txn) remember(key [dedupeSize]byte) {
	t.seen[key] = sighting{at: t.pos, bucket: t.meta.bucket}
	var k [dedupeKeySize]byte
	var value [1 + command.PositionSize]byte
	t.set(appendDedupeKey(k[:0], t.meta.bucket, key[:]), appendPosition(value[:0], t.pos))
}

// dropBuckets forgets dedupe keys and streams of buckets that are no longer
// kept. It follows from the commands' times alone, so that all nodes do it at
// the same command.
func (t *txn) dropBuckets() {
	if t.meta.bucket < liveBuckets {
		return
	}
	oldest := t.meta.bucket - liveBuckets + 1
	for _, table := range []byte{tableDedupe, tableStream} {
		start, end := appendBucketPrefix(nil, table, 0), appendBucketPrefix(nil, table, oldest)
		_ = t.b.DeleteRange(start, end, nil)
		t.chainWrite(opDeleteRange, start, end)
	}
}
