// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// group is a private room of people whose clients share no code but slixmpp.
type group struct {
	root    *testing.T // with whom clients end
	server  *server
	network *line
	ann     *script    // slixmpp, whose room it is
	bob     *profanity // an old-fashioned client
	carl    *script    // aioxmpp
	eve     *poezio
	said    []string // so far, oldest first
}

// TestGroup: slixmpp, Profanity, aioxmpp and Poezio in a private group.
func TestGroup(t *testing.T) {
	need(t, "profanity", "poezio", "tmux", "setpriv")
	needModule(t, "slixmpp")
	needModule(t, "aioxmpp")
	t.Parallel()
	s := startServer(t)
	g := &group{root: t, server: s, network: s.line(t)}
	g.ann = s.slixmppInRooms(t, "ann@localhost/one", g.network)
	g.carl = startScript(t, "aioxmpp", []string{python, "-B", "testdata/aioxmpp_rooms.py"})
	g.carl.do("login", map[string]any{"jid": "carl@localhost/one", "password": password, "port": atoi(t, g.network.port()), "ca": s.ca})
	g.bob = s.profanityAt(t, "bob@localhost/prof", g.network.host(), g.network.port())
	g.eve = s.poezio(t, "eve@localhost/pz", g.network)
	for _, part := range []struct {
		name string
		run  func(*group, *testing.T)
	}{
		{"invited", (*group).gathers},
		{"all hear all", (*group).talks},
		{"names are unique", (*group).renames},
		{"bookmarks", (*group).bookmarks},
		{"a killed server", (*group).outlivesServer},
		{"kicked and banned", (*group).removes},
	} {
		t.Run(part.name, func(t *testing.T) {
			g.ann.t, g.carl.t, g.bob.t, g.eve.t = t, t, t, t
			part.run(g, t)
		})
		if t.Failed() {
			return // what follows builds on it
		}
	}
}

func (g *group) gathers(t *testing.T) {
	g.ann.do("enter", map[string]any{"room": room, "nick": "Ann"})
	g.ann.do("configure", map[string]any{"room": room, "values": map[string]any{"muc#roomconfig_roomname": "The choir"}})
	g.ann.do("subject", map[string]any{"room": room, "subject": "Tuesday evening"})
	for _, who := range []string{"bob", "carl", "eve"} {
		g.ann.do("invite", map[string]any{"room": room, "jid": who + "@localhost", "reason": "sing"})
	}
	g.bob.shows("choir")
	g.bob.typeLine("/join " + room + " nick Bob")
	g.ann.event("occupant", "nick", "Bob", "affiliation", "member", "role", "participant")
	g.bob.shows("Tuesday evening")
	g.carl.event("invited", "room", room, "reason", "sing")
	g.carl.do("enter", map[string]any{"room": room, "nick": "Carl"})
	g.carl.event("subject", "subject", "Tuesday evening")
	g.eve.logs(room)
	g.eve.typeLine("/join " + room + "/Eve")
	g.ann.event("occupant", "nick", "Eve", "affiliation", "member")
	g.eve.shows("Tuesday evening")
	g.carl.event("occupant", "nick", "Eve", "type", "available")
}

// hear waits until everybody has what was said, and in the archive it is once
// and in order.
func (g *group) hear(t *testing.T, nick, body string) {
	t.Helper()
	g.said = append(g.said, body)
	g.ann.event("said", "body", body, "from", room+"/"+nick)
	g.carl.event("said", "body", body, "from", room+"/"+nick)
	g.bob.shows(body)
	g.eve.told(body)
}

// told waits until Poezio shows what was said in a room, which the server has
// to have sent once. Poezio itself may show it twice: live, and from its log,
// with which it fills what it gets from the archive.
func (p *poezio) told(body string) {
	p.t.Helper()
	p.shows(body)
	n := 0
	for line := range strings.Lines(p.all()) {
		if strings.Contains(line, "RECV: <message") && strings.Contains(line, "<body>"+body+"</body>") && !strings.Contains(line, "<result") {
			n++
		}
	}
	if n != 1 {
		p.t.Errorf("%q came to Poezio %d times", body, n)
	}
}

// everybody says something.
func (g *group) everybody(t *testing.T, what string) {
	t.Helper()
	g.ann.do("say", map[string]any{"room": room, "body": what + " of slixmpp"})
	g.hear(t, "Ann", what+" of slixmpp")
	g.bob.typeLine(what + " of Profanity")
	g.hear(t, "Bob", what+" of Profanity")
	g.carl.do("say", map[string]any{"body": what + " of aioxmpp"})
	g.hear(t, "Carl", what+" of aioxmpp")
	g.eve.typeLine(what + " of Poezio")
	g.hear(t, "Eve", what+" of Poezio")
	var archived []string
	for _, body := range g.ann.do("said", map[string]any{"room": room}).([]any) {
		if body != "" { // the subject
			archived = append(archived, body.(string))
		}
	}
	if !slices.Equal(archived, g.said) {
		t.Errorf("the archive has %q, said was %q", archived, g.said)
	}
}

func (g *group) talks(t *testing.T) {
	g.everybody(t, "a song")
	g.eve.typeLine("/topic Wednesday")
	g.ann.event("subject", "subject", "Wednesday")
	g.carl.event("subject", "subject", "Wednesday")
	g.bob.shows("Wednesday")
}

// renames: a name that somebody has is refused, a free one is everybody's to see.
func (g *group) renames(t *testing.T) {
	for _, nick := range []string{"Caroline", "Bob", "Carl"} { // aioxmpp does not tell that one is refused
		g.carl.do("rename", map[string]any{"nick": nick})
		if nick != "Bob" {
			g.ann.event("occupant", "nick", nick, "type", "available")
		}
	}
	g.eve.past()
	g.eve.typeLine("/nick Ann")
	g.eve.logs("<conflict")
	g.bob.typeLine("/nick Ann")
	g.bob.logs("<conflict")
	g.bob.typeLine("/nick Robert")
	g.ann.event("occupant", "nick", "Robert")
	g.bob.typeLine("/nick Bob")
	g.ann.event("occupant", "nick", "Bob", "type", "available")
}

// bookmarks: what the clients keep in their ways, others find.
func (g *group) bookmarks(t *testing.T) {
	g.bob.typeLine("/bookmark add " + room + " nick Bob autojoin on")
	g.bob.logs("storage:bookmarks")
	g.eve.past()
	g.eve.typeLine("/bookmark " + room + "/Eve true")
	g.eve.logs("bookmarks")
	for who, nick := range map[string]string{"bob": "Bob", "eve": "Eve"} {
		p := g.server.slixmppMore(t, who+"@localhost/other", g.server.port)
		p.until("the bookmark of "+who, func() bool {
			got, _ := p.try("published", map[string]any{"jid": who + "@localhost", "node": "urn:xmpp:bookmarks:1"})
			return strings.Contains(fmt.Sprint(got), room) && strings.Contains(fmt.Sprint(got), nick)
		})
		p.do("disconnect", nil)
	}
	// A Profanity that starts has the bookmark, enters, and shows what was said.
	g.bob.typeLine("/quit")
	g.ann.event("occupant", "nick", "Bob", "type", "unavailable")
	g.ann.do("say", map[string]any{"room": room, "body": "without Bob"})
	g.said = append(g.said, "without Bob")
	g.eve.told("without Bob")
	g.bob = g.server.profanityAt(g.root, "bob@localhost/prof", g.network.host(), g.network.port())
	g.bob.t = t
	g.ann.event("occupant", "nick", "Bob", "type", "available")
	g.bob.shows("Autojoined " + room) // only then is there a window of it
	g.bob.typeLine("/win 2")
	g.bob.shows("without Bob")
	g.everybody(t, "another song")
}

// outlivesServer: the room is there when the server has been killed, and
// clients find their way back into it.
func (g *group) outlivesServer(t *testing.T) {
	g.server.kill(t)
	g.ann.event("disconnected")
	g.eve.past()
	g.server.start(t)
	g.ann.do("reconnect", nil)
	g.ann.event("session_start")
	g.ann.do("available", nil)
	g.ann.do("enter", map[string]any{"room": room, "nick": "Ann"})
	for _, nick := range []string{"Bob", "Carl", "Eve"} {
		g.ann.event("occupant", "nick", nick, "affiliation", "member")
	}
	g.everybody(t, "after the end")
	if got := fmt.Sprint(g.ann.do("people", map[string]any{"room": room, "affiliation": "member"})); got != "[bob@localhost carl@localhost eve@localhost]" {
		t.Errorf("members are %s", got)
	}
}

func (g *group) removes(t *testing.T) {
	g.ann.do("role", map[string]any{"room": room, "nick": "Eve", "role": "none"})
	g.eve.shows("kicked")
	g.bob.shows("Eve has been kicked")
	g.carl.event("occupant", "nick", "Eve", "mode", "KICKED")
	g.ann.do("affiliation", map[string]any{"room": room, "affiliation": "outcast", "jid": "carl@localhost"})
	g.carl.event("exit", "mode", "BANNED")
	g.bob.shows("Carl has been banned")
	g.carl.refused("enter", map[string]any{"room": room, "nick": "Carl"})
	g.ann.do("affiliation", map[string]any{"room": room, "affiliation": "admin", "jid": "bob@localhost"})
	g.bob.logs(`affiliation="admin"`)
}
