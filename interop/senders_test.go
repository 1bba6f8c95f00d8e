// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bavard/drill/client"
)

// TestGoSendxmpp: the sender of scripts delivers what it is piped, over
// STARTTLS and over direct TLS.
func TestGoSendxmpp(t *testing.T) {
	need(t, "go-sendxmpp")
	s := startServer(t)
	_, got := s.login(t, "ann")
	for name, args := range map[string][]string{
		"starttls":   {"-j", "localhost:" + s.port},
		"direct TLS": {"-t", "-j", "localhost:" + s.C2STLS[strings.LastIndexByte(s.C2STLS, ':')+1:]},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(testContext(t), "go-sendxmpp", append(args, "-u", "bob@localhost", "-p", password, "ann@localhost")...)
			cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+s.ca, "HOME="+t.TempDir())
			cmd.Stdin = strings.NewReader("piped over " + name)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			receive(t, got, "piped over "+name)
		})
	}
}

// TestMcabber: an old client without MAM gets what came while it was away from
// the offline flush, and chats.
func TestMcabber(t *testing.T) {
	need(t, "mcabber", "tmux")
	s := startServer(t)
	app, got := s.login(t, "ann")
	o := client.NewMessage("bob@localhost", "while you were away")
	if err := app.Send(testContext(t), o); err != nil {
		t.Fatal(err)
	}
	<-o.Settled()
	dir := t.TempDir()
	rc := filepath.Join(dir, "rc")
	settings := fmt.Sprintf("set jid = bob@localhost\nset password = %s\nset server = %s\nset port = %s\nset resource = mc\nset tls = 1\nset tls_ignore_checks = 1\nset ssl_ignore_checks = 1\nset beep_on_message = 0\n",
		password, s.host, s.port)
	if err := os.WriteFile(rc, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	bob := startTerminal(t, "mcabber -f "+rc, "HOME="+dir)
	bob.shows("ann@localhost")
	bob.typeLine("/roster search ann")
	bob.typeLine("") // Enter opens the chat that is chosen
	bob.shows("while you were away")
	bob.typeLine("/say_to ann@localhost from the past")
	receive(t, got, "from the past")
}
