// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cli_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bavard/internal/datadir"
)

// A server listens on what it says and on nothing else: not on etcd's ports,
// for one.
func TestServerListensOnNothingElse(t *testing.T) {
	s := serve(t, filepath.Join(t.TempDir(), "data"))
	want := []string{
		"tcp " + s.addresses.C2S, "tcp " + s.addresses.C2STLS, "tcp " + s.addresses.HTTP,
		"unix " + datadir.AdminSocket(s.data),
	}
	got := listening(t, s.cmd.Process.Pid)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("it listens on\n%v\nwant\n%v", got, want)
	}
}

// listening gives the listening sockets of a process, from /proc (proc(5)).
func listening(t *testing.T, pid int) []string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d", pid)
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{}
	for _, fd := range fds {
		link, _ := os.Readlink(dir + "/fd/" + fd.Name()) // it may just have been closed
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			open[strings.TrimSuffix(inode, "]")] = true
		}
	}
	var all []string
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6", "unix"} {
		text, err := os.ReadFile(dir + "/net/" + table)
		if err != nil {
			continue // no IPv6 here
		}
		for line := range bytes.Lines(text) {
			f := strings.Fields(string(line))
			switch {
			case table == "unix" && len(f) > 7 && open[f[6]] && f[3] == "00010000": // __SO_ACCEPTCON
				all = append(all, "unix "+f[7])
			case table != "unix" && len(f) > 9 && open[f[9]] && (f[3] == "0A" || table[0] == 'u'): // TCP_LISTEN; any UDP
				all = append(all, table[:3]+" "+address(t, f[1]))
			}
		}
	}
	return all
}

// address reads the kernel's hexadecimal address:port; an IPv4 address is in
// the machine's byte order, which here is little-endian.
func address(t *testing.T, text string) string {
	t.Helper()
	host, port, _ := strings.Cut(text, ":")
	ip, err := hex.DecodeString(host)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(ip); i += 4 {
		slices.Reverse(ip[i : i+4])
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(net.IP(ip).String(), strconv.FormatUint(n, 10))
}
