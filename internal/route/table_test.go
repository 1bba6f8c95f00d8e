// SPDX-License-Identifier: Apache-2.0

package route_test

import (
	"crypto/sha1"
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

func parse(t *testing.T, s string) *xmlstream.Element {
	t.Helper()
	el, err := xmlstream.ParseElement([]byte(s), xmlstream.AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	return el
}

func from(t *testing.T) jid.JID {
	t.Helper()
	j, err := jid.Parse("alice@localhost/phone")
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// echo answers which target its handler was called for.
func echo(r *route.Request) []route.Effect {
	names := map[route.Target]string{
		route.ToServer: "server", route.ToSelf: "self", route.ToAccount: "account", route.ToSession: "session", route.ToRemote: "remote",
	}
	return []route.Effect{route.Answered{ID: names[r.Target]}}
}

func table(t *testing.T) *route.Table {
	t.Helper()
	all := route.ToServer | route.ToSelf | route.ToAccount
	tab, err := route.NewTable("localhost", route.Feature{
		Name: "echo",
		Entries: []route.Entry{
			{Key: route.Key{Stanza: "iq", Type: "get", Payload: xmlstream.Name{Space: "urn:echo", Local: "q"}}, Targets: all, Handle: echo},
			{Key: route.Key{Stanza: "message", Type: ""}, Targets: all | route.ToSession, Handle: echo},
		},
		Domain: []string{"urn:echo"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func TestTargets(t *testing.T) {
	tab := table(t)
	for to, want := range map[string]string{
		"": "self", "to='alice@localhost'": "self", "to='ALICE@localhost'": "self", "to='localhost'": "server",
		"to='bob@localhost'": "account",
	} {
		effects := tab.Decide(from(t), parse(t, "<iq xmlns='jabber:client' type='get' id='1' "+to+"><q xmlns='urn:echo'/></iq>"))
		if a, ok := effects[0].(route.Answered); !ok || a.ID != want {
			t.Errorf("%s: %#v, want %s", to, effects[0], want)
		}
	}
}

// What the RFC answers with an error is answered with that error.
func TestRefusals(t *testing.T) {
	tab := table(t)
	for _, tc := range []struct {
		name, stanza string
		want         stanza.Condition
	}{
		{"unknown payload", "<iq xmlns='jabber:client' type='get' id='1'><x xmlns='urn:unknown'/></iq>", stanza.ServiceUnavailable},
		{"no child", "<iq xmlns='jabber:client' type='get' id='1'/>", stanza.BadRequest},
		{"two children", "<iq xmlns='jabber:client' type='set' id='1'><a/><b/></iq>", stanza.BadRequest},
		{"no id", "<iq xmlns='jabber:client' type='get'><q xmlns='urn:echo'/></iq>", stanza.BadRequest},
		{"no type", "<iq xmlns='jabber:client' id='1'><q xmlns='urn:echo'/></iq>", stanza.BadRequest},
		{"bad type", "<iq xmlns='jabber:client' type='put' id='1'><q xmlns='urn:echo'/></iq>", stanza.BadRequest},
		{"bad address", "<iq xmlns='jabber:client' type='get' id='1' to='@@'><q xmlns='urn:echo'/></iq>", stanza.JIDMalformed},
		{"other domain", "<iq xmlns='jabber:client' type='get' id='1' to='elsewhere.example'><q xmlns='urn:echo'/></iq>", stanza.RemoteServerNotFound},
		{"message to another domain", "<message xmlns='jabber:client' to='bob@elsewhere.example'/>", stanza.RemoteServerNotFound},
		{"groupchat to an account", "<message xmlns='jabber:client' type='groupchat' to='bob@localhost'/>", stanza.ServiceUnavailable},
	} {
		effects := tab.Decide(from(t), parse(t, tc.stanza))
		if len(effects) != 1 {
			t.Errorf("%s: %d effects", tc.name, len(effects))
			continue
		}
		r, ok := effects[0].(route.Reply)
		if !ok || r.Stanza.Get("type") != "error" || r.Stanza.Child(stanza.NSClient, "error").Child(stanza.NSStanzaError, string(tc.want)) == nil {
			t.Errorf("%s: %#v, want %s", tc.name, effects[0], tc.want)
		}
	}
}

// RFC 6121 §5.2.2.
func TestMessageOfAnUnknownTypeIsNormal(t *testing.T) {
	for _, typ := range []string{"odd", "CHAT"} {
		got := table(t).Decide(from(t), parse(t, "<message xmlns='jabber:client' type='"+typ+"' to='bob@localhost'/>"))
		want := table(t).Decide(from(t), parse(t, "<message xmlns='jabber:client' to='bob@localhost'/>"))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, want %#v", typ, got, want)
		}
	}
}

// An error is never answered with an error (RFC 6120 §8.3.1).
// How far a message's sender has read goes with the command of the message.
func TestDisplayedGoesWithTheMessage(t *testing.T) {
	publish := &command.PubsubPublish{Item: "bob@localhost"}
	said := func(*route.Request) []route.Effect {
		return []route.Effect{route.Append{Command: &command.Command{Request: &command.Command_Message{Message: &command.Message{Id: "m"}}}}}
	}
	tab, err := route.NewTable("localhost", route.Feature{
		Name:     "displayed",
		Messages: func(*route.Request) []route.Effect { return []route.Effect{route.Displayed{Publish: publish}} },
		Entries: []route.Entry{
			{Key: route.Key{Stanza: "message", Type: "chat"}, Targets: route.ToAccount, Handle: said},
			{Key: route.Key{Stanza: "message", Type: ""}, Targets: route.ToAccount, Handle: func(*route.Request) []route.Effect { return nil }},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for typ, message := range map[string]string{"chat": "m", "normal-of-some-kind": ""} {
		effects := tab.Decide(from(t), parse(t, "<message xmlns='jabber:client' type='"+typ+"' to='bob@localhost'/>"))
		if len(effects) != 1 {
			t.Fatalf("%s: %d effects", typ, len(effects))
		}
		c := effects[0].(route.Append).Command
		if c.Displayed != publish || c.Level != 1 || c.GetMessage().GetId() != message {
			t.Errorf("%s: %v", typ, c)
		}
	}
}

func TestErrorsAreNotAnswered(t *testing.T) {
	tab := table(t)
	for _, s := range []string{
		"<iq xmlns='jabber:client' type='error' id='1' to='@@'/>",
		"<iq xmlns='jabber:client' type='result' id='1' to='elsewhere.example'/>",
		"<message xmlns='jabber:client' type='error' to='bob@elsewhere.example'/>",
	} {
		for _, e := range tab.Decide(from(t), parse(t, s)) {
			if _, ok := e.(route.Reply); ok {
				t.Errorf("%s is answered", s)
			}
		}
	}
}

// The sender cannot say who it is.
func TestFromIsOverwritten(t *testing.T) {
	st := parse(t, "<message xmlns='jabber:client' from='mallory@localhost/x' to='bob@localhost'/>")
	table(t).Decide(from(t), st)
	if got := st.Get("from"); got != "alice@localhost/phone" {
		t.Errorf("from is %q", got)
	}
}

func TestNewTableRefusesDoubleClaims(t *testing.T) {
	f := route.Feature{Name: "a", Entries: []route.Entry{{Key: route.Key{Stanza: "message"}, Targets: route.ToSelf, Handle: echo}}}
	if _, err := route.NewTable("localhost", f, f); err == nil {
		t.Error("two features with one key are accepted")
	}
}

// What the stream features advertise can be asked for (XEP-0115 §discover @1.6.0).
func TestCapsAreAskedForByTheirNode(t *testing.T) {
	tab := table(t)
	features := tab.StreamFeatures()
	c := features[len(features)-1]
	node := c.Get("node") + "#" + c.Get("ver")
	effects := tab.Decide(from(t), parse(t, "<iq xmlns='jabber:client' type='get' id='1' to='localhost'><query xmlns='"+stanza.NSDiscoInfo+"' node='"+node+"'/></iq>"))
	r, ok := effects[0].(route.Reply)
	if !ok || r.Stanza.Get("type") != "result" || r.Stanza.First().Get("node") != node {
		t.Errorf("the advertised node %s is answered with %#v", node, effects[0])
	}
}

// The hash that the stream announces is that of what the domain answers, forms
// included (XEP-0115 §ver-gen @1.6.0).
func TestCapsFollowDiscovery(t *testing.T) {
	form := route.Form("urn:form", route.FormField{Name: "b", Values: []string{"2", "1"}}, route.FormField{Name: "none"}, route.FormField{Name: "a", Values: []string{"x"}})
	seen := map[string]bool{}
	for _, forms := range [][]*xmlstream.Element{nil, {form}} {
		tab, err := route.NewTable("localhost", route.Feature{Name: "f", Domain: []string{"urn:f"}, Forms: forms})
		if err != nil {
			t.Fatal(err)
		}
		all := tab.StreamFeatures()
		c := all[len(all)-1]
		ask := "<iq xmlns='jabber:client' type='get' id='1' to='localhost'><query xmlns='" + stanza.NSDiscoInfo + "' node='" + c.Get("node") + "#" + c.Get("ver") + "'/></iq>"
		answer := tab.Decide(from(t), parse(t, ask))[0].(route.Reply).Stanza.Child(stanza.NSDiscoInfo, "query")
		s, ok := route.CapsString(answer)
		sum := sha1.Sum([]byte(s))
		if ver := base64.StdEncoding.EncodeToString(sum[:]); !ok || ver != c.Get("ver") || seen[ver] {
			t.Errorf("%d forms: %s is announced, %q hashes to %s", len(forms), c.Get("ver"), s, ver)
		}
		if len(forms) > 0 && !strings.HasSuffix(s, "<urn:form<a<x<b<1<2<") {
			t.Errorf("hashed is %q", s)
		}
		seen[c.Get("ver")] = true
	}
}
