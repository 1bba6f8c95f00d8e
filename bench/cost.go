// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Cost is what processes have used so far, and hold now.
type Cost struct {
	CPU time.Duration
	// RSS and PSS are bytes. PSS counts shared pages once; it is 0 where it
	// cannot be read.
	RSS, PSS int64
}

// Processes are those of a server, with their descendants, as /proc of Linux
// tells of them.
type Processes struct {
	mu    sync.Mutex
	roots []func() (int, error)
}

// Watched makes Processes of process ids. Each is a number, or the name of a
// file whose first line is one: such a file is read anew each time, so that it
// may change when the server is started again.
func Watched(ids ...string) (*Processes, error) {
	p := &Processes{}
	for _, id := range ids {
		p.roots = append(p.roots, func() (int, error) { return processID(id) })
	}
	if _, err := p.Read(); err != nil {
		return nil, err
	}
	return p, nil
}

// processID is a number, or what the first line of a file says.
func processID(id string) (int, error) {
	pid, err := strconv.Atoi(id)
	if err != nil {
		data, readErr := os.ReadFile(id)
		if readErr != nil {
			return 0, readErr
		}
		line, _, _ := strings.Cut(string(data), "\n")
		if pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
			return 0, fmt.Errorf("%s does not begin with a process id", id)
		}
	}
	if pid < 2 {
		return 0, fmt.Errorf("%d is not the process id of a server", pid)
	}
	return pid, nil
}

// Read adds up what the processes and their descendants use. CPU includes what
// descendants have used that have ended and were waited for.
func (p *Processes) Read() (Cost, error) {
	var sum Cost
	pids, err := p.tree()
	if err != nil {
		return sum, err
	}
	for _, pid := range pids {
		s, err := readStat(pid)
		if err != nil {
			continue // it has just ended
		}
		sum.CPU += s.cpu
		sum.RSS += s.rss
		sum.PSS += pss(pid)
	}
	return sum, nil
}

// RSS is Read's RSS alone, of the processes themselves and without their
// descendants: cheap enough to be asked for often.
func (p *Processes) RSS() (sum int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, root := range p.roots {
		if pid, err := root(); err == nil {
			if s, err := readStat(pid); err == nil {
				sum += s.rss
			}
		}
	}
	return sum
}

// tree lists the processes and their descendants, each once.
func (p *Processes) tree() ([]int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []int
	seen := map[int]bool{}
	for _, root := range p.roots {
		pid, err := root()
		if err == nil {
			_, err = readStat(pid)
		}
		if err != nil {
			return nil, fmt.Errorf("the server's process: %w", err)
		}
		if !seen[pid] {
			seen[pid] = true
			found = append(found, pid)
		}
	}
	children := map[int][]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, name := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if s, err := readStat(pid); err == nil {
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	for i := 0; i < len(found); i++ {
		for _, child := range children[found[i]] {
			if !seen[child] {
				seen[child] = true
				found = append(found, child)
			}
		}
	}
	return found, nil
}

type stat struct {
	parent int
	cpu    time.Duration
	rss    int64
}

// readStat reads /proc/PID/stat, see proc(5).
func readStat(pid int) (stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	i := bytes.LastIndex(data, []byte(") ")) // the name before it may hold anything
	fields := strings.Fields(string(data[i+1:]))
	if i < 0 || len(fields) < 22 {
		return stat{}, errors.New("/proc is not as it was expected")
	}
	number := func(field int) int64 { // as proc(5) counts; the first here is the third
		n, _ := strconv.ParseInt(fields[field-3], 10, 64) // a field that is no number counts nothing
		return n
	}
	const tick = time.Second / 100 // USER_HZ, the same on all that Linux runs on
	return stat{
		parent: int(number(4)),
		cpu:    time.Duration(number(14)+number(15)+number(16)+number(17)) * tick,
		rss:    number(24) * int64(os.Getpagesize()),
	}, nil
}

// pss reads the proportional set size, 0 when it may not.
func pss(pid int) int64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loadAverage is the machine's over the last minute, -1 where it is not known.
func loadAverage() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	first, _, _ := strings.Cut(string(data), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return -1
	}
	return load
}
