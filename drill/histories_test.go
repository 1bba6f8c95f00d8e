// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// A story is what some people do, one thing after the other. Whatever runs it, a server or a
// cell whose nodes do not hear each other now and then, in the end the same is there.
type (
	story []scene
	scene struct {
		who  int
		what string
		do   func(context.Context, *teller) (outcome string, err error)
	}
)

// told is one run of a story: what came of each scene, and what each person has in the end.
type told struct {
	outcomes []string
	left     map[string][]string // by person; what each node gives is the same
}

// teller is a person in a story.
type teller struct {
	*member
	session *client.Session
	place   *rand.Rand
	heard   []*xmlstream.Element // answers to queries that come as messages; guarded by member.mu
}

// makeUp draws a story.
func makeUp(seed uint64, people, scenes int) story {
	random := generator(seed, 77)
	var s story
	said := make([][]*client.Outgoing, people)
	for n := range scenes {
		who, other := random.IntN(people), random.IntN(people)
		to := "member" + strconv.Itoa(other) + "@localhost"
		id := fmt.Sprintf("scene-%d", n)
		message := func(what string, o *client.Outgoing) {
			said[who] = append(said[who], o)
			s = append(s, scene{who, fmt.Sprintf("member%d %s %s", who, what, o.To), func(ctx context.Context, t *teller) (string, error) { return t.say(ctx, o) }})
		}
		request := func(what string, iq func() *xmlstream.Element) {
			s = append(s, scene{who, what, func(ctx context.Context, t *teller) (string, error) { return t.ask(ctx, iq) }})
		}
		var earlier *client.Outgoing
		if len(said[who]) > 0 {
			earlier = said[who][random.IntN(len(said[who]))]
		}
		about := func(name xmlstream.Name, body string) *client.Outgoing {
			o := client.NewMessageID(id, earlier.To, body)
			o.Type = earlier.Type
			o.Payload = append(o.Payload, xmlstream.New(name.Space, name.Local, "id", earlier.ID))
			return o
		}
		switch kind := random.IntN(16); {
		case kind < 5:
			message("writes to", client.NewMessageID(id, to, "scene "+strconv.Itoa(n)))
		case kind < 9:
			o := client.NewMessageID(id, groupAddress, "to all, in scene "+strconv.Itoa(n))
			o.Type = "groupchat"
			message("says in", o)
		case kind == 9 && earlier != nil:
			message("corrects what was said to", about(xmlstream.Name{Space: stanza.NSCorrect, Local: "replace"}, "better, in scene "+strconv.Itoa(n)))
		case kind == 10 && earlier != nil && earlier.Type == "chat":
			message("takes back what was said to", about(xmlstream.Name{Space: stanza.NSRetract, Local: "retract"}, ""))
		case kind == 11 && earlier != nil:
			o := about(xmlstream.Name{Space: stanza.NSReactions, Local: "reactions"}, "")
			o.Payload[0].Add(xmlstream.NewText(stanza.NSReactions, "reaction", "👍"))
			message("reacts in", o)
		case kind == 12 && earlier != nil:
			repeated := client.NewMessageID(earlier.ID, earlier.To, earlier.Body)
			repeated.Type, repeated.Payload = earlier.Type, earlier.Payload
			s = append(s, scene{who, "it comes once more", func(ctx context.Context, t *teller) (string, error) { return t.say(ctx, repeated) }})
		case kind == 13:
			block := []string{"block", "unblock"}[random.IntN(2)]
			request(fmt.Sprintf("member%d %ss %s", who, block, to), func() *xmlstream.Element {
				return xmlstream.New(stanza.NSClient, "iq", "type", "set").Add(
					xmlstream.New(stanza.NSBlocking, block).Add(xmlstream.New(stanza.NSBlocking, "item", "jid", to)))
			})
		case kind == 14 && other > 0 && other != who: // who demotes themselves cannot do it twice
			affiliation := []string{"member", "none", "admin"}[random.IntN(3)]
			request(fmt.Sprintf("member%d makes %s %s", who, to, affiliation), func() *xmlstream.Element {
				return xmlstream.New(stanza.NSClient, "iq", "type", "set", "to", groupAddress).Add(
					xmlstream.New(stanza.NSMUCAdmin, "query").Add(xmlstream.New(stanza.NSMUCAdmin, "item", "jid", to, "affiliation", affiliation)))
			})
		default:
			request(fmt.Sprintf("member%d stores scene %d", who, n), func() *xmlstream.Element {
				return xmlstream.New(stanza.NSClient, "iq", "type", "set").Add(
					xmlstream.New(stanza.NSPrivate, "query").Add(xmlstream.NewText(nsHand, "held", strconv.Itoa(n))))
			})
		}
	}
	return s
}

// reach gives a session, through any node.
func (t *teller) reach(ctx context.Context) (*client.Session, error) {
	for {
		if t.session != nil && t.session.Err() == nil {
			return t.session, nil
		}
		t.leave()
		s, err := t.dial(ctx, t.place.IntN(len(t.d.places)))
		if err == nil {
			t.session = s
			return s, nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("%s gets in nowhere: %w", t.account, err)
		}
	}
}

func (t *teller) dial(ctx context.Context, where int) (*client.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return client.Dial(ctx, t.config(where))
}

func (t *teller) config(where int) client.Config {
	return client.Config{
		JID: t.account, Password: t.d.password, Resource: "story", Keys: &t.keys, Addr: t.d.at(where).c2s,
		Handler: client.Handler{Presence: t.let, Message: func(in *client.Inbound) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.heard = append(t.heard, in.Stanza)
		}},
	}
}

// let is told whether it may enter the room.
func (t *teller) let(e *xmlstream.Element) {
	if e.Get("from") == groupAddress+"/"+t.name() && e.Get("type") != "unavailable" {
		wake(t.entered)
	}
}

func (t *teller) leave() {
	if t.session != nil {
		t.session.Cut()
		t.session = nil
	}
}

// say sends a message until it is known what became of it.
func (t *teller) say(ctx context.Context, o *client.Outgoing) (string, error) {
	for {
		s, err := t.reach(ctx)
		if err != nil {
			return "", err
		}
		trying, cancel := context.WithTimeout(ctx, requestTimeout)
		if o.Type == "groupchat" {
			err = t.enter(trying, s) // who is no member is refused, and says it all the same
		}
		if err == nil && s.Send(trying, o) == nil {
			select {
			case <-o.Settled():
			case <-s.Done():
			case <-trying.Done():
			}
		}
		cancel()
		switch o.State() {
		case client.Ticked:
			return "ticked", nil
		case client.Refused:
			return "refused", nil
		default:
			t.leave()
		}
	}
}

// ask sends a request until it is answered: all of them come to the same if repeated.
func (t *teller) ask(ctx context.Context, iq func() *xmlstream.Element) (string, error) {
	for {
		s, err := t.reach(ctx)
		if err != nil {
			return "", err
		}
		trying, cancel := context.WithTimeout(ctx, requestTimeout)
		_, err = s.IQ(trying, iq())
		cancel()
		var refused *stanza.Error
		switch {
		case err == nil:
			return "done", nil
		case errors.As(err, &refused) && refused.Type != stanza.Wait:
			return "refused: " + string(refused.Condition), nil
		default:
			t.leave()
		}
	}
}

// tell runs a story.
func (d *killing) tell(ctx context.Context, s story) (*told, error) {
	var people []*teller
	for i, m := range d.group.members {
		people = append(people, &teller{member: m, place: generator(d.cfg.Seed, uint64(2000+i))})
	}
	out := &told{left: map[string][]string{}}
	for n, scene := range s {
		outcome, err := scene.do(ctx, people[scene.who])
		if err != nil {
			return nil, fmt.Errorf("scene %d, %s: %w", n, scene.what, err)
		}
		out.outcomes = append(out.outcomes, fmt.Sprintf("%d, %s: %s", n, scene.what, outcome))
	}
	for _, t := range people {
		t.leave()
		for where := range d.places {
			left, err := t.has(ctx, where)
			if err != nil {
				return nil, fmt.Errorf("what %s has, through node %d: %w", t.account, where, err)
			}
			if first := out.left[t.account]; first == nil {
				out.left[t.account] = left
			} else if at := difference(first, left); at != "" {
				return nil, fmt.Errorf("%s has something else through node %d than through the first: %s", t.account, where, at)
			}
		}
	}
	return out, nil
}

// has reads all that a person has, through one node.
func (t *teller) has(ctx context.Context, where int) ([]string, error) {
	var all []string
	r := &returning{config: t.config(where)}
	defer r.cut()
	err := r.ask(ctx, func(ctx context.Context, s *client.Session) (err error) {
		all, err = t.read(ctx, s)
		return err
	})
	return all, err
}

func (t *teller) read(ctx context.Context, s *client.Session) ([]string, error) {
	alike := aliases{}
	var all []string
	archive, err := s.ArchiveForwards(ctx, client.Query{Max: 250})
	if err != nil {
		return nil, err
	}
	for _, in := range archive {
		all = append(all, "in the archive "+alike.of(in.ArchiveID)+": "+alike.render(in.Stanza))
	}
	iq := func(kind, to string, payload *xmlstream.Element) error {
		t.mu.Lock()
		t.heard = nil
		t.mu.Unlock()
		e := xmlstream.New(stanza.NSClient, "iq", "type", kind)
		if to != "" {
			e.Set("to", to)
		}
		answer, err := s.IQ(ctx, e.Add(payload))
		var refused *stanza.Error
		if errors.As(err, &refused) && refused.Type != stanza.Wait {
			all = append(all, payload.Name.Space+" is refused: "+string(refused.Condition))
			return nil
		}
		if err != nil {
			return err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, e := range append(t.heard, answer) {
			all = append(all, alike.render(e))
		}
		return nil
	}
	whole := xmlstream.New(stanza.NSRSM, "set").Add(xmlstream.NewText(stanza.NSRSM, "max", "250"))
	err = errors.Join(
		iq("set", groupAddress, xmlstream.New(stanza.NSMAM, "query").Add(whole)),
		iq("get", "", xmlstream.New(stanza.NSInbox, "inbox")),
		iq("get", "", xmlstream.New(stanza.NSBlocking, "blocklist")),
		iq("get", "", xmlstream.New(stanza.NSPrivate, "query").Add(xmlstream.New(nsHand, "held"))),
		iq("get", groupAddress, xmlstream.New(stanza.NSMUCAdmin, "query").Add(xmlstream.New(stanza.NSMUCAdmin, "item", "affiliation", "member"))),
		iq("get", groupAddress, xmlstream.New(stanza.NSMUCAdmin, "query").Add(xmlstream.New(stanza.NSMUCAdmin, "item", "affiliation", "admin"))),
	)
	return all, err
}

// aliases are short names, in order of appearance, for what each server makes up itself.
type aliases map[string]string

func (a aliases) of(id string) string {
	if id != "" && a[id] == "" {
		a[id] = "#" + strconv.Itoa(len(a)+1)
	}
	return a[id]
}

// render writes a stanza without what depends on when and where it was made.
func (a aliases) render(e *xmlstream.Element) string {
	var b strings.Builder
	a.write(&b, e, true)
	return b.String()
}

func (a aliases) write(b *strings.Builder, e *xmlstream.Element, outer bool) {
	b.WriteString("<" + e.Name.Local)
	attrs := slices.Clone(e.Attr)
	slices.SortFunc(attrs, func(x, y xmlstream.Attr) int { return strings.Compare(x.Name.Local, y.Name.Local) })
	for _, attr := range attrs {
		value, made := attr.Value, e.Name.Local != "origin-id" && e.Name.Local != "message" && e.Name.Space != stanza.NSCorrect && e.Name.Space != stanza.NSReactions
		switch {
		case attr.Name.Local == "stamp", attr.Name.Local == "queryid", attr.Name.Local == "id" && outer:
			continue
		case (attr.Name.Local == "id" || attr.Name.Local == "read") && made && !strings.HasPrefix(value, "scene-"):
			value = a.of(value)
		}
		fmt.Fprintf(b, " %s=%q", attr.Name.Local, value)
	}
	b.WriteString(">")
	for _, c := range e.Children {
		switch text := c.Text; {
		case c.Element != nil:
			a.write(b, c.Element, false)
		case e.Name.Space == stanza.NSRSM && e.Name.Local != "count":
			b.WriteString(a.of(text))
		default:
			b.WriteString(text)
		}
	}
	b.WriteString("</>")
}

// difference gives the first line that is not alike, "" if all are.
func difference(a, b []string) string {
	for i := range max(len(a), len(b)) {
		line := func(of []string) string {
			if i < len(of) {
				return of[i]
			}
			return "nothing more"
		}
		if line(a) != line(b) {
			return fmt.Sprintf("line %d:\n%s\n%s", i, line(a), line(b))
		}
	}
	return ""
}

// TestHistories: the same story, told to one server, to a cell of three, and to one whose
// nodes lose each other meanwhile, ends alike: each step comes to the same, and archives, chat
// lists, blocklists, what is stored and who is in the room are the same, through each node.
func TestHistories(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	base := ready(t, KillConfig{Kills: 1 << 20, UpMin: 50 * time.Millisecond, UpMax: 300 * time.Millisecond, Accounts: 2, Group: 4})
	const scenes = 120
	story := func() story { return makeUp(base.Seed, base.Group, scenes) } // anew: each message knows what became of it
	cell := func(harm bool) (*told, error) {
		cfg := CellConfig{KillConfig: base, Nodes: 3, Harm: HarmCut, DownMax: time.Second}
		cfg.Dir = t.TempDir()
		d := newCelled(cfg)
		defer d.end()
		if err := d.begin(ctx); err != nil {
			return nil, err
		}
		if !harm {
			return d.tell(ctx, story())
		}
		harming, heal := context.WithCancel(ctx)
		healed := make(chan error, 1)
		go func() { healed <- d.disturb(harming) }()
		out, err := d.tell(ctx, story())
		heal()
		if harm := <-healed; !errors.Is(harm, context.Canceled) {
			err = errors.Join(err, harm)
		}
		t.Logf("%d cuts", d.report.NetworkCuts)
		return out, err
	}
	alone := func() (*told, error) {
		cfg := base
		cfg.Dir = t.TempDir()
		cfg.defaults()
		d := newKilling(cfg)
		if err := d.prepare(ctx); err != nil {
			return nil, err
		}
		defer func() { d.node.Kill() }()
		if err := d.group.open(ctx); err != nil {
			return nil, err
		}
		return d.tell(ctx, story())
	}
	one, err := alone()
	if err != nil {
		t.Fatal(err)
	}
	three, err := cell(false)
	if err != nil {
		t.Fatal(err)
	}
	cut, err := cell(true)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for i, other := range []*told{three, cut} {
		what := []string{"three nodes", "three nodes that are cut from each other"}[i]
		if at := difference(one.outcomes, other.outcomes); at != "" {
			t.Errorf("%s did something else than one: %s", what, at)
		}
		for account, left := range one.left {
			if lines += len(left); len(left) < 10 {
				t.Errorf("%s has only %v", account, left)
			}
			if at := difference(left, other.left[account]); at != "" {
				t.Errorf("%s has something else with %s than with one: %s", account, what, at)
			}
		}
	}
	t.Logf("%d scenes, compared %d lines", scenes, lines)
}
