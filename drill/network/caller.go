// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A process that has just been started is known a moment later.
const (
	callerTries = 50
	callerEvery = 20 * time.Millisecond
)

// caller finds which node has dialled. It is none when that has closed the connection since.
func (w *Network) caller(conn *net.TCPConn) (node int, ok bool) {
	local, remote := addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())
	for range callerTries {
		inode, err := socketInode(remote, local)
		if err != nil {
			return 0, false
		}
		for node, pid := range w.processes() {
			if pid != 0 && holds(pid, inode) {
				return node, true
			}
		}
		if !w.until(time.Now().Add(callerEvery)) {
			break
		}
	}
	return 0, false
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// socketInode gives the inode of the socket of one end of an IPv4 connection on this machine,
// from /proc/net/tcp (proc_net_tcp.rst in the kernel's documentation).
func socketInode(end, other netip.AddrPort) (string, error) {
	if !end.Addr().Is4() || !other.Addr().Is4() {
		return "", fmt.Errorf("%v is no address of IPv4", end)
	}
	file, err := os.Open("/proc/net/tcp")
	if err != nil {
		return "", err
	}
	defer file.Close()
	const local, remote, inode = 1, 2, 9 // columns
	want, with := procAddress(end), procAddress(other)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		columns := strings.Fields(lines.Text())
		if len(columns) > inode && columns[local] == want && columns[remote] == with && columns[inode] != "0" {
			return columns[inode], nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("nobody has the socket %v", end)
}

// procAddress writes an address as /proc/net/tcp has it: the four bytes as one number of the
// machine's order, in hexadecimal.
func procAddress(a netip.AddrPort) string {
	ip := a.Addr().As4()
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(ip[:]), a.Port())
}

// holds reports whether a process has a socket open.
func holds(pid int, inode string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		return false // it has ended
	}
	for _, f := range files {
		if to, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && to == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}
