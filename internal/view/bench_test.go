// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/state"
)

// benchCell is an initialised view on disk with n accounts u0 … and the
// revision it is at.
func benchCell(b *testing.B, n int) (*View, uint64) {
	b.Helper()
	v, err := Open(b.TempDir(), Options{FS: vfs.Default, Domain: domain})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = v.Close() })
	cmds := []*command.Command{cellInit()}
	for i := range n {
		cmds = append(cmds, create(fmt.Sprintf("u%d", i)))
	}
	if _, err := v.Apply(Batch{Revision: 1, Commands: encode(b, cmds...)}); err != nil {
		b.Fatal(err)
	}
	return v, 1
}

// traffic makes batches of chat messages as clients send them: 300 bytes of
// payload that compresses by half, an origin-id, a stream per sender.
type traffic struct {
	rng  *rand.Rand
	n    int
	sent uint64
	h    []uint32
	at   int64
	step int64 // milliseconds per batch
	one  bool  // u1 takes part in each
}

func newTraffic(accounts int) *traffic {
	return &traffic{rng: rand.New(rand.NewPCG(1, 2)), n: accounts, h: make([]uint32, accounts), at: start.UnixMilli(), step: 20}
}

func (g *traffic) batch(b *testing.B, size int) [][]byte {
	out := make([][]byte, size)
	for i := range out {
		raw, err := proto.Marshal(g.message())
		if err != nil {
			b.Fatal(err)
		}
		out[i] = raw
	}
	g.at += g.step
	return out
}

func (g *traffic) message() *command.Command {
	g.sent++
	from, to := g.rng.IntN(g.n), g.rng.IntN(g.n)
	if g.one && g.sent%2 == 0 {
		from = 1
	} else if g.one {
		to = 1
	}
	var seed [16]byte
	binary.BigEndian.PutUint64(seed[:], g.sent)
	sum := sha256.Sum256(seed[:])
	origin := fmt.Sprintf("%x-%x-%x", sum[:4], sum[4:8], sum[8:16])
	payload := fmt.Appendf(nil, "<body>%x the quick brown fox jumps over the lazy dog, again and again, until %d</body>"+
		"<origin-id xmlns='urn:xmpp:sid:0' id='%s'/><request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>", sum[:20], g.sent, origin)
	for len(payload) < 300 {
		payload = append(payload, ' ')
	}
	g.h[from]++
	stream := sha256.Sum256(fmt.Appendf(nil, "stream %d", from))
	return &command.Command{
		TimeMs: g.at,
		Stream: &command.Stream{Id: stream[:streamSize], H: g.h[from]},
		Request: &command.Command_Message{Message: &command.Message{
			From: fmt.Sprintf("u%d@%s/phone", from, domain), To: fmt.Sprintf("u%d@%s", to, domain),
			Type: command.MessageType_MESSAGE_TYPE_CHAT, Id: origin, OriginId: origin, Lang: "en",
			Payload: payload, Dedupe: sum[16:32], Flags: command.FlagBody,
		}},
	}
}

// threadTime is the processor time of this thread: a busy machine does not
// distort it.
func threadTime(b *testing.B) time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkApply is one message of 300 bytes between 1,000 accounts, in
// batches of 100, on disk.
func BenchmarkApply(b *testing.B) {
	const size = 100
	v, rev := benchCell(b, 1000)
	g := newTraffic(1000)
	batches := make([][][]byte, (b.N+size-1)/size)
	for i := range batches {
		batches[i] = g.batch(b, size)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	b.ResetTimer()
	began, cpu := time.Now(), threadTime(b)
	for _, cmds := range batches {
		rev++
		if _, err := v.Apply(Batch{Revision: rev, Commands: cmds}); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	cpu = threadTime(b) - cpu
	b.ReportMetric(float64(cpu.Microseconds())/float64(len(batches)*size), "cpu-µs/msg")
	b.ReportMetric(float64(time.Since(began).Microseconds())/float64(len(batches)*size), "µs/msg")
	if d := v.Stats().Duplicates; d != 0 {
		b.Fatalf("%d duplicates", d)
	}
}

// BenchmarkArchive is the last page of 50 in an archive of 100,000 messages.
func BenchmarkArchive(b *testing.B) {
	v, rev := benchCell(b, 20)
	g := newTraffic(20)
	g.one, g.step = true, 60_000
	for range 100 {
		rev++
		if _, err := v.Apply(Batch{Revision: rev, Commands: g.batch(b, 1000)}); err != nil {
			b.Fatal(err)
		}
	}
	if err := v.Flush(); err != nil {
		b.Fatal(err)
	}
	for name, q := range map[string]state.Query{
		"all/last":  {Account: at("u1"), Backward: true},
		"peer/last": {Account: at("u1"), Backward: true, With: at("u2")},
		"all/from":  {Account: at("u1"), Start: start.Add(60 * time.Minute)},
	} {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.ReportAllocs()
			cpu := threadTime(b)
			for b.Loop() {
				p, err := v.Archive(context.Background(), q)
				if err != nil || len(p.Entries) != 50 {
					b.Fatal(len(p.Entries), err)
				}
			}
			b.ReportMetric(float64((threadTime(b)-cpu).Microseconds())/float64(b.N), "cpu-µs/page")
		})
	}
}

// BenchmarkChats is a page of 50 of a list of 500 chats, with 100,000 messages
// in the archive: noted, with as many as may be not noted, and of an account of
// which nothing is read.
func BenchmarkChats(b *testing.B) {
	const peers = 500
	v, rev := benchCell(b, peers+2)
	apply := func(cmds ...[]byte) {
		rev++
		if _, err := v.Apply(Batch{Revision: rev, Commands: cmds}); err != nil {
			b.Fatal(err)
		}
	}
	g := newTraffic(peers + 2)
	g.one, g.step = true, 60_000
	for range 100 {
		apply(g.batch(b, 1000)...)
	}
	if err := v.Flush(); err != nil {
		b.Fatal(err)
	}
	q := state.ChatsQuery{Account: at("u1"), Now: start, Position: positionOfID, Max: 50}
	page := func(b *testing.B, tail, unread int) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		b.ReportAllocs()
		cpu := threadTime(b)
		for b.Loop() {
			p, err := v.Chats(context.Background(), q)
			if err != nil || len(p.Chats) != 50 || p.Total < peers || p.Tail < tail || p.UnreadChats < unread {
				b.Fatal(len(p.Chats), p.Total, p.Tail, p.UnreadChats, err)
			}
		}
		b.ReportMetric(float64((threadTime(b)-cpu).Microseconds())/float64(b.N), "cpu-µs/page")
	}
	note := func(tail int) {
		for {
			p, err := v.Chats(context.Background(), q)
			if err == nil && p.Tail <= tail {
				return
			}
			apply(encode(b, noteChats("u1", p.Applied))...)
		}
	}
	note(tailMost)
	b.Run("tail", func(b *testing.B) { page(b, tailMost-noteSlice, 100) })
	note(0)
	b.Run("noted", func(b *testing.B) { page(b, 0, 100) })
	for range 100 { // everybody writes 200 times more, and nothing is answered
		g.sent |= 1 // u1 is the recipient of even ones
		batch := make([][]byte, 0, 1000)
		for range 1000 {
			g.sent++
			m := g.message()
			if m.GetMessage().To != at("u1") {
				m = g.message()
			}
			batch = append(batch, encode(b, m)...)
		}
		g.at += g.step
		apply(batch...)
	}
	note(0)
	b.Run("unread", func(b *testing.B) { page(b, 0, peers) })
}
