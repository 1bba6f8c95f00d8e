// SPDX-License-Identifier: Apache-2.0

package lastactivity

import (
	"context"
	"testing"
	"time"

	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is what is known of Bob, whom Ann asks about.
type world struct {
	subscription string
	here         bool
	left         time.Time
	blocked      bool
	hidden       bool
}

func (w *world) Blocked(string, string) (bool, error) { return w.blocked, nil }

func (w *world) Hidden(string) bool { return w.hidden }

func (w *world) Account(bare string) (state.Account, error) {
	return state.Account{JID: bare, Created: noon.Add(-48 * time.Hour)}, nil
}

func (w *world) RosterItem(string, string) (state.RosterItem, error) {
	if w.subscription == "" {
		return state.RosterItem{}, state.ErrNotFound
	}
	return state.RosterItem{Subscription: w.subscription}, nil
}

func (w *world) Left(string) (time.Time, error) {
	if w.left.IsZero() {
		return w.left, state.ErrNotFound
	}
	return w.left, nil
}

func (w *world) Presences(string) []*xmlstream.Element {
	if w.here {
		return []*xmlstream.Element{xmlstream.New(stanza.NSClient, "presence")}
	}
	return nil
}

func TestLastActivity(t *testing.T) {
	for name, x := range map[string]struct {
		world
		to, want string
	}{
		"uptime":             {world{}, "localhost", "60"},
		"own":                {world{}, "", "0"},
		"here":               {world{subscription: "both", here: true, left: noon.Add(-time.Hour)}, "bob@localhost", "0"},
		"gone":               {world{subscription: "from", left: noon.Add(-time.Hour)}, "bob@localhost", "3660"},
		"never here":         {world{subscription: "from"}, "bob@localhost", "172860"},
		"a clock went back":  {world{subscription: "from", left: noon.Add(time.Hour)}, "bob@localhost", "0"},
		"not subscribed":     {world{subscription: "to", here: true}, "bob@localhost", "forbidden"},
		"unknown":            {world{}, "bob@localhost", "forbidden"},
		"a device, unknown":  {world{}, "bob@localhost/x", "forbidden"},
		"blocked":            {world{subscription: "both", here: true, blocked: true}, "bob@localhost", "not-acceptable"},
		"a device, may know": {world{subscription: "both"}, "bob@localhost/x", "delivered"},
		"hides":              {world{subscription: "both", here: true, hidden: true}, "bob@localhost", "forbidden"},
		"a device, hides":    {world{subscription: "both", here: true, hidden: true}, "bob@localhost/x", "forbidden"},
	} {
		now := noon
		table, err := route.NewTable("localhost", Feature(&x.world, &x.world, func() time.Time { return now }))
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
		ann, err := jid.Parse("ann@localhost/x")
		if err != nil {
			t.Fatal(err)
		}
		iq := xmlstream.New(stanza.NSClient, "iq", "type", "get", "id", "1", "to", x.to).Add(xmlstream.New(stanza.NSLast, "query"))
		effects := table.Decide(ann, iq)
		if r, ok := effects[0].(route.Read); ok {
			effects = r.Do(context.Background())
		}
		var got string
		switch f := effects[0].(type) {
		case route.Deliver:
			got = "delivered"
		case route.Reply:
			if got = f.Stanza.First().Get("seconds"); got == "" {
				got = f.Stanza.First().First().Name.Local
			}
		}
		if got != x.want {
			t.Errorf("%s: %s, want %s", name, got, x.want)
		}
	}
}
