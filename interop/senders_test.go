// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"bavard/drill/await"
	"bavard/drill/client"
	"bavard/drill/node"
)

// goSendxmpp is a command line of bob's for it.
func (s *server) goSendxmpp(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), "go-sendxmpp", append([]string{"-u", "bob@localhost", "-p", password}, args...)...)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+s.ca, "HOME="+t.TempDir())
	return cmd
}

// TestGoSendxmpp: the sender of scripts delivers what it is piped, over
// STARTTLS and over direct TLS.
func TestGoSendxmpp(t *testing.T) {
	need(t, "go-sendxmpp")
	t.Parallel()
	s := startServer(t)
	_, got := s.login(t, "ann")
	for name, args := range map[string][]string{
		"starttls":   {"-j", "localhost:" + s.port},
		"direct TLS": {"-t", "-j", "localhost:" + s.C2STLS[strings.LastIndexByte(s.C2STLS, ':')+1:]},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := s.goSendxmpp(t, append(args, "ann@localhost")...)
			cmd.Stdin = strings.NewReader("piped over " + name)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			receive(t, got, "piped over "+name)
		})
	}
	t.Run("each line", func(t *testing.T) {
		cmd := s.goSendxmpp(t, "-i", "-j", "localhost:"+s.port, "ann@localhost")
		cmd.Stdin = strings.NewReader("first line\nsecond line\n")
		_, _ = cmd.CombinedOutput() // it takes the end of its input for a failure
		receive(t, got, "first line")
		receive(t, got, "second line")
	})
}

// TestGoSendxmppListens: it prints what was waiting and what comes, and what it
// has printed does not wait any more.
func TestGoSendxmppListens(t *testing.T) {
	need(t, "go-sendxmpp")
	t.Parallel()
	s := startServer(t)
	app, _ := s.login(t, "ann")
	say := func(body string) {
		t.Helper()
		o := client.NewMessage("bob@localhost", body)
		if err := app.Send(testContext(t), o); err != nil {
			t.Fatal(err)
		}
		<-o.Settled()
	}
	var log node.Tail
	prints := func(want string) {
		t.Helper()
		if err := await.Until(testContext(t), func(context.Context) error {
			if !strings.Contains(log.String(), want) {
				return fmt.Errorf("it does not print %q:\n%s", want, &log)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	say("it was waiting")
	cmd := s.goSendxmpp(t, "-l", "-j", "localhost:"+s.port)
	cmd.Stdout, cmd.Stderr = &log, &log
	p := startProcess(t, cmd)
	prints("ann@localhost: it was waiting")
	for n := range 3 {
		body := fmt.Sprintf("it is listening %d", n)
		say(body)
		prints("ann@localhost: " + body)
	}
	select {
	case <-p.ended:
		t.Errorf("it has ended:\n%s", &log)
	default:
	}
}
