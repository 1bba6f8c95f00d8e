// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cli_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	process "bavard/drill/node"
	"bavard/internal/datadir"
)

// A server listens on what it says and on nothing else: not on etcd's ports,
// for one.
func TestServerListensOnNothingElse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bavard.toml")
	if err := os.WriteFile(file, []byte("[admin]\nlisten = \"127.0.0.1:0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, filepath.Join(t.TempDir(), "data"), "--config", file)
	run(t, "", "admin", "--data", s.data).want(t, 0, "http://"+s.addresses.Admin+"/#")
	want := []string{
		"tcp " + s.addresses.C2S, "tcp " + s.addresses.C2STLS, "tcp " + s.addresses.HTTP, "tcp " + s.addresses.Admin,
		"unix " + datadir.AdminSocket(s.data),
	}
	got := listening(t, s.cmd.Process.Pid)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("it listens on\n%v\nwant\n%v", got, want)
	}
}

// A node of several listens at its own address for the others besides.
func TestNodeListensOnNothingElse(t *testing.T) {
	dir := t.TempDir()
	run(t, "", "cell", "init", "--nodes", "a,b,c", "--out", dir).want(t, 0)
	peers := map[string]string{}
	var all []string
	names := []string{"a", "b", "c"}
	addrs, err := process.FreePorts(len(names), rand.IntN)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		peers[name] = addrs[i]
		all = append(all, name+"="+peers[name])
		run(t, "", "cell", "join", filepath.Join(dir, name+".cell"), "--data", filepath.Join(dir, name)).want(t, 0)
	}
	var nodes []*server
	for _, name := range []string{"a", "b"} { // a majority
		nodes = append(nodes, launch(t, filepath.Join(dir, name), "--node", name, "--cell", strings.Join(all, ",")))
	}
	for i, s := range nodes {
		s.ready(t)
		want := []string{
			"tcp " + s.addresses.C2S, "tcp " + s.addresses.C2STLS, "tcp " + s.addresses.HTTP, "tcp " + peers[names[i]], "tcp " + portAfter(t, peers[names[i]]), "tcp " + portAfter(t, portAfter(t, peers[names[i]])),
			"unix " + datadir.AdminSocket(s.data),
		}
		got := listening(t, s.cmd.Process.Pid)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("it listens on\n%v\nwant\n%v", got, want)
		}
	}
	until(t, func() error { // it is looked at now and then
		out := run(t, "", "status", "--data", nodes[0].data).out
		for _, text := range []string{"node       a", "b reached", "c NOT REACHED", "node-away"} {
			if !strings.Contains(out, text) {
				return fmt.Errorf("status does not say %q: %s", text, out)
			}
		}
		return nil
	})
}

// portAfter is the address of a node's mesh.
func portAfter(t *testing.T, address string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(host, strconv.Itoa(n+1))
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
