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

func (s *server) RemoveReport(_ context.Context, number uint64) error {
	_, err := s.note("report", fmt.Sprint(number))
	return err
}

// reports gives two, numbers 9 and 8.
func (s *server) reports(before uint64, most int) (page []state.Report, all int, err error) {
	for n := uint64(9); n > 7; n-- {
		if (before == 0 || n < before) && len(page) < most {
			page = append(page, state.Report{
				Number: n, By: "ann@localhost", JID: "eve@localhost", Reason: "urn:xmpp:reporting:spam", Text: "a <b>",
				Messages: []state.ReportedMessage{{By: "ann@localhost", ID: "m1"}, {By: "ann@localhost", ID: "m2"}},
			})
		}
	}
	return page, 2, nil
}

// ask gives what the account is answered.
func (s *server) ask(t *testing.T, who, node, fields string) *xmlstream.Element {
	t.Helper()
	table, err := route.NewTable("localhost", Feature(Options{
		Admins: []string{"chief@localhost"}, Accounts: s, Count: func() int { return 7 },
		List:   func(string, int) ([]state.Account, error) { return nil, errors.New("damaged") },
		Online: func(int) ([]string, int) { return nil, 3 }, Reports: s.reports,
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
		"' node='"+(&form{node: node}).address()+"'>"+fields+"</command></iq>"), xmlstream.AfterAuth)
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

func TestReportsAreListed(t *testing.T) {
	s := &server{}
	rows := func(fields string) (numbers []string) {
		got := s.ask(t, "chief@localhost/x", stanza.NSReports, "<field var='FORM_TYPE'><value>"+stanza.NSReports+"</value></field>"+fields)
		x := got.First().Child(stanza.NSData, "x")
		for _, e := range x.Elements() {
			if !e.Is(stanza.NSData, "item") {
				continue
			}
			f := e.Elements()
			if len(f) != len(columns()) || f[5].First().Text() != "a <b>" || len(f[6].Elements()) != 2 {
				t.Errorf("%v", e)
			}
			numbers = append(numbers, f[0].First().Text())
		}
		return numbers
	}
	if got := rows(""); strings.Join(got, " ") != "9 8" {
		t.Errorf("reports %v", got)
	}
	if got := rows("<field var='max_items'><value>1</value></field>"); strings.Join(got, " ") != "9" {
		t.Errorf("reports %v", got)
	}
	if got := rows("<field var='before'><value>9</value></field>"); strings.Join(got, " ") != "8" {
		t.Errorf("reports %v", got)
	}
	for _, bad := range []string{"0", "x", "-1"} {
		if got := s.ask(t, "chief@localhost/x", stanza.NSReports, "<field var='before'><value>"+bad+"</value></field>"); got.Get("type") != "error" {
			t.Errorf("before %s is taken", bad)
		}
	}
	if got := s.ask(t, "bob@localhost/x", stanza.NSReports, "<field var='x'/>"); got.Get("type") != "error" {
		t.Error("everybody sees them")
	}
	numbers := "<field var='numbers'><value>8</value><value>9</value></field>"
	if got := s.ask(t, "chief@localhost/x", stanza.NSReports+"#remove", numbers); got.Get("type") != "result" || strings.Join(s.done, ", ") != "report 8, report 9" {
		t.Errorf("removed %v", s.done)
	}
	if got := s.ask(t, "chief@localhost/x", stanza.NSReports+"#remove", "<field var='numbers'><value>all</value></field>"); got.Get("type") != "error" {
		t.Error("all is a number")
	}
	s.fail = stanza.Err(stanza.Cancel, stanza.ItemNotFound, "no such report")
	got := s.ask(t, "chief@localhost/x", stanza.NSReports+"#remove", numbers)
	if note := got.First().Child(stanza.NSCommands, "note").Text(); strings.Count(note, "no such report") != 2 {
		t.Errorf("note %q", note)
	}
}
