// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"strings"
	"testing"
	"time"

	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// What others compute of the same: `printf 1893456000:alice | openssl dgst -sha1
// -hmac north -binary | base64`.
func TestCredentialsAreWhatTURNServersExpect(t *testing.T) {
	for _, k := range []struct {
		secret, account string
		ends            int64
		name, password  string
	}{
		{"north", "alice", 1893456000, "1893456000:alice", "MME/7rvfb/gOjpkB59+7AxlCLvk="},
		{"logen", "1234", 1456904882, "1456904882:1234", "iQlv3GLTvCQfFbXYJKyfpptnCvQ="},
	} {
		name, password := credentials([]byte(k.secret), k.account, time.Unix(k.ends, 0))
		if name != k.name || password != k.password {
			t.Errorf("%s, %s; want %s, %s", name, password, k.name, k.password)
		}
	}
}

func TestAccountsAreNamedAlikeAndNotByTheirAddress(t *testing.T) {
	a := account([]byte("north"), "alice@example.org")
	if a != account([]byte("north"), "alice@example.org") || a == account([]byte("north"), "bob@example.org") || a == account([]byte("south"), "alice@example.org") {
		t.Error("an account has one name, and of each secret another")
	}
	if len(a) != 20 || strings.Contains(a, "alice") {
		t.Errorf("the name is %s", a)
	}
}

func TestNothingIsAdvertisedWithoutServers(t *testing.T) {
	if f := Feature(Options{}); len(f.Domain)+len(f.Entries) != 0 {
		t.Errorf("%+v", f)
	}
}

func TestExpires(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 5, time.FixedZone("", 3600))
	f := Feature(Options{Servers: []Server{{"turn", "t.example", 3478, "udp"}}, Secret: []byte("north"), Lifetime: time.Hour, Now: func() time.Time { return now }})
	st, err := xmlstream.ParseElement([]byte("<iq xmlns='jabber:client' type='get' id='1'><services xmlns='urn:xmpp:extdisco:2'/></iq>"), xmlstream.AfterAuth)
	if err != nil {
		t.Fatal(err)
	}
	from, err := jid.Parse("alice@example.org/phone")
	if err != nil {
		t.Fatal(err)
	}
	effects := f.Entries[0].Handle(&route.Request{From: from, Stanza: st, Payload: st.First()})
	answer := effects[0].(route.Read).Do(context.Background())[0].(route.Reply).Stanza
	s := answer.Child(stanza.NSExtDisco, "services").Child(stanza.NSExtDisco, "service")
	if s.Get("expires") != "2026-11-28T12:00:00Z" || !strings.HasPrefix(s.Get("username"), "1795867200:") {
		t.Errorf("expires %q, username %q", s.Get("expires"), s.Get("username"))
	}
}
