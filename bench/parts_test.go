// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAccounts(t *testing.T) {
	for _, bad := range []string{"bench", "bench%s", "%d%d", ""} {
		if a, err := Numbered(bad, "x"); err == nil {
			local, _ := a.User(0)
			t.Errorf("%q makes %q", bad, local)
		}
	}
	numbered, err := Numbered("p%dq", "x")
	if err != nil {
		t.Fatal(err)
	}
	if local, password := numbered.User(12); local != "p12q" || password != "x" || numbered.Len() != -1 {
		t.Error(local, password)
	}
	file, err := ReadAccounts(strings.NewReader("ann\tsecret one\r\n\nbob\ttwo\n"))
	if err != nil {
		t.Fatal(err)
	}
	if local, password := file.User(0); local != "ann" || password != "secret one" || file.Len() != 2 {
		t.Error(local, password)
	}
	for _, bad := range []string{"", "ann", "ann secret\n", "\tsecret\n", "ann\t\n"} {
		if _, err := ReadAccounts(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	target := &Target{Accounts: file}
	if err := target.check(3); err == nil || !strings.Contains(err.Error(), "3 accounts") {
		t.Error(err)
	}
	target.Accounts = numbered
	if err := target.check(1 << 30); err == nil || !strings.Contains(err.Error(), "ulimit") {
		t.Error(err)
	}
}

// Connections that one address has no ports for come from another.
func TestSources(t *testing.T) {
	here := Place{Addr: "127.0.0.1:5222"}
	if here.dialer(0) != nil || here.dialer(perSource) == nil {
		t.Error("on this machine")
	}
	for _, addr := range []string{"192.0.2.1:5222", "[::1]:5222", "example.org:5222"} {
		if (Place{Addr: addr}).dialer(perSource) != nil {
			t.Error(addr)
		}
	}
}

func TestProcesses(t *testing.T) {
	// A shell that has used some time, one that it started and that has not ended,
	// and one that has: all count.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `
		( i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done )
		exec 3<&0; cat <&3 & echo ready; wait`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(file, []byte(strconv.Itoa(cmd.Process.Pid)+"\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Watched(file)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := p.tree()
	if err != nil || len(tree) != 2 {
		t.Errorf("%v %v", tree, err)
	}
	c, err := p.Read()
	if err != nil || c.CPU < 20*time.Millisecond || c.RSS < 100<<10 || c.PSS <= 0 || c.PSS > c.RSS || p.RSS() <= 0 || p.RSS() >= c.RSS {
		t.Errorf("%+v %v", c, err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Read(); err == nil {
		t.Error("it has ended")
	}
	for _, bad := range []string{"nothing-here", "1999999999", os.DevNull} {
		if _, err := Watched(bad); err == nil {
			t.Error(bad)
		}
	}
}

func TestTrust(t *testing.T) {
	if _, err := Trust("localhost", "nothing-here", false); err == nil {
		t.Error("a file that is missing")
	}
	if _, err := Trust("localhost", os.DevNull, false); err == nil {
		t.Error("a file without certificates")
	}
	ctx, _, target, w := serve(t, 2, DirectTLS)
	var err error
	if target.TLS, err = Trust("localhost", "", false); err != nil {
		t.Fatal(err)
	}
	cfg := PairsConfig{Pairs: 1, Duration: 10 * time.Millisecond}
	if _, err = Pairs(ctx, target, cfg, w); err == nil || !strings.Contains(err.Error(), "--insecure") {
		t.Error("a certificate that nobody knows:", err)
	}
	if target.TLS, err = Trust("localhost", "", true); err != nil {
		t.Fatal(err)
	}
	if _, err = Pairs(ctx, target, cfg, w); err != nil {
		t.Error("everybody is trusted:", err)
	}
}

func TestCounted(t *testing.T) {
	for n, want := range map[float64]string{0: "0.0", 99.44: "99.4", 100: "100", 1234.5: "1,234", 1e6: "1,000,000"} {
		if got := counted(n); got != want {
			t.Errorf("%v is %q", n, got)
		}
	}
}
