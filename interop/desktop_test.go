// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bavard/drill/await"
)

// desktop is what a program with windows needs: a display in memory, a session
// bus, and a view of the file system in which it finds and trusts our server.
// There is no window manager: the only window has the keyboard.
type desktop struct {
	t       *testing.T // whom a failure is told; a subtest may put itself here
	root    *testing.T // with whom everything ends
	dir     string
	display string // of X
	bus     string // address of D-Bus
	binds   []string
}

// The smallest bus: it starts no services, so none can be left behind.
const busConfiguration = `<busconfig>
<type>session</type>
<listen>unix:path=%s</listen>
<auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/>
<allow own="*"/>
</policy>
</busconfig>
`

// needDesktop leaves the test out where there can be no desktop.
func needDesktop(t *testing.T) {
	t.Helper()
	need(t, "Xvfb", "xdotool", "dbus-daemon", "gdbus", "mount")
	cmd := exec.Command("mount", "--bind", "/etc/hosts", "/etc/hosts")
	cmd.SysProcAttr = ownMounts()
	out, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("a mount namespace is refused, and CI leaves nothing out: %v %s", err, out)
	}
	t.Skipf("LEFT OUT: a mount namespace is refused: %v %s", err, out)
}

// ownMounts gives a process a mount namespace, which ends with it. Who is not
// root gets a user namespace too.
func ownMounts() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if uid := os.Geteuid(); uid != 0 {
		attr.Unshareflags = 0
		attr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// startDesktop starts a desktop on which the server's domain is at a loopback
// address, and only the server's own authority is trusted.
func startDesktop(t *testing.T, s *server, address string) *desktop {
	t.Helper()
	dir, err := os.MkdirTemp("", "it-") // short: it names a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &desktop{t: t, root: t, dir: dir}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	// Nobody listens on port 53 there: that there are no SRV records is known at once.
	d.binds = []string{
		s.ca, "/etc/ssl/certs/ca-certificates.crt",
		write("hosts", fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", address, s.domain)), "/etc/hosts",
		write("resolv.conf", "nameserver "+address+"\noptions timeout:1 attempts:1\n"), "/etc/resolv.conf",
	}
	d.startDisplay()
	socket := filepath.Join(dir, "bus")
	d.bus = "unix:path=" + socket
	startProcess(t, exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--config-file="+write("bus.conf", fmt.Sprintf(busConfiguration, socket))))
	d.until("the bus", func(context.Context) error {
		_, err := os.Stat(socket)
		return err
	})
	return d
}

// startDisplay starts an X server, which looks for a free number itself.
func (d *desktop) startDisplay() {
	d.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		d.t.Fatal(err)
	}
	defer read.Close()
	cmd := exec.Command("Xvfb", "-displayfd", "3", "-fbdir", d.dir, "-screen", "0", "1000x700x24", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{write}
	startProcess(d.root, cmd)
	write.Close()
	if err := read.SetReadDeadline(time.Now().Add(patience)); err != nil {
		d.t.Fatal(err)
	}
	number, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		d.t.Fatalf("Xvfb names no display: %v", err)
	}
	d.display = ":" + strings.TrimSpace(number)
}

// start starts a program on the desktop.
func (d *desktop) start(log io.Writer, env []string, name string, args ...string) *process {
	d.t.Helper()
	script := ""
	for i := 0; i < len(d.binds); i += 2 {
		script += fmt.Sprintf("mount --bind '%s' '%s' && ", d.binds[i], d.binds[i+1])
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", script + `exec "$0" "$@"`, name}, args...)...)
	cmd.SysProcAttr = ownMounts()
	cmd.Env = append(d.environment(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	return startProcess(d.root, cmd)
}

func (d *desktop) environment() []string {
	return append(os.Environ(), "DISPLAY="+d.display, "DBUS_SESSION_BUS_ADDRESS="+d.bus, "LC_ALL=C.UTF-8",
		"GDK_BACKEND=x11", "GSK_RENDERER=cairo", "LIBGL_ALWAYS_SOFTWARE=1", "GTK_A11Y=none", "NO_AT_BRIDGE=1", "GSETTINGS_BACKEND=memory",
		"HOME="+d.dir, "XDG_DATA_HOME="+d.dir+"/data", "XDG_CONFIG_HOME="+d.dir+"/config", "XDG_CACHE_HOME="+d.dir+"/cache", "XDG_RUNTIME_DIR="+d.dir)
}

// run runs a command of the desktop, such as xdotool.
func (d *desktop) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = d.environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return string(out), nil
}

// until waits for a condition. Dino tries again ten seconds after it finds no
// server, and on a busy machine more than one try may be too early.
func (d *desktop) until(what string, condition func(context.Context) error) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*patience)
	defer cancel()
	if err := await.UntilEvery(ctx, 100*time.Millisecond, condition); err != nil {
		d.t.Fatalf("%s: %v", what, err)
	}
}

// typeKeys types a text into the window, and then presses keys.
func (d *desktop) typeKeys(text string, keys ...string) {
	d.t.Helper()
	ctx := testContext(d.t)
	var err error
	if text != "" {
		_, err = d.run(ctx, "xdotool", "type", "--delay", "20", "--", text)
	}
	for _, key := range keys {
		_, e := d.run(ctx, "xdotool", "key", key)
		err = errors.Join(err, e)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}
