// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/base64"
	"fmt"
	"testing"

	"bavard/drill/client"
	"bavard/internal/webpush/webpushtest"
)

var slixmppQuietLine = []string{python, "-B", "testdata/slixmpp_quiet.py"}

// TestSlixmppQuiet: a phone that says when nobody looks at it (XEP-0352) is
// woken by messages alone, and has its browser notified (XEP-0357, docs/push.md) of what comes while it
// sleeps or is gone, and of nothing else.
func TestSlixmppQuiet(t *testing.T) {
	needModule(t, "slixmpp")
	t.Parallel()
	service := webpushtest.NewService(t)
	s := startServerWith(t, fmt.Sprintf("[push]\nallow = [\"127.0.0.1\"]\nroots = %q\n", service.RootsFile()))
	ann := startScript(t, "slixmpp", slixmppQuietLine)
	ann.do("connect", map[string]any{"jid": "ann@localhost/phone", "password": password, "host": "localhost", "port": atoi(t, s.port), "ca": s.ca})
	ann.event("csi_enabled")
	ann.event("session_start", "jid", "ann@localhost/phone")
	ann.do("available", nil)
	bob, _ := s.login(t, "bob")

	services, ok := ann.do("services", nil).([]any)
	if !ok || len(services) != 1 {
		t.Fatalf("push services: %v", services)
	}
	if can := ann.do("can_push", nil); can != true {
		t.Fatalf("the account can push: %v", can)
	}
	jid := services[0].([]any)[0].(string)
	key := ann.do("key", map[string]any{"service": jid}).(string)
	browser := service.Subscribe(key)
	b64 := base64.RawURLEncoding
	registered := ann.do("register", map[string]any{
		"service": jid, "endpoint": browser.Endpoint, "p256dh": b64.EncodeToString(browser.P256dh), "auth": b64.EncodeToString(browser.Auth),
	}).([]any)
	node, secret := registered[0].(string), registered[1].(string)
	ann.do("enable", map[string]any{"service": jid, "node": node, "secret": secret})

	say := func(body string) {
		t.Helper()
		if err := bob.Send(testContext(t), client.NewMessage("ann@localhost", body)); err != nil {
			t.Fatal(err)
		}
	}
	ann.do("active", nil)
	say("awake")
	ann.event("message", "body", "awake")
	ann.do("inactive", nil)
	ann.do("can_push", nil) // the server has read it
	say("asleep")
	ann.event("message", "body", "asleep")
	if p := service.Next(t); p.Subscription != browser || p.Topic != "message" {
		t.Errorf("%+v", p)
	}
	if n := service.Asked(); n != 1 {
		t.Errorf("%d pushes, want one", n)
	}
	ann.do("disable", map[string]any{"service": jid, "node": node})
	say("off")
	ann.event("message", "body", "off")
	service.None(t)
}
