// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/state"
)

func clientKey(account uint64, client []byte) []byte {
	return append(idKey(tableClient, account), client...)
}

// Bits of clientRecord.how.
const (
	howPassword = 1
	howLink     = 2
	howRecovery = 4
	// Bits of the byte that says which tokens follow.
	hasCurrent = 1
	hasNext    = 2
)

// clientRecord is a client of an account; its name is in the key.
type clientRecord struct {
	first, last      int64 // Unix milliseconds
	how              byte
	software, device string
	current, next    *token
}

// token of a client; times are Unix milliseconds.
type token struct {
	mechanism       byte // command.TokenMechanism
	seed            []byte
	issued, expires int64
}

// good reports whether there is a token and it has not expired.
func (k *token) good(now int64) bool { return k != nil && now < k.expires }

// is reports whether it is good and has this seed.
func (k *token) is(seed []byte, now int64) bool { return k.good(now) && bytes.Equal(k.seed, seed) }

func (c *clientRecord) append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, recordVersion), uint64(max(c.first, 0)))
	dst = binary.AppendUvarint(dst, uint64(max(c.last, 0)))
	dst = appendString(appendString(append(dst, c.how), c.software), c.device)
	var has byte
	if c.current != nil {
		has |= hasCurrent
	}
	if c.next != nil {
		has |= hasNext
	}
	dst = append(dst, has)
	for _, k := range []*token{c.current, c.next} {
		if k != nil {
			dst = append(append(dst, k.mechanism), k.seed...)
			dst = binary.AppendUvarint(dst, uint64(max(k.issued, 0)))
			dst = binary.AppendUvarint(dst, uint64(max(k.expires, 0)))
		}
	}
	return dst
}

func parseClient(b []byte) (clientRecord, error) {
	r := read(b)
	c := clientRecord{first: r.millis(), last: r.millis(), how: r.byte(), software: r.string(), device: r.string()}
	has := r.byte()
	if has&^(hasCurrent|hasNext) != 0 || c.how&^(howPassword|howLink|howRecovery) != 0 {
		r.fail("client with bits %#x, %#x", has, c.how)
	}
	if has&hasCurrent != 0 {
		c.current = r.token()
	}
	if has&hasNext != 0 {
		c.next = r.token()
	}
	return c, r.end()
}

func (r *reader) token() *token {
	k := &token{mechanism: r.byte(), seed: bytes.Clone(r.take(seedSize)), issued: r.millis(), expires: r.millis()}
	if _, ok := command.TokenMechanism_name[int32(k.mechanism)]; !ok {
		r.fail("token of mechanism %d", k.mechanism)
	}
	return k
}

// millis reads a time that is not negative.
func (r *reader) millis() int64 {
	ms := int64(r.uvarint())
	if ms < 0 {
		r.fail("bad time")
		return 0
	}
	return ms
}

// secretRecord is a link or a recovery code.
type secretRecord struct {
	made, expires int64 // Unix milliseconds; expires is 0 for never
	keys          *command.ScramKeys
}

func (s *secretRecord) append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, recordVersion), uint64(max(s.made, 0)))
	dst = binary.AppendUvarint(dst, uint64(max(s.expires, 0)))
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(s.keys) // bytes and numbers always can be
	return append(dst, b...)
}

func parseSecret(b []byte) (secretRecord, error) {
	r := read(b)
	s := secretRecord{made: r.millis(), expires: r.millis(), keys: &command.ScramKeys{}}
	if r.err == nil {
		if err := proto.Unmarshal(r.take(len(r.b)), s.keys); err != nil {
			r.fail("keys: %v", err)
		}
	}
	return s, r.end()
}

func (c *clientRecord) client(id string) state.Client {
	return state.Client{
		ID: id, First: time.UnixMilli(c.first).UTC(), Last: time.UnixMilli(c.last).UTC(), Software: c.software, Device: c.device,
		Password: c.how&howPassword != 0, Link: c.how&howLink != 0, Recovery: c.how&howRecovery != 0,
		Current: c.current.token(), Next: c.next.token(),
	}
}

func (k *token) token() *state.Token {
	if k == nil {
		return nil
	}
	return &state.Token{
		Seed: k.seed, Mechanism: command.TokenMechanism(k.mechanism),
		Issued: time.UnixMilli(k.issued).UTC(), Expires: time.UnixMilli(k.expires).UTC(),
	}
}

// Client reads a client of an account by its name; state.ErrNotFound when there
// is no account or no such client.
func (v *View) Client(account, client string) (state.Client, error) {
	if err := v.enter(); err != nil {
		return state.Client{}, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return state.Client{}, v.readError(err)
	}
	b, err := v.get(v.db, clientKey(id, []byte(client)))
	if errors.Is(err, pebble.ErrNotFound) {
		return state.Client{}, state.ErrNotFound
	}
	if err != nil {
		return state.Client{}, v.damaged(err)
	}
	c, err := parseClient(b)
	return c.client(client), v.damaged(err)
}

// Clients reads the clients of an account, at most 64; state.ErrNotFound when
// there is no account.
func (v *View) Clients(account string) (_ []state.Client, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	id, err := v.accountID(v.db, account)
	if err != nil {
		return nil, v.readError(err)
	}
	prefix := idKey(tableClient, id)
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return nil, v.damaged(err)
	}
	defer func() { err = errors.Join(err, v.damaged(it.Close())) }()
	var all []state.Client
	for ok := it.First(); ok; ok = it.Next() {
		c, err := parseClient(it.Value())
		if err != nil {
			return nil, v.damaged(err)
		}
		all = append(all, c.client(string(it.Key()[len(prefix):])))
	}
	return all, v.damaged(it.Error())
}

// Link reads what lets one more client log in to an account, Recovery the keys of
// its recovery code; state.ErrNotFound when there is none. One that has expired is
// returned as it is.
func (v *View) Link(account string) (state.Secret, error) { return v.secret(tableLink, account) }

// Recovery is described at Link.
func (v *View) Recovery(account string) (state.Secret, error) {
	return v.secret(tableRecovery, account)
}

func (v *View) secret(table byte, account string) (state.Secret, error) {
	b, err := v.ofAccount(table, account)
	if err != nil {
		return state.Secret{}, err
	}
	r, err := parseSecret(b)
	s := state.Secret{Keys: r.keys, Made: time.UnixMilli(r.made).UTC()}
	if r.expires != 0 {
		s.Expires = time.UnixMilli(r.expires).UTC()
	}
	return s, v.damaged(err)
}
