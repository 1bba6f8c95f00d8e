// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"runtime"
	"time"

	"bavard/internal/admin"
)

const (
	// filesBeside is what the server opens besides connections: the journal,
	// the view, listeners.
	filesBeside = 1500
	// memoryIdle and memoryEach are what the server takes without and for each
	// connection, in bytes, with room for those that are busy.
	memoryIdle = 150 << 20
	memoryEach = 32 << 10
)

// machine looks at what the process may take and at the clock.
func (e *examination) machine() {
	e.descriptors()
	e.memory()
	e.add(OK, "processors", "", "%d, of which bavard uses %d (GOMAXPROCS)", runtime.NumCPU(), runtime.GOMAXPROCS(0))
	e.clock()
}

func (e *examination) descriptors() {
	const about = "open files"
	pid, of := 0, "a process started here"
	if e.running && e.status.PID > 0 {
		pid, of = e.status.PID, "the running server"
	}
	limit, err := openFiles(pid)
	if err != nil {
		e.add(Unchecked, about, "", "the limit of %s: %v", of, err)
		return
	}
	need := uint64(e.Config.Limits.Connections) + filesBeside
	if limit < need {
		level := Warning
		if limit < filesBeside {
			level = Problem
		}
		e.add(level, about, "set LimitNOFILE=65536 in the systemd unit (ulimit -n elsewhere), or lower limits.connections",
			"%s may open %d: %d connections (limits.connections) need %d", of, limit, e.Config.Limits.Connections, need)
		return
	}
	e.add(OK, about, "", "%s may open %d, enough for %d connections", of, limit, e.Config.Limits.Connections)
}

func (e *examination) memory() {
	const about = "memory"
	total, available, err := memory()
	need := uint64(memoryIdle) + uint64(e.Config.Limits.Connections)*memoryEach
	switch {
	case err != nil:
		e.add(Unchecked, about, "", "%v", err)
	case total < 2*memoryIdle:
		e.add(Problem, about, "give the machine more", "%s: bavard wants %s to begin with", bytes(total), bytes(2*memoryIdle))
	case total < need:
		e.add(Warning, about, "give the machine more, or lower limits.connections",
			"%s: %d connections (limits.connections) may take %s", bytes(total), e.Config.Limits.Connections, bytes(need))
	case !e.running && available < memoryIdle:
		e.add(Warning, about, "stop what is not needed", "%s of %s are available", bytes(available), bytes(total))
	default:
		e.add(OK, about, "", "%s, of which %s are available", bytes(total), bytes(available))
	}
}

// clock: stamps of messages, expiry of certificates and invites rest on it.
func (e *examination) clock() {
	const about = "clock"
	if now := e.Now(); now.Year() < 2026 {
		e.add(Problem, about, "set it, and have NTP keep it", "it says %s", now.Format(time.DateOnly))
		return
	}
	kept, err := clockKept()
	switch {
	case err != nil:
		e.add(Unchecked, about, "", "whether NTP keeps it: %v", err)
	case !kept:
		e.add(Warning, about, "install chrony, or `timedatectl set-ntp true`; in a container look at its host", "nothing keeps it right: messages would have wrong times")
	default:
		e.add(OK, about, "", "kept by NTP")
	}
}

// askServer asks the running server, if there is one.
func (e *examination) askServer(ctx context.Context) {
	if e.Status == nil {
		e.statusErr = admin.ErrNotRunning
		return
	}
	e.status, e.statusErr = e.Status(ctx)
	e.running = e.statusErr == nil
}

// server says what the running server says of itself.
func (e *examination) server() {
	const about = "server"
	switch {
	case errors.Is(e.statusErr, admin.ErrNotRunning):
		e.add(Warning, about, "start it: `systemctl start bavard`, or `bavard serve`", "none runs on %s", e.Config.Data)
		return
	case e.statusErr != nil:
		e.add(Unchecked, about, "run this as root or as the server's user", "%v", e.statusErr)
		return
	}
	s := e.status
	for _, what := range s.Failing {
		e.add(Problem, about, "look at its log", "it is not ready: %s", what)
	}
	for _, w := range s.Warnings {
		level, text := Warning, w.Text
		if w.Severity == "error" {
			level = Problem
		}
		if w.Detail != "" {
			text += " (" + w.Detail + ")"
		}
		e.add(level, about, w.Hint, "%s: %s", w.ID, text)
	}
	if len(s.Failing)+len(s.Warnings) == 0 {
		e.add(OK, about, "", "bavard %s runs since %s (process %d) and is well", s.Version, s.Started.Local().Format("2 January 15:04"), s.PID)
	}
	e.add(OK, about, "", "%d accounts, %d sessions", s.Accounts, s.Sessions)
	e.add(OK, about, "", "journal: revision %d, %d commands since the start, %d waiting, %d retries, %s on disk",
		s.Journal.Latest, s.Journal.Commands, s.Journal.Queued, s.Journal.Retries, bytes(uint64(s.Journal.DatabaseBytes)))
	e.add(OK, about, "", "view: applied %s, %s on disk", s.View.Applied, bytes(uint64(s.View.DiskBytes)))
	if s.Domain != e.Config.Domain {
		e.add(Warning, about, "name the same --config that the server has", "it serves %s, and the configuration says %s", s.Domain, e.Config.Domain)
	}
}
