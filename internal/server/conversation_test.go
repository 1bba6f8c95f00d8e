// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

var update = flag.Bool("update", false, "rewrite what the server says in testdata/*.txtar") // immutable after flags are parsed

// TestConversations plays testdata/*.txtar against a real server, over TCP and
// WebSocket, on fresh streams and on resumed ones. Each file says of itself
// what it shows. Its script has one line for each step:
//
//	alice/phone login        log in, bind the resource; alice/phone+2 is another
//	                         connection for the same one
//	alice/phone auth         log in and no more
//	alice/phone C: <…/>      the client sends
//	alice/phone S: <…/>      the server sends, next
//	alice/phone S~ <…/>      the same; adjacent ones may come in any order
//	alice/phone PUT 201 {1} image/png text   puts a file to an address, which answers
//	alice/phone GET 200 {2} text             gets one
//	alice/phone long 300000  the client sends a message with a body of so many letters
//	alice/phone quiet        nothing more has come
//	alice/phone forgets word its own archive is asked until the word is nowhere in it
//	alice/phone cut          the connection breaks
//	alice/phone resume       … and comes back, resumed
//	alice/phone bye          the client closes its stream
//	alice/phone ended        the server closes the stream
//	alice/phone open         a stream, and no more
//	new/phone stranger       the same, of somebody who is yet to register
//	alice/phone sasl2 MECHANISM SECRET XML   log in by SASL2; SECRET is "password", another password with + for a space, or
//	                         a word; XML is what else the request has. The answer is the server's next line
//	alice/phone refused why  cannot log in: the SASL error condition
//	admin disable alice      the operator: also enable, delete, add, passwd (the new
//	                         password is "another password")
//	admin invite club 1h     an invite to a room, for one, whose token is {club}; admin revoke {club} takes it back
//	restart                  the server is stopped and started again
//
// Words in braces stand for what the server makes up: {1}, {2} … for ids in
// the order they are met, {time}, {n} for seconds, and {ver} for the version of
// a roster (what the client sends is the last one met). -update rewrites the S: lines.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, mode := range []struct {
		name       string
		ws, resume bool
	}{{"tcp/fresh", false, false}, {"websocket/fresh", true, false}, {"tcp/resumed", false, true}, {"websocket/resumed", true, true}} {
		t.Run(mode.name, func(t *testing.T) {
			for _, file := range files {
				t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
					t.Parallel() // each waits for its own server's election most of the time
					play(t, file, mode.ws, mode.resume)
				})
			}
		})
	}
}

// conversation is a script under way.
type conversation struct {
	t       *testing.T
	s       *testServer
	ws      bool
	resume  bool
	devices map[string]*device
	names   map[string]string // made-up value → its word
	values  map[string]string // word → value
	lines   []string
	group   []string // of S~ lines, not yet met
}

func play(t *testing.T, file string, ws, resume bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ar := txtar.Parse(b)
	if resume && strings.Contains(string(ar.Comment), "(fresh only)") {
		return
	}
	c := &conversation{t: t, ws: ws, resume: resume, devices: map[string]*device{}, names: map[string]string{}, values: map[string]string{}}
	c.s = startServer(t)
	for i := range ar.Files {
		if ar.Files[i].Name != "script" {
			continue
		}
		ar.Files[i].Data = []byte(c.script(string(ar.Files[i].Data)))
	}
	if *update && !ws && !resume {
		if err := os.WriteFile(file, txtar.Format(ar), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// script plays all lines and gives them with the S: lines as they came.
func (c *conversation) script(script string) string {
	lines := strings.Split(script, "\n")
	c.lines = slices.Clone(lines)
	for _, l := range lines { // accounts exist before anything happens
		if user, _, ok := strings.Cut(strings.Fields(l + " .")[0], "/"); ok && !strings.HasPrefix(l, "#") && !strings.Contains(script, user+"/phone stranger") {
			c.s.account(user)
		}
	}
	for i, l := range lines {
		switch {
		case l == "" || strings.HasPrefix(l, "#"):
		case l == "restart":
			c.s.restart()
		case strings.HasPrefix(l, "admin "):
			c.admin(strings.Fields(l)[1:])
		default:
			who, rest, ok := strings.Cut(l, " ")
			if !ok {
				c.t.Fatalf("line %d: %q is not a step", i+1, l)
			}
			lines[i] = who + " " + c.step(i+1, who, rest)
			if c.t.Failed() && !*update {
				c.t.FailNow()
			}
		}
	}
	return strings.Join(lines, "\n")
}

func (c *conversation) step(n int, who, rest string) string {
	d := c.devices[who]
	if d == nil && rest != "login" && rest != "auth" && rest != "open" && rest != "stranger" && !strings.HasPrefix(rest, "refused ") {
		c.t.Fatalf("line %d: %s has not logged in", n, who)
	}
	verb, arg, _ := strings.Cut(rest, " ")
	switch verb {
	case "login":
		c.login(who)
	case "refused":
		user, _, _ := strings.Cut(who, "/")
		if got := (&device{t: c.t, user: user, dial: c.s.dial(c.ws)}).refused(); got != arg {
			c.t.Errorf("line %d: %s, want %s", n, got, arg)
		}
	case "auth":
		d := c.device(who)
		d.login()
		d.listen()
	case "open", "stranger":
		c.device(who).open()
	case "sasl2":
		d.sasl2(c.fill(arg))
	case "C:":
		d.send(c.fill(arg))
	case "long":
		n, _ := strconv.Atoi(arg)
		d.send("<message to='localhost'><body>" + strings.Repeat("a", n) + "</body></message>")
	case "S:":
		return "S: " + c.expect(n, d, arg)
	case "S~":
		return "S~ " + c.unordered(n, who, d, arg)
	case "PUT", "GET":
		return verb + " " + c.web(n, verb, c.fill(arg), arg)
	case "quiet":
		c.quiet(n, d)
	case "forgets":
		c.forgets(n, d, arg)
	case "cut":
		d.pipe.cut()
	case "resume":
		d.resume()
		d.listen()
	case "bye":
		if c.ws {
			d.send("<close xmlns='" + stanza.NSFraming + "'/>")
		} else {
			d.send("</stream:stream>")
		}
	case "ended":
		for {
			el, ok := d.next()
			if !ok {
				return rest
			}
			if el == nil {
				c.t.Fatalf("line %d: the stream did not end", n)
			}
		}
	default:
		c.t.Fatalf("line %d: no such step: %q", n, verb)
	}
	return rest
}

func (c *conversation) device(who string) *device {
	user, resource, _ := strings.Cut(who, "/")
	resource, _, _ = strings.Cut(resource, "+")
	d := &device{t: c.t, user: user, resource: resource, dial: c.s.dial(c.ws)}
	c.devices[who] = d
	return d
}

func (c *conversation) login(who string) {
	d := c.device(who)
	d.login()
	d.bind()
	if c.resume {
		d.enable()
		d.pipe.cut()
		d.resume()
	}
	d.listen()
}

// web puts or gets a file and compares the answer.
func (c *conversation) web(n int, method, filled, line string) string {
	parts := strings.SplitN(filled, " ", 4)
	if len(parts) < 2 || method == "PUT" && len(parts) < 4 {
		c.t.Fatalf("line %d: no such step: %s %s", n, method, line)
	}
	want, content := strings.Join(parts[2:], " "), ""
	if method == "PUT" {
		want, content = "", parts[3]
	}
	req, err := http.NewRequest(method, parts[1], strings.NewReader(content))
	if err != nil {
		c.t.Fatal(err)
	}
	req.URL.Host = c.s.running.Addresses.HTTP // a restart has other ports
	if method == "PUT" {
		req.Header.Set("Content-Type", parts[2])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	code := fmt.Sprint(resp.StatusCode)
	if !*update && (code != parts[0] || resp.StatusCode == http.StatusOK && string(got) != want) {
		c.t.Errorf("line %d: %s answers %s %q", n, method, resp.Status, got)
	}
	_, rest, _ := strings.Cut(line, " ")
	return code + " " + rest
}

// expect compares the next element with a line.
func (c *conversation) expect(n int, d *device, want string) string {
	el, ok := d.next()
	if el == nil {
		c.t.Errorf("line %d: %s/%s got nothing (stream open: %v), want %s", n, d.user, d.resource, ok, want)
		return want
	}
	got := c.mask(el)
	if got != want && !*update {
		c.t.Errorf("line %d: %s/%s\n got %s\nwant %s", n, d.user, d.resource, got, want)
	}
	return got
}

// unordered takes the next element if it is in the group of the line.
func (c *conversation) unordered(n int, who string, d *device, want string) string {
	if *update {
		return c.expect(n, d, want)
	}
	if len(c.group) == 0 {
		for _, l := range c.lines[n-1:] {
			rest, ok := strings.CutPrefix(l, who+" S~ ")
			if !ok {
				break
			}
			c.group = append(c.group, rest)
		}
	}
	el, _ := d.next()
	got := c.mask(el)
	i := slices.Index(c.group, got)
	if i < 0 {
		c.t.Errorf("line %d: %s got %s\nwant one of %q", n, who, got, c.group)
		return want
	}
	c.group = slices.Delete(c.group, i, i+1)
	return want
}

// quiet has a ping answered and nothing else before.
func (c *conversation) quiet(n int, d *device) {
	d.send("<iq type='get' id='quiet' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
	el, _ := d.next()
	if el.Get("id") != "quiet" {
		c.t.Errorf("line %d: %s/%s got %s, want nothing", n, d.user, d.resource, text(el))
	}
}

// forgetsWithin bounds how long a word may be in an archive still.
const forgetsWithin = 20 * time.Second

// forgets asks for the device's archive until a word is nowhere in it.
func (c *conversation) forgets(n int, d *device, word string) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for until := time.Now().Add(forgetsWithin); time.Now().Before(until); <-again.C {
		d.send("<iq type='set' id='forgets'><query xmlns='urn:xmpp:mam:2'/></iq>")
		there := false
		for {
			el, _ := d.next()
			if el == nil || el.Get("id") == "forgets" {
				break
			}
			there = there || strings.Contains(text(el), word)
		}
		if !there {
			return
		}
	}
	c.t.Errorf("line %d: the archive of %s has %q still", n, d.user, word)
}

var (
	// generated is an id that the server makes for an item without one.
	generated = regexp.MustCompile(`^[A-Z2-7]{26}$`)

	// link is the end of an invite's addresses.
	link = regexp.MustCompile(`(http://localhost:\d+/i/|preauth=)[A-Z2-7]{26}`)
	word = regexp.MustCompile(`\{[a-z0-9]+\}`)
	// made are what the server makes up in the course of logins: the end of a
	// resource, a token for one more device, a recovery code.
	made = regexp.MustCompile(`(@localhost(?:/[^/<']*)?/[a-z2-7]{13}|\b(?:[a-z2-7]{28}|(?:[A-Z2-7]{4}-){6}[A-Z2-7]{4}))(['</])`)

	// secret is a client's token (XEP-0484).
	secret = regexp.MustCompile(` token='[A-Za-z0-9_-]{43}'`)

	stamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
)

// fill puts made-up values in for their words.
func (c *conversation) fill(line string) string {
	return word.ReplaceAllStringFunc(line, func(w string) string {
		if v, ok := c.values[w]; ok {
			return v
		}
		return w
	})
}

// mask serialises an element with words for what the server made up.
func (c *conversation) mask(e *xmlstream.Element) string {
	if e == nil {
		return "nothing"
	}
	e = e.Clone()
	c.maskIDs(e)
	out := text(e)
	for v, w := range c.names {
		if strings.HasPrefix(v, "http") {
			out = strings.ReplaceAll(out, v, w)
		}
	}
	out = made.ReplaceAllStringFunc(out, func(v string) string {
		last := len(v) - 1
		from := strings.LastIndexByte(v[:last], '/') + 1 // of a resource its end alone
		return v[:from] + c.name(v[from:last]) + v[last:]
	})
	out = secret.ReplaceAllStringFunc(out, func(v string) string {
		before, token, _ := strings.Cut(strings.TrimSuffix(v, "'"), "'")
		return before + "'" + c.name(token) + "'"
	})
	return stamp.ReplaceAllString(out, "{time}")
}

func (c *conversation) maskIDs(e *xmlstream.Element) {
	switch {
	case e.Is(stanza.NSSID, "stanza-id"), e.Is(stanza.NSMAM, "result"), e.Is(stanza.NSMAM, "start"), e.Is(stanza.NSMAM, "end"):
		e.Set("id", c.name(e.Get("id")))
	case e.Is(stanza.NSOccupantID, "occupant-id"), e.Is(stanza.NSRetract, "retract") && e.Child(stanza.NSModerate, "moderated") != nil,
		e.Is(stanza.NSFasten, "apply-to") && e.Child(stanza.NSModerate0, "moderated") != nil:
		e.Set("id", c.name(e.Get("id")))
	case e.Is(stanza.NSFiles, "file"):
		e.Set("id", c.name(e.Get("id")))
		if _, given := c.names[e.Get("url")]; !given { // of another port, before a restart
			e.Set("url", "{url}")
		}
	case e.Is(stanza.NSUpload, "put"), e.Is(stanza.NSUpload, "get"):
		e.Set("url", c.name(e.Get("url")))
	case e.Is(stanza.NSExtDisco, "service") && e.Get("username") != "":
		_, account, _ := strings.Cut(e.Get("username"), ":")
		e.Set("username", "{n}:"+account)
		e.Set("password", "*") // another one each second, as its username
	case e.Is(stanza.NSWebPush, "registered"):
		e.Set("node", c.name(e.Get("node")))
		e.Set("secret", c.name(e.Get("secret")))
	case e.Is(stanza.NSInbox, "entry") && e.Get("id") != "", e.Is(stanza.NSChats, "deleted"):
		e.Set("id", c.name(e.Get("id")))
	case e.Is(stanza.NSChats, "chat") && e.Get("read") != "":
		e.Set("read", c.name(e.Get("read")))
	case e.Is(stanza.NSRSM, "first"), e.Is(stanza.NSWebPush, "key"), e.Is(stanza.NSRSM, "last"):
		e.Children = []xmlstream.Node{{Text: c.name(e.Text())}}
	case e.Is(stanza.NSRoster, "query") && e.Get("ver") != "":
		c.values["{ver}"] = e.Get("ver")
		e.Set("ver", "{ver}")
	case e.Is(stanza.NSLast, "query") && e.Get("seconds") != "":
		e.Set("seconds", "{n}")
	case e.Is(stanza.NSStream, "features"):
		if caps := e.Child(stanza.NSCaps, "c"); caps != nil {
			caps.Set("ver", "{caps}")
		}
	case e.Is(stanza.NSSASL2, "additional-data"):
		e.Children = []xmlstream.Node{{Text: "*"}}
	case e.Is(stanza.NSCAM, "client"):
		e.Set("id", c.name(e.Get("id")))
	case e.Is(stanza.NSSM, "enabled"):
		e.Set("id", c.name(e.Get("id")))
	case e.Is(stanza.NSSM, "resumed"):
		e.Set("previd", c.name(e.Get("previd")))
	}
	if e.Name.Local == "item" && generated.MatchString(e.Get("id")) {
		e.Set("id", c.name(e.Get("id")))
	}
	if e.Child(stanza.NSRetract, "retract").Child(stanza.NSModerate, "moderated") != nil {
		e.Set("id", c.name(e.Get("id")))
	}
	if e.Is(stanza.NSData, "field") {
		c.maskLink(e)
	}
	if strings.HasPrefix(e.Get("id"), "push-") {
		e.Set("id", "{push}")
	}
	for _, child := range e.Elements() {
		c.maskIDs(child)
	}
}

// maskLink masks what a field says of an invite.
func (c *conversation) maskLink(e *xmlstream.Element) {
	value := e.Child(stanza.NSData, "value")
	text := value.Text()
	switch name := e.Get("var"); {
	case name == "token", name == "id" && len(text) == 16:
		value.Children = []xmlstream.Node{{Text: c.name(text)}}
	case name == "uri", name == "landing-url":
		value.Children = []xmlstream.Node{{Text: link.ReplaceAllString(text, "{link}")}}
	}
}

func (c *conversation) name(v string) string {
	w, ok := c.names[v]
	if !ok {
		w = fmt.Sprintf("{%d}", len(c.names)+1)
		c.names[v], c.values[w] = w, v
	}
	return w
}

// account makes an account if it is not there yet.
func (s *testServer) account(local string) {
	s.t.Helper()
	if s.made[local] {
		return
	}
	s.made[local] = true
	if _, err := s.running.Admin.AddUser(context.Background(), userNamed(local)); err != nil {
		s.t.Fatal(err)
	}
}
