// SPDX-License-Identifier: Apache-2.0

package administration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// server notes what it is asked to do.
type server struct {
	done []string
	fail error
}

func (s *server) note(what, name string) (jid.JID, error) {
	if s.fail != nil {
		return jid.JID{}, s.fail
	}
	s.done = append(s.done, what+" "+name)
	return jid.JID{}, nil
}

func (s *server) Find(name string) (jid.JID, error) { return jid.ParseBare(name) }

func (s *server) Create(_ context.Context, local, _, name string) (jid.JID, error) {
	return s.note("create "+local, name)
}

func (s *server) SetPassword(_ context.Context, name, _ string) (jid.JID, error) {
	return s.note("password", name)
}

func (s *server) SetEnabled(_ context.Context, name string, on bool) (jid.JID, error) {
	return s.note(fmt.Sprint("enabled ", on), name)
}

func (s *server) Delete(_ context.Context, name string) (jid.JID, error) {
	return s.note("delete", name)
}

// ask gives what the account is answered.
func (s *server) ask(t *testing.T, who, node, fields string) *xmlstream.Element {
	t.Helper()
	table, err := route.NewTable("localhost", Feature(Options{
		Admins: []string{"chief@localhost"}, Accounts: s, Count: func() int { return 7 },
		List:   func(string, int) ([]state.Account, error) { return nil, errors.New("damaged") },
		Online: func(int) ([]string, int) { return nil, 3 },
	}))
	if err != nil {
		t.Fatal(err)
	}
	from, err := jid.Parse(who)
	if err != nil {
		t.Fatal(err)
	}
	if fields != "" {
		fields = "<x xmlns='jabber:x:data' type='submit'>" + fields + "</x>"
	}
	iq, err := xmlstream.ParseElement([]byte("<iq xmlns='jabber:client' type='set' id='1' to='localhost'><command xmlns='"+stanza.NSCommands+
		"' node='"+prefix+node+"'>"+fields+"</command></iq>"), xmlstream.AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	effects := table.Decide(from, iq)
	if r, ok := effects[0].(route.Read); ok {
		effects = r.Do(t.Context())
	}
	return effects[0].(route.Reply).Stanza
}

func TestOnlyAdmins(t *testing.T) {
	s := &server{}
	field := "<field var='accountjids'><value>bob@localhost</value></field>"
	for _, who := range []string{"bob@localhost/x", "chief@localhost.example/x"} {
		if got := s.ask(t, who, "delete-user", field); got.Get("type") != "error" || len(s.done) > 0 {
			t.Errorf("%s may: %v", who, s.done)
		}
	}
	if got := s.ask(t, "chief@localhost/x", "delete-user", field); got.Get("type") != "result" || len(s.done) != 1 || s.done[0] != "delete bob@localhost" {
		t.Errorf("%v", s.done)
	}
}

func TestFormsAreFilledIn(t *testing.T) {
	s := &server{}
	for _, node := range []string{"add-user", "delete-user", "change-user-password", "disable-user", "reenable-user"} {
		if got := s.ask(t, "chief@localhost/x", node, ""); got.First().Get("status") != "executing" {
			t.Errorf("%s shows no form", node)
		}
		if got := s.ask(t, "chief@localhost/x", node, "<field var='x'/>"); got.Get("type") != "error" {
			t.Errorf("%s takes an empty form", node)
		}
	}
	many := "<field var='accountjids'>" + strings.Repeat("<value>a@localhost</value>", accountsMost+1) + "</field>"
	if got := s.ask(t, "chief@localhost/x", "disable-user", many); got.Get("type") != "error" {
		t.Error("too many accounts are taken")
	}
	if len(s.done) > 0 {
		t.Errorf("it did %v", s.done)
	}
}

func TestFailuresAreTold(t *testing.T) {
	s := &server{fail: stanza.Err(stanza.Cancel, stanza.ItemNotFound, "no such account")}
	one, two := "<value>a@localhost</value>", "<value>b@localhost</value>"
	if got := s.ask(t, "chief@localhost/x", "delete-user", "<field var='accountjids'>"+one+"</field>"); got.Get("type") != "error" {
		t.Error("nobody learns that it failed")
	}
	got := s.ask(t, "chief@localhost/x", "delete-user", "<field var='accountjids'>"+one+two+"</field>")
	if note := got.First().Child(stanza.NSCommands, "note").Text(); strings.Count(note, "no such account") != 2 {
		t.Errorf("note %q", note)
	}
	if got := s.ask(t, "chief@localhost/x", "get-registered-users-list", "<field var='max_items'><value>5</value></field>"); got.Get("type") != "error" {
		t.Error("damage is not told")
	}
}
