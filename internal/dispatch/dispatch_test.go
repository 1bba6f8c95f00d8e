// SPDX-License-Identifier: Apache-2.0

package dispatch_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bavard/internal/archive"
	"bavard/internal/cell"
	"bavard/internal/command"
	"bavard/internal/dispatch"
	"bavard/internal/jid"
	"bavard/internal/journal"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/view"
	"bavard/internal/xmlstream"
)

// phone is a device that keeps what it is handed.
type phone struct {
	mu       sync.Mutex
	got      []route.Out
	behind   bool
	away     bool
	replaced bool
	gone     string
}

func (p *phone) Enqueue(o route.Out) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, o)
}

func (p *phone) Replaced()  { p.mu.Lock(); defer p.mu.Unlock(); p.replaced = true }
func (p *phone) Away() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.away }

func (p *phone) Attention() dispatch.Attention {
	p.mu.Lock()
	defer p.mu.Unlock()
	return dispatch.Attention{Here: !p.away}
}
func (p *phone) Behind() { p.mu.Lock(); defer p.mu.Unlock(); p.behind = true }

func (p *phone) Dismissed(why string) { p.mu.Lock(); defer p.mu.Unlock(); p.gone = why }

// bodies of the messages it was handed, and the newest position.
func (p *phone) bodies() ([]string, command.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	var newest command.Position
	for _, o := range p.got {
		if _, rest, ok := strings.Cut(string(o.Rest), "<body>"); ok && o.Name == "message" {
			body, _, _ := strings.Cut(rest, "</body>")
			out = append(out, body)
		}
		if newest.Before(o.Position) {
			newest = o.Position
		}
	}
	return out, newest
}

// fixture is a cell of one node in memory with its hub.
type fixture struct {
	t    *testing.T
	cell *cell.Cell
	hub  *dispatch.Hub
	in   atomic.Pointer[string] // the full JID of the device that is in a room
}

// run gives f a fixture on fake time.
func run(t *testing.T, f func(*fixture)) {
	synctest.Test(t, func(t *testing.T) {
		j, err := journal.OpenMemory("a", journal.ClusterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		x := &fixture{t: t}
		var hub atomic.Pointer[dispatch.Hub]
		log := slog.New(slog.NewTextHandler(io.Discard, nil))
		x.cell, err = cell.Open(t.Context(), cell.Options{
			Journal: j, ViewDir: "view", View: view.Options{Domain: "localhost", FS: vfs.NewMem()}, Logger: log,
			Events: func(e []state.Event) {
				if h := hub.Load(); h != nil {
					h.Offer(e)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		key, _ := x.cell.ArchiveKey()
		ids, err := archive.NewIDs(key)
		if err != nil {
			t.Fatal(err)
		}
		x.hub = dispatch.New(dispatch.Options{Domain: "localhost", View: x.cell, IDs: ids, Logger: log, InRoom: func(_, device jid.JID) bool {
			in := x.in.Load()
			return in != nil && *in == device.String()
		}, Save: func(a string, p command.Position, _ bool) {
			x.do(&command.Command{Request: &command.Command_OfflineCursor{OfflineCursor: &command.OfflineCursor{Account: a, Position: p.AppendTo(nil)}}})
		}})
		hub.Store(x.hub)
		for _, a := range []string{"alice@localhost", "bob@localhost"} {
			x.do(&command.Command{Request: &command.Command_AccountCreate{AccountCreate: &command.AccountCreate{Jid: a}}})
		}
		f(x)
		x.hub.Close()
		if err := x.cell.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (x *fixture) do(c *command.Command) {
	x.t.Helper()
	out, err := x.cell.Do(context.Background(), c)
	if err != nil || out.Err != nil {
		x.t.Fatalf("%v: %v %v", c, err, out.Err)
	}
}

func (x *fixture) say(from, to, body string) {
	x.t.Helper()
	x.do(&command.Command{Request: &command.Command_Message{Message: &command.Message{
		From: from, To: to, Type: command.MessageType_MESSAGE_TYPE_CHAT, Payload: []byte("<body>" + body + "</body>"), Flags: command.FlagBody,
	}}})
}

func (x *fixture) connect(full string) (*phone, *dispatch.Resource) {
	x.t.Helper()
	p := &phone{}
	j := mustJID(x.t, full)
	r, _ := x.hub.Register(j, "", p)
	if r == nil {
		x.t.Fatalf("%s was not registered", full)
	}
	return p, r
}

func mustJID(t *testing.T, s string) jid.JID {
	t.Helper()
	j, err := jid.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func presence(full string) *xmlstream.Element {
	return xmlstream.New(stanza.NSClient, "presence", "from", full)
}

func same(t *testing.T, got []string, from, to int) {
	t.Helper()
	if len(got) != to-from {
		t.Fatalf("%d messages, want %d: %.200q", len(got), to-from, got)
	}
	for i, b := range got {
		if want := fmt.Sprint(from + i); b != want {
			t.Fatalf("message %d is %q, want %q", i, b, want)
		}
	}
}

// What waits comes in parts, each asked for by the ack of the one before; what
// is said meanwhile comes after it, once.
func TestFlushOfALongAbsence(t *testing.T) {
	run(t, func(x *fixture) {
		const waiting = 2500
		for i := range waiting {
			x.say("alice@localhost/a", "bob@localhost", fmt.Sprint(i))
		}
		p, r := x.connect("bob@localhost/b")
		x.hub.Available(r, 0, presence("bob@localhost/b"))
		synctest.Wait()
		got, newest := p.bodies()
		same(t, got, 0, 1000)
		x.say("alice@localhost/a", "bob@localhost", fmt.Sprint(waiting))
		synctest.Wait()
		for range 3 {
			x.hub.Acked(r, newest)
			synctest.Wait()
			_, newest = p.bodies()
		}
		x.say("alice@localhost/a", "bob@localhost", fmt.Sprint(waiting+1))
		synctest.Wait()
		got, newest = p.bodies()
		same(t, got, 0, waiting+2)

		x.hub.Acked(r, newest)
		x.hub.Unregister(r)
		again, r := x.connect("bob@localhost/b")
		x.hub.Available(r, 0, presence("bob@localhost/b"))
		synctest.Wait()
		if got, _ := again.bodies(); len(got) != 0 {
			t.Errorf("after the ack %d messages come once more", len(got))
		}
	})
}

// What waits comes in parts that fit the queue of a device, and whoever was
// blocked meanwhile does not hold up what others say.
func TestFlushOfLargeMessages(t *testing.T) {
	run(t, func(x *fixture) {
		x.do(&command.Command{Request: &command.Command_AccountCreate{AccountCreate: &command.AccountCreate{Jid: "eve@localhost"}}})
		large := strings.Repeat("x", 200<<10)
		const waiting = 40
		for range waiting {
			x.say("alice@localhost/a", "bob@localhost", large)
		}
		for range 12 {
			x.say("eve@localhost/e", "bob@localhost", large)
		}
		x.do(&command.Command{Request: &command.Command_Block{Block: &command.Block{
			Account: "bob@localhost", Jids: []string{"eve@localhost"},
		}}})
		p, r := x.connect("bob@localhost/b")
		x.hub.Available(r, 0, presence("bob@localhost/b"))
		synctest.Wait()
		seen := 0
		for range waiting {
			got, newest := p.bodies()
			if n := len(got) - seen; n > 16 {
				t.Fatalf("%d messages of 200 KiB come at once", n)
			}
			seen = len(got)
			x.hub.Acked(r, newest)
			synctest.Wait()
		}
		x.say("alice@localhost/a", "bob@localhost", "live")
		synctest.Wait()
		if got, _ := p.bodies(); len(got) != waiting+1 || got[waiting] != "live" {
			t.Fatalf("%d messages, want %d and then a live one", len(got), waiting)
		}
		x.hub.Unregister(r)
	})
}

// What a device has got beyond the flush, by asking the archive, moves the
// cursor past nothing that still waits: be the flush due or under way.
func TestAckedBeyondTheFlush(t *testing.T) {
	run(t, func(x *fixture) {
		const waiting = 1100
		for i := range waiting {
			x.say("alice@localhost/a", "bob@localhost", fmt.Sprint(i))
		}
		newest := x.cell.Applied()
		p, r := x.connect("bob@localhost/b")
		x.hub.Available(r, 0, presence("bob@localhost/b"))
		x.hub.Acked(r, newest)
		synctest.Wait()
		got, _ := p.bodies()
		same(t, got, 0, 1000)
		x.hub.Acked(r, newest) // of the first part, and of the newest page of the archive
		x.hub.Unregister(r)
		p, r = x.connect("bob@localhost/b")
		x.hub.Available(r, 0, presence("bob@localhost/b"))
		synctest.Wait()
		got, _ = p.bodies()
		same(t, got, 1000, waiting)
		x.hub.Unregister(r)
	})
}

// A device that leaves before its flush has begun is handed what waits when it
// comes again.
func TestFlushAfterLeavingAtOnce(t *testing.T) {
	run(t, func(x *fixture) {
		x.say("alice@localhost/a", "bob@localhost", "0")
		p, r := x.connect("bob@localhost/b")
		x.hub.Available(r, 0, presence("bob@localhost/b"))
		x.hub.Update(r, func(r *dispatch.Resource) { r.SetUnavailable(nil) })
		synctest.Wait()
		x.hub.Available(r, 0, presence("bob@localhost/b"))
		synctest.Wait()
		x.say("alice@localhost/a", "bob@localhost", "1")
		synctest.Wait()
		got, _ := p.bodies()
		same(t, got, 0, 2)
		x.hub.Unregister(r)
	})
}

// What is said to another device while a flush is under way comes with the
// flush, and not as a carbon as well.
func TestFlushAndCarbons(t *testing.T) {
	run(t, func(x *fixture) {
		const waiting = 1100
		for i := range waiting {
			x.say("alice@localhost/a", "bob@localhost", fmt.Sprint(i))
		}
		_, other := x.connect("bob@localhost/other")
		p, r := x.connect("bob@localhost/b")
		x.hub.Update(r, func(r *dispatch.Resource) { r.SetCarbons(true) })
		x.hub.Available(r, 0, presence("bob@localhost/b"))
		synctest.Wait()
		x.say("alice@localhost/a", "bob@localhost/other", fmt.Sprint(waiting))
		synctest.Wait()
		_, newest := p.bodies()
		x.hub.Acked(r, newest)
		synctest.Wait()
		got, _ := p.bodies()
		same(t, got, 0, waiting+1)
		x.say("alice@localhost/a", "bob@localhost/other", fmt.Sprint(waiting+1))
		synctest.Wait()
		got, _ = p.bodies() // as a carbon
		same(t, got, 0, waiting+2)
		x.hub.Unregister(r)
		x.hub.Unregister(other)
	})
}

// A crash between ack and save means handing over once more, never a loss.
func TestUnsavedCursorIsSavedInTime(t *testing.T) {
	run(t, func(x *fixture) {
		p, r := x.connect("bob@localhost/b")
		x.hub.Available(r, 0, presence("bob@localhost/b"))
		x.say("alice@localhost/a", "bob@localhost", "0")
		synctest.Wait()
		_, newest := p.bodies()
		x.hub.Acked(r, newest)
		time.Sleep(6 * time.Second) // fake time: past the saver's tick
		synctest.Wait()
		cursor, err := x.cell.OfflineCursor("bob@localhost")
		if err != nil || cursor != newest {
			t.Errorf("the cursor is %v (%v), want %v", cursor, err, newest)
		}
		x.hub.Unregister(r)
	})
}

// What one device has got and acked is not handed to the next one as waiting.
func TestAckedByAnotherDevice(t *testing.T) {
	run(t, func(x *fixture) {
		p, r := x.connect("bob@localhost/one")
		x.hub.Available(r, 0, presence("bob@localhost/one"))
		x.say("alice@localhost/a", "bob@localhost", "0")
		synctest.Wait()
		_, newest := p.bodies()
		x.hub.Acked(r, newest)
		two, r2 := x.connect("bob@localhost/two")
		x.hub.Available(r2, 0, presence("bob@localhost/two"))
		synctest.Wait()
		if got, _ := two.bodies(); len(got) != 0 {
			t.Errorf("the second device was handed %q", got)
		}
	})
}

// RFC 6121 §8.5: full JID, bare JID, negative priority, and who gets carbons.
func TestWhoGetsAMessage(t *testing.T) {
	for _, tc := range []struct {
		name, to               string
		one, two, away, carbon bool
	}{
		{"bare: all of non-negative priority, the others by carbon", "bob@localhost", true, true, false, true},
		{"full: that one, the others by carbon", "bob@localhost/two", false, true, false, true},
		{"full and not connected: like bare", "bob@localhost/gone", true, true, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(x *fixture) {
				one, r1 := x.connect("bob@localhost/one")
				two, r2 := x.connect("bob@localhost/two")
				away, r3 := x.connect("bob@localhost/away")
				carbon, r4 := x.connect("bob@localhost/carbon")
				x.hub.Available(r1, 0, presence("bob@localhost/one"))
				x.hub.Available(r2, 5, presence("bob@localhost/two"))
				x.hub.Available(r3, -1, presence("bob@localhost/away"))
				x.hub.Update(r4, func(r *dispatch.Resource) { r.SetCarbons(true) })
				synctest.Wait()
				x.say("alice@localhost/a", tc.to, "hi")
				synctest.Wait()
				for _, d := range []struct {
					name string
					p    *phone
					want bool
				}{{"one", one, tc.one}, {"two", two, tc.two}, {"away", away, tc.away}, {"carbon", carbon, tc.carbon}} {
					if got, _ := d.p.bodies(); (len(got) == 1) != d.want {
						t.Errorf("%s got %d messages, want it: %v", d.name, len(got), d.want)
					}
				}
			})
		})
	}
}

// A private message in a room is for the devices that are in it, and where none
// is, for all; other devices of the sender see it if they are in it.
func TestWhoGetsAWhisper(t *testing.T) {
	const room = "hall@rooms.localhost"
	for in, want := range map[string][3]int{ // one, two with carbons, the sender's other
		"": {1, 1, 0}, "bob@localhost/one": {1, 0, 0}, "bob@localhost/two": {0, 1, 0}, "alice@localhost/other": {1, 1, 1},
	} {
		run(t, func(x *fixture) {
			x.do(&command.Command{Request: &command.Command_RoomCreate{RoomCreate: &command.RoomCreate{
				Room: room, By: "alice@localhost/a", Nick: "ann", Unlocked: true, Config: &command.RoomConfig{MembersOnly: new(bool)},
			}}})
			var phones []*phone
			var resources []*dispatch.Resource
			for _, full := range []string{"bob@localhost/one", "bob@localhost/two", "alice@localhost/other"} {
				p, r := x.connect(full)
				x.hub.Update(r, func(r *dispatch.Resource) { r.SetCarbons(full != "bob@localhost/one") })
				x.hub.Available(r, 0, presence(full))
				phones, resources = append(phones, p), append(resources, r)
			}
			synctest.Wait()
			x.in.Store(&in)
			x.do(&command.Command{Request: &command.Command_RoomWhisper{RoomWhisper: &command.RoomWhisper{
				Room: room, Nick: "ann", ToNick: "bob", Message: &command.Message{From: "alice@localhost/a", To: "bob@localhost", Payload: []byte("<body>psst</body>")},
			}}})
			synctest.Wait()
			for i, p := range phones {
				if got, _ := p.bodies(); len(got) != want[i] {
					t.Errorf("%q is in the room: %s got %q, want %d", in, resources[i].JID, got, want[i])
				}
				x.hub.Unregister(resources[i])
			}
		})
	}
}

// A resource that is taken again ends the device that held it.
func TestConflict(t *testing.T) {
	run(t, func(x *fixture) {
		old, r := x.connect("bob@localhost/one")
		x.connect("bob@localhost/one")
		if !old.replaced {
			t.Error("the old device was not told")
		}
		x.hub.Unregister(r)
		if n := x.hub.Stats().Resources; n != 1 {
			t.Errorf("%d resources, want 1", n)
		}
	})
}

// Soft stanzas for nobody are reported, so that an IQ can be answered.
func TestUnheard(t *testing.T) {
	run(t, func(x *fixture) {
		var unheard atomic.Int32
		iq := xmlstream.New(stanza.NSClient, "iq", "type", "get", "id", "1").Add(xmlstream.New(stanza.NSPing, "ping"))
		d := route.Deliver{To: mustJID(t, "bob@localhost/gone"), Stanza: iq, Bounce: true}
		x.hub.Deliver(mustJID(t, "alice@localhost/a"), d, func(*stanza.Error) { unheard.Add(1) })
		synctest.Wait()
		if unheard.Load() != 1 {
			t.Errorf("told %d times that nobody was there", unheard.Load())
		}
	})
}

// An account has so many devices and no more; one that is away makes room.
func TestResourcesAreBounded(t *testing.T) {
	full := func(i int) jid.JID { return mustJID(t, fmt.Sprintf("alice@localhost/%d", i)) }
	run(t, func(x *fixture) { resourcesAreBounded(x, full) })
}

func resourcesAreBounded(x *fixture, full func(int) jid.JID) {
	t := x.t
	phones := make([]*phone, dispatch.ResourcesMost+2)
	for i := range phones {
		phones[i] = &phone{}
	}
	for i := range dispatch.ResourcesMost {
		if r, old := x.hub.Register(full(i), "", phones[i]); r == nil || old != nil {
			t.Fatalf("the %d. was not taken, or took a place: %v", i, old)
		}
	}
	over := dispatch.ResourcesMost
	if r, _ := x.hub.Register(full(over), "", phones[over]); r != nil || x.hub.Room(full(over)) {
		t.Error("one too many was taken")
	}
	if !x.hub.Room(full(3)) {
		t.Error("a device cannot come back to its own resource")
	}
	phones[7].mu.Lock()
	phones[7].away = true
	phones[7].mu.Unlock()
	r, old := x.hub.Register(full(over), "", phones[over])
	if r == nil || len(old) == 0 || old[0].JID != full(7) || !phones[7].replaced {
		t.Errorf("the one that is away did not make room: %v", old)
	}
	if r, old := x.hub.Register(full(over), "", phones[over+1]); r == nil || old == nil || old[0].JID != full(over) || !phones[over].replaced {
		t.Errorf("the same resource was not replaced: %v", old)
	}
	if n := x.hub.Stats().Resources; n != dispatch.ResourcesMost {
		t.Errorf("%d resources are counted", n)
	}
}
