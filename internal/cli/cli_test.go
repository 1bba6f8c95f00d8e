// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"bavard/internal/admin"
	"bavard/internal/datadir"
)

// binary is where TestMain builds the program.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bavard-cli-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "bavard")
	build := exec.Command("go", "build", "-o", binary, "bavard")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// result of a command that has ended.
type result struct {
	out, err string
	code     int
}

// run runs the program to its end, with stdin.
func run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // on a busy machine
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = t.TempDir()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// want fails the test unless r ended with code and its output has each text.
func (r result) want(t *testing.T, code int, texts ...string) result {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("no %q in\n%s%s", text, r.out, r.err)
		}
	}
	return r
}

// server is a running `bavard serve`.
type server struct {
	cmd       *exec.Cmd
	data      string
	addresses datadir.Addresses
	out       *os.File // what it has printed
	ended     chan error
}

// serve starts a server on data and waits until it is ready. It is killed at the end of
// the test.
func serve(t *testing.T, data string, args ...string) *server {
	t.Helper()
	s := launch(t, data, args...)
	s.ready(t)
	return s
}

// launch starts a server on data. It is killed at the end of the test.
func launch(t *testing.T, data string, args ...string) *server {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	s := &server{data: data, out: out, ended: make(chan error, 1)}
	args = append([]string{"serve", "--data", data, "--c2s", "127.0.0.1:0", "--c2s-tls", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)
	s.cmd = exec.Command(binary, args...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(func() { _ = s.cmd.Process.Kill() }) // it may have ended
	return s
}

// ready waits for the banner, which comes last.
func (s *server) ready(t *testing.T) {
	t.Helper()
	until(t, func() (err error) {
		if text := s.printed(t); !strings.Contains(text, "Ctrl-C") {
			return fmt.Errorf("no banner in: %s", text)
		}
		s.addresses, err = datadir.ReadAddresses(s.data)
		return err
	})
}

func (s *server) printed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stop sends a signal and waits for the end.
func (s *server) stop(t *testing.T, signal os.Signal) error {
	t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-s.ended:
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("it does not end:\n%s", s.printed(t))
		return nil
	}
}

// until calls try until it gives no error.
func until(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// One server's life: first start with invites, accounts while it runs and while
// it does not, a clean stop, a second start.
func TestServersLife(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	run(t, "", "status", "--data", data).want(t, 3, "no server runs")

	s := serve(t, data, "--demo-invites")
	links := regexp.MustCompile(`http://localhost:\d+/i/\w{20,}`).FindAllString(s.printed(t), -1)
	if len(links) != 2 || links[0] == links[1] {
		t.Errorf("the first start shows the invites %q, want two", links)
	}
	if !strings.Contains(s.printed(t), s.addresses.C2S[strings.LastIndexByte(s.addresses.C2S, ':')+1:]) ||
		!strings.Contains(s.printed(t), filepath.Join(data, "tls", "ca.crt")) {
		t.Errorf("the banner does not say how to connect a client:\n%s", s.printed(t))
	}

	run(t, "", "status", "--data", data).want(t, 0, "ready", "accounts   0")
	run(t, "", "admin", "--data", data).want(t, 1, "the admin page is off", "[admin]")
	run(t, "correct horse\n", "--data", data, "user", "add", "alice", "--password-stdin").want(t, 0, "alice@localhost\n")
	run(t, "correct horse\n", "--data", data, "user", "add", "alice", "--password-stdin").want(t, 1, "there is such an account")
	made := run(t, "", "--data", data, "user", "add", "Bob@localhost").want(t, 0, "bob@localhost\t")
	if !regexp.MustCompile(`^bob@localhost\t\w{26}\n$`).MatchString(made.out) {
		t.Errorf("the made password is not on its own line: %q", made.out)
	}
	run(t, "x\n", "--data", data, "user", "add", "carol@example.org", "--password-stdin").want(t, 1, "@localhost, not @example.org")
	run(t, "short\n", "--data", data, "user", "add", "carol", "--password-stdin").want(t, 1, "carol: ")
	run(t, "", "--data", data, "user", "add", "carol", "--password-stdin").want(t, 1, "is empty")

	invites(t, data, links[0])
	probe(t, s)

	run(t, "", "serve", "--data", data, "--http", "127.0.0.1:0").want(t, 1, "is using it", fmt.Sprint(s.cmd.Process.Pid))
	if err := s.stop(t, os.Interrupt); err != nil {
		t.Errorf("after SIGINT: %v\n%s", err, s.printed(t))
	}
	for _, name := range []string{"admin.sock", "addresses.json"} {
		if _, err := os.Stat(filepath.Join(data, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s outlives the server: %v", name, err)
		}
	}

	run(t, "", "--data", data, "user", "add", "alice", "--generate").want(t, 1, "there is such an account")
	run(t, "", "--data", data, "user", "add", "dora", "--generate").want(t, 0, "dora@localhost")
	run(t, "", "--data", data, "invite").want(t, 0, "/i/", "not running")

	users(t, data)
	s = serve(t, data, "--demo-invites")
	if strings.Contains(s.printed(t), "/i/") {
		t.Errorf("with accounts, invites are shown again:\n%s", s.printed(t))
	}
	run(t, "", "status", "--data", data).want(t, 0, "accounts   3")
	users(t, data)
}

// users manages an account and leaves things as they were.
func users(t *testing.T, data string) {
	t.Helper()
	run(t, "", "--data", data, "user", "add", "eve", "--generate").want(t, 0)
	run(t, "", "--data", data, "user", "disable", "eve").want(t, 0, "eve@localhost")
	r := run(t, "", "--data", data, "user", "list").want(t, 0)
	if !regexp.MustCompile(`(?m)^alice@localhost\t\S+ \S+\t\t$`).MatchString(r.out) || !regexp.MustCompile(`(?m)^eve@localhost\t\S+ \S+\tdisabled\t$`).MatchString(r.out) {
		t.Errorf("the list is %q", r.out)
	}
	run(t, "", "--data", data, "user", "enable", "eve@localhost").want(t, 0, "eve@localhost")
	run(t, "", "--data", data, "user", "list", "--json").want(t, 0, `{"address":"eve@localhost","created":"`)
	run(t, "", "--data", data, "user", "passwd", "eve").want(t, 0, "eve@localhost\t")
	run(t, "correct horse\n", "--data", data, "user", "passwd", "eve", "--password-stdin").want(t, 0, "eve@localhost\n")
	run(t, "", "--data", data, "user", "delete", "eve").want(t, 1, "--yes")
	run(t, "", "--data", data, "user", "delete", "eve", "--yes").want(t, 0, "eve@localhost")
	run(t, "", "--data", data, "user", "delete", "eve", "--yes").want(t, 1, "eve: there is no such account")
	if r := run(t, "", "--data", data, "user", "reports").want(t, 0); r.out != "" {
		t.Errorf("reports %q", r.out)
	}
	run(t, "", "--data", data, "user", "reports", "--remove", "3,4").want(t, 1, "3: there is no such report", "4: there is no such report")
}

func invites(t *testing.T, data, link string) {
	t.Helper()
	r := run(t, "", "--data", data, "invite", "--json", "--count", "3", "--uses", "2", "--expires", "2d", "--circle", "family").want(t, 0)
	var all []admin.Invite
	if err := json.Unmarshal([]byte(r.out), &all); err != nil || len(all) != 3 {
		t.Fatalf("%v: %s", err, r.out)
	}
	inv := all[0]
	left := time.Until(inv.Expires)
	if inv.Uses != 2 || inv.Circle != "family" || left > 48*time.Hour || left < 47*time.Hour ||
		inv.URI != "xmpp:localhost?register;preauth="+inv.Token || !strings.HasPrefix(link, strings.TrimSuffix(inv.Link, inv.Token)) {
		t.Errorf("got %+v", inv)
	}
	r = run(t, "", "--data", data, "invite", "--expires", "never").want(t, 0, "for ever")
	if strings.Count(r.out, "\n") != 1 || !strings.HasPrefix(r.out, "http://") {
		t.Errorf("standard output is not the link alone: %q", r.out)
	}
	run(t, "", "--data", data, "invite", "--list").want(t, 0, inv.ID+"\t2\t", "\toperator\t\tfamily\n")
	run(t, "", "--data", data, "invite", "--list", "--json").want(t, 0, `{"id":"`+inv.ID+`","uses":2,"expires":"`)
	run(t, "", "--data", data, "invite", "--revoke", inv.ID).want(t, 0, inv.ID+"\t2\t")
	run(t, "", "--data", data, "invite", "--revoke", inv.ID).want(t, 1, "no such invite")
	run(t, "", "--data", data, "invite", "--revoke", "x").want(t, 1, "no id of an invite")
	if r := run(t, "", "--data", data, "invite", "--list").want(t, 0, all[1].ID); strings.Contains(r.out, inv.ID) {
		t.Errorf("it is still listed: %q", r.out)
	}
	run(t, "", "--data", data, "invite", "--list", "--uses", "2").want(t, 1, "none of the others can be")
	run(t, "", "--data", data, "invite", "--expires", "soon").want(t, 2, "7d")
	run(t, "", "--data", data, "invite", "--count", "0").want(t, 1, "1 to 1000")
}

// probe asks a running server how it is, as a supervisor does.
func probe(t *testing.T, s *server) {
	t.Helper()
	web := "http://" + s.addresses.HTTP
	if code, text := get(t, http.DefaultClient, web+"/healthz"); code != 200 {
		t.Errorf("/healthz: %d %s", code, text)
	}
	if code, text := get(t, http.DefaultClient, web+"/readyz"); code != 200 {
		t.Errorf("/readyz: %d %s", code, text)
	}
	if code, _ := get(t, http.DefaultClient, web+"/metrics"); code == 200 {
		t.Error("metrics are on the app's address")
	}
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", datadir.AdminSocket(s.data))
	}}}
	defer socket.CloseIdleConnections()
	code, text := get(t, socket, "http://bavard/metrics")
	if code != 200 {
		t.Fatalf("metrics: %d", code)
	}
	guide, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (bavard_\w+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(string(guide), "`"+m[1]+"`") {
			t.Errorf("docs/operations.md does not say what %s is", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`(bavard_\\w+)`").FindAllStringSubmatch(string(guide), -1) {
		if !strings.Contains(text, m[1]) {
			t.Errorf("docs/operations.md has a metric that is not there: %s", m[1])
		}
	}
}

func TestImport(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	file := filepath.Join(t.TempDir(), "users.tsv")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("alice\tcorrect horse\nno tab\nbob\tbattery staple\n")
	run(t, "", "--data", data, "user", "import", file).want(t, 1, file+":2: ", "2 accounts made, 0 were there already, 1 lines were bad")

	serve(t, data)
	write("alice\tcorrect horse\nbob\tbattery staple\ncarol\tcorrect horse\n")
	run(t, "", "--data", data, "user", "import", file).want(t, 0, file+":1: there is such", "1 accounts made, 2 were there already, 0 lines were bad")
	run(t, "dora\tcorrect horse\n", "--data", data, "user", "import", "-").want(t, 0, "1 accounts made")
	run(t, "", "--data", data, "user", "import", file+".missing").want(t, 1, "no such file")
	run(t, "", "--data", data, "status").want(t, 0, "accounts   4")
}

// What `bavard config` prints is a configuration that a server starts with.
// What quickstart prints is what it writes, and a server starts with it.
func TestQuickstart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	printed := run(t, "", "quickstart", "Chat.Example.org").want(t, 0, "_xmpp-client._tcp.chat.example.org.", "--write DIR").out
	run(t, "", "quickstart", "chat.example.org", "--write", dir).want(t, 0, "Begin with "+dir+"/steps.txt")
	run(t, "", "quickstart", "chat.example.org", "--write", dir).want(t, 1, "is there already")
	run(t, "", "quickstart", "localhost").want(t, 2, "no name of the public DNS")
	run(t, "", "quickstart", "a@chat.example.org").want(t, 2, "no name of the public DNS")
	run(t, "", "quickstart", "example.org", "--host", "chat").want(t, 2, "no name of the public DNS")
	run(t, "", "quickstart").want(t, 2)
	all, err := os.ReadDir(dir)
	if err != nil || len(all) != 7 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, f := range all {
		if text, err := os.ReadFile(filepath.Join(dir, f.Name())); err != nil || !strings.Contains(printed, string(text)) {
			t.Errorf("%s is not what was printed: %v", f.Name(), err)
		}
	}
	file := filepath.Join(dir, "bavard.toml")
	run(t, "", "config", "--check", file).want(t, 1, "tls.acme.agree")

	// Only ports and authority are others than on a real machine: nobody is
	// there, and the server starts all the same.
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("\":443\"", "\"127.0.0.1:0\"", "\":80\"", "\"127.0.0.1:0\"", "agree = false", "agree = true",
		"https://acme-v02.api.letsencrypt.org/directory", "https://127.0.0.1:1/directory").Replace(string(text))
	if err := os.WriteFile(file, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", "config", "--check", file).want(t, 0, "is a good configuration")
	s := serve(t, filepath.Join(t.TempDir(), "data"), "--config", file)
	run(t, "", "--data", s.data, "status").want(t, 0, "ready", "certificate-pending")
	if s.addresses.HTTPS == "" || !strings.Contains(s.printed(t), "serves chat.example.org") {
		t.Errorf("it listens on %+v and says\n%s", s.addresses, s.printed(t))
	}
}

// Findings are for people, one line each when they go elsewhere, or for
// programs; the exit code says whether there are problems.
func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "c.toml")
	// Whatever else runs on this machine, its ports are not in the way.
	if err := os.WriteFile(file, []byte("[listen]\nc2s = \"127.0.0.1:0\"\nc2s_tls = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", "doctor", "--config", file, "--data", data).want(t, 0, "none runs on "+data, "no problems")
	s := serve(t, data)
	var answer struct {
		Problems int
		Findings []struct{ Level, About, Text, Hint string }
	}
	r := run(t, "", "doctor", "--config", file, "--data", data, "--json").want(t, 0)
	if err := json.Unmarshal([]byte(r.out), &answer); err != nil || answer.Problems != 0 || len(answer.Findings) < 10 {
		t.Errorf("%v in %s", err, r.out)
	}
	r = run(t, "", "doctor", "--config", file, "--data", data)
	r.want(t, 0, "is well", "view: applied")
	for line := range strings.Lines(r.out) {
		if line != "\n" && !regexp.MustCompile(`^(ok|warning|not checked) +[a-z-]+|^ +→ |^no problems, `).MatchString(line) {
			t.Errorf("an odd line: %s", line)
		}
	}
	if err := s.stop(t, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(data, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "", "doctor", "--config", file, "--data", data).want(t, 1, "chmod 700 "+data)
	run(t, "", "doctor", "--domain", "a@b").want(t, 1, "problem      configuration")
	run(t, "", "doctor", "here").want(t, 2)
}

func TestAnnotatedConfigurationIsGood(t *testing.T) {
	file := filepath.Join(t.TempDir(), "b.toml")
	if err := os.WriteFile(file, []byte(run(t, "", "config").want(t, 0).out), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", "config", "--check", file).want(t, 0, file+" is a good configuration")
}

func TestAnnotatedConfigurationBoots(t *testing.T) {
	printed := run(t, "", "config").want(t, 0).out
	annotated, err := os.ReadFile("../../bavard.toml")
	if err != nil || printed != string(annotated) {
		t.Fatalf("`bavard config` does not print bavard.toml: %v", err)
	}
	file := filepath.Join(t.TempDir(), "bavard.toml")
	if err := os.WriteFile(file, []byte(printed), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, filepath.Join(t.TempDir(), "data"), "--config", file)
	run(t, "", "--config", file, "--data", s.data, "status", "--json").want(t, 0, `"running": true`, `"warnings": []`)
}

func TestCertificateAndHTTPSFromFiles(t *testing.T) {
	first := serve(t, filepath.Join(t.TempDir(), "data"), "--domain", "chat.example.org") // makes a certificate to use
	tls := filepath.Join(first.data, "tls")
	file := filepath.Join(t.TempDir(), "bavard.toml")
	text := fmt.Sprintf("domain = \"chat.example.org\"\n[listen]\nhttps = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n[tls]\ncertificate = %q\nkey = %q\n",
		filepath.Join(tls, "server.crt"), filepath.Join(tls, "server.key"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, filepath.Join(t.TempDir(), "data"), "--config", file, "--demo-invites")
	if !strings.Contains(s.printed(t), "https://chat.example.org:") || strings.Contains(s.printed(t), "ca.crt") {
		t.Errorf("with the operator's certificate it prints:\n%s", s.printed(t))
	}
	conn, err := net.Dial("tcp", s.addresses.HTTPS)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if code, text := get(t, http.DefaultClient, "http://"+s.addresses.Metrics+"/metrics"); code != 200 || !strings.Contains(text, "bavard_sessions") {
		t.Errorf("metrics: %d %s", code, text)
	}
}

func TestSignals(t *testing.T) {
	s := serve(t, filepath.Join(t.TempDir(), "data"))
	began := time.Now()
	if err := s.stop(t, syscall.SIGTERM); err != nil || time.Since(began) > 6*time.Second {
		t.Errorf("SIGTERM: %v after %v", err, time.Since(began))
	}
	s = serve(t, s.data) // what was stopped cleanly starts again
	if err := s.stop(t, syscall.SIGKILL); err == nil {
		t.Error("SIGKILL was a clean end")
	}
	serve(t, s.data) // and so does what was killed
}

func TestReadyIsToldToTheServiceManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "400000")
	s := serve(t, filepath.Join(t.TempDir(), "data"))
	told := func() string {
		b := make([]byte, 100)
		if err := l.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	const alive = "WATCHDOG=1"
	next := func() (got string) {
		for got = alive; got == alive; {
			got = told()
		}
		return got
	}
	if got := next(); got != "READY=1" {
		t.Errorf("told %q", got)
	}
	for range 3 { // that it works, again and again
		if got := told(); got != alive {
			t.Errorf("told %q", got)
		}
	}
	if err := s.stop(t, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if got := next(); got != "STOPPING=1" {
		t.Errorf("told %q", got)
	}
}

func TestMistakesSayWhatToDo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte("[listen]\nc2s_tsl = \"\"\nhttp = \":80\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "Usage:"},
		{[]string{"frobnicate"}, 2, `unknown command "frobnicate"`},
		{[]string{"stauts"}, 2, "did you mean `bavard status`?"},
		{[]string{"user", "lst"}, 2, "did you mean `bavard user list`?"},
		{[]string{"serve", "--htp", ":80"}, 2, "`bavard serve --help` says more"},
		{[]string{"status", "--jsn"}, 2, "unknown flag: --jsn: did you mean --json?"},
		{[]string{"serve", "--domain", "a", "--domain", "b"}, 2, "it is given twice"},
		{[]string{"invite", "--json", "--json"}, 2, "it is given twice"},
		{[]string{"config", "--check", file}, 1, file + `:2: unknown key "listen.c2s_tsl": did you mean "listen.c2s_tls"?`},
		{[]string{"config", "--check", file}, 1, "listen.http: "}, // what was read is checked as well
		{[]string{"config", "--check", file + "x"}, 1, "no such file"},
		{[]string{"user"}, 2, "add"},
		{[]string{"user", "add"}, 2, "`bavard user add --help` says more"},
		{[]string{"user", "add", "a", "--generate", "--password-stdin"}, 1, "password-stdin"},
		{[]string{"serve", "--http", ":5280"}, 1, "behind_proxy"},
		{[]string{"serve", "--c2s", ":5222", "--insecure-loopback"}, 1, "listen on 127.0.0.1 only"},
		{[]string{"serve", "--domain", "a@b"}, 1, "chat.example.org"},
		{[]string{"serve", "--config", file}, 1, `did you mean "listen.c2s_tls"?`},
		{[]string{"serve", "--config", file + "x"}, 1, "no such file"},
		{[]string{"user", "add", "alice"}, 1, "name the directory with --data"},
		{[]string{"invite"}, 1, "name the directory with --data"},
		{[]string{"status"}, 3, "no server runs"},
		{[]string{"version"}, 0, "bavard "},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			run(t, "", tc.args...).want(t, tc.code, tc.want)
		})
	}
}
