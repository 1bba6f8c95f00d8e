// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bavard/internal/account"
	"bavard/internal/cell"
	"bavard/internal/health"
	"bavard/internal/journal"
	"bavard/internal/stanza"
)

// behindMost is how many revisions the view may be behind before the node says
// so.
const behindMost = 100

func (s *server) journalReady() error {
	j := s.cell.JournalStats()
	if !j.HasLeader {
		return errors.New("it has no leader")
	}
	if since := s.unanswered(j); s.member != nil && since >= s.o.noMajority {
		// It hears a leader, which does not hear it, or no majority hears that.
		return fmt.Errorf("nothing was answered for %v", since.Round(time.Second))
	}
	return nil
}

func (s *server) viewReady() error {
	if err := s.cell.Err(); err != nil {
		return err
	}
	if lag := s.cell.Lag(); lag > behindMost {
		return fmt.Errorf("it is %d batches behind", lag)
	}
	if n := s.cell.InFlight(); n >= cell.MaxInFlight {
		return errors.New("too much is in flight")
	}
	return nil
}

// noMajority is how long sessions stay open while nothing they send can be
// stored: then they are cut, so that clients show it, go elsewhere if they can,
// and resume when it is over. A node of several, whose clients can go elsewhere, waits
// as long as cutOff: an election takes a second.
const (
	noMajority = 5 * time.Second
	cutOff     = 3 * time.Second
)

// unstored: what people send cannot be stored.
func unstored() *stanza.StreamError {
	return stanza.StreamErr(stanza.StreamInternalServerError, "nothing can be stored for the moment; please reconnect")
}

// majorityEvery is how often it is looked at whether anything can be stored.
const majorityEvery = 200 * time.Millisecond

// watchMajority sends people away while nothing can be stored, and those who come while another node knows better.
func (s *server) watchMajority(ctx context.Context) {
	led := time.Now() // there was a leader
	tick := time.NewTicker(majorityEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			ready := s.journalReady() == nil
			if ready {
				led = now
			}
			outvoted := !ready && (now.Sub(led) >= s.o.noMajority || s.unanswered(s.cell.JournalStats()) >= s.o.noMajority)
			s.outvoted.Store(outvoted)
			if outvoted {
				s.sessions.Disconnect(unstored())
			}
			if s.closed() {
				s.doors.turnAway(elsewhere())
			}
		}
	}
}

// watch raises and clears warnings.
func (s *server) watch(ctx context.Context) {
	cut := map[string]time.Time{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			ready := s.journalReady() == nil
			s.warn(health.JournalNoLeader, !ready, "")
			now := time.Now()
			s.compare(ctx, now)
			trouble := s.cell.JournalStats().Host.Trouble
			s.warn(health.JournalTrouble, trouble != "", trouble)
			s.warnOfOthers()
			s.warnOfMesh(cut, now)
			lag := s.cell.Lag()
			s.warn(health.ViewBehind, lag > behindMost, fmt.Sprintf("%d batches", lag))
			stuck := s.cell.Stats().Stuck
			s.warn(health.ViewUnwritable, stuck != "", stuck)
			s.warn(health.Overloaded, s.cell.InFlight() >= cell.MaxInFlight, "")
			trouble = s.pushes.trouble()
			s.warn(health.PushUnreachable, trouble != "", trouble)
			s.warnOfDisk()
			s.warnOfClock()
			s.warnOfUploads()
			s.keepDrained(ctx)
			s.fence()
			if ready {
				s.raiseLevel(ctx)
			}
		}
	}
}

// warnOfOthers tells which nodes of the cell are not reached.
func (s *server) warnOfOthers() {
	var away []string
	for _, o := range s.cell.JournalStats().Others {
		if !o.Reached && !o.Absent {
			away = append(away, o.Name+" at "+o.Address)
		}
	}
	s.warn(health.NodeAway, len(away) > 0, strings.Join(away, ", "))
}

// warnOfDisk tells of a disk that fills up in time for somebody to do
// something, and when the journal refuses what is new.
func (s *server) warnOfDisk() {
	full := s.cell.JournalStats().Full
	s.warn(health.JournalFull, full != "", full)
	free, err := s.dir.Free()
	if err != nil {
		s.log.Warn("look how full the disk is", "err", err)
		return
	}
	least := uint64(s.cfg.Journal.MinFreeMiB) << 20
	s.warn(health.DiskLow, free < 2*least, fmt.Sprintf("%d MiB are left", free>>20))
}

func (s *server) warn(k health.Kind, on bool, detail string) {
	if on {
		s.warnings.Raise(k, detail)
	} else {
		s.warnings.Clear(k)
	}
}

// collect registers the node's figures.
func (s *server) collect(r prometheus.Registerer) {
	s.registrations(r)
	s.pushes.collect(r)
	s.collectUploads(r)
	s.collectRooms(r)
	s.collectMesh(r)
	s.collectComparison(r)
	gauge := func(name, help string, read func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "bavard", Name: name, Help: help}, read))
	}
	counter := func(name, help string, read func() float64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "bavard", Name: name, Help: help}, read))
	}
	gauge("sessions", "Bound sessions of this node, detached ones included.", func() float64 { return float64(s.sessions.Stats().Sessions) })
	gauge("sessions_detached", "Sessions whose device is away and may resume.", func() float64 { return float64(s.sessions.Stats().Detached) })
	gauge("sessions_inactive", "Sessions whose device says that nobody looks at it.", func() float64 { return float64(s.sessions.Stats().Inactive) })
	counter("stanzas_spared_total", "Presence and the like that inactive devices never got because newer took its place.", func() float64 { return float64(s.sessions.Stats().Spared) })
	counter("stanzas_held_total", "Stanzas after which a device was read more slowly, because it or its account sends too much.", func() float64 { return float64(s.sessions.Stats().Held) })
	gauge("connections", "Open connections.", func() float64 { return float64(s.front.Stats().Open) })
	gauge("negotiations_waiting", "Connections that negotiate and wait for their turn to.", func() float64 { return float64(s.front.Stats().Waiting) })
	gauge("passwords_waiting", "Logins with a password that wait behind those.", func() float64 { return float64(s.front.Stats().WaitingBehind) })
	counter("passwords_refused_total", "Logins with a password that waited for too long and were told to come again.", func() float64 { return float64(s.front.Stats().RefusedBehind) })
	gauge("connections_idle", "Open connections on which nothing has come for 10 s.", func() float64 { return float64(s.front.Stats().Idle) })
	gauge("commands_in_flight", "Commands submitted by this node and not yet applied.", func() float64 { return float64(s.cell.InFlight()) })
	gauge("view_lag_batches", "Batches that the view is behind the journal.", func() float64 { return float64(s.cell.Lag()) })
	gauge("view_disk_bytes", "Disk space of the view.", func() float64 { return float64(s.cell.Stats().DiskBytes) })
	gauge("dispatch_queued", "Deliveries waiting on this node.", func() float64 { return float64(s.hub.Stats().Queued) })
	counter("dispatch_shed_total", "Soft stanzas dropped because dispatch was full.", func() float64 { return float64(s.hub.Stats().Shed) })
	counter("dispatch_behind_total", "Events dropped because dispatch was full; devices were told to read the archive.", func() float64 { return float64(s.hub.Stats().Behind) })
	counter("pubsub_dropped_total", "Notifications of changed nodes dropped because their queue was full.", func() float64 { return float64(s.notifier.Dropped()) })
	counter("journal_commands_total", "Commands committed by this node.", func() float64 { return float64(s.cell.JournalStats().Commands) })
	counter("journal_batches_total", "Batches committed by this node.", func() float64 { return float64(s.cell.JournalStats().Batches) })
	counter("journal_retries_total", "Append attempts beyond the first.", func() float64 { return float64(s.cell.JournalStats().Retries) })
	r.MustRegister(appendTimes{func() journal.Times { return s.cell.JournalStats().Times }})
	gauge("journal_database_bytes", "Size of the journal's database.", func() float64 { return float64(s.cell.JournalStats().DatabaseSize) })
	counter("scrub_passes_total", "How often view and journal were read through.", func() float64 { return float64(s.cell.ScrubStats().Passes) })
	counter("scrub_damaged_total", "Of these, how often damage was found.", func() float64 { return float64(s.cell.ScrubStats().Found) })
	counter("scrub_bytes_total", "Bytes that scrubs have read.", func() float64 { return float64(s.cell.ScrubStats().Bytes) })
	gauge("scrub_last_timestamp_seconds", "When the last scrub ended, in Unix time; 0: none has since the start.", func() float64 {
		if last := s.cell.ScrubStats().Last; !last.IsZero() {
			return float64(last.Unix())
		}
		return 0
	})
	counter("commands_duplicate_total", "Commands found to repeat an earlier one.", func() float64 { return float64(s.cell.Stats().Duplicates) })
	counter("commands_refused_total", "Commands refused when applied.", func() float64 { return float64(s.cell.Stats().Refused) })
}

// appendTimes shows how long batches took, as a prometheus.Collector.
type appendTimes struct{ read func() journal.Times }

func (appendTimes) desc() *prometheus.Desc {
	return prometheus.NewDesc("bavard_journal_append_seconds", "From appending a batch until it was committed, on the disks of a majority.", nil, nil)
}

// Describe implements prometheus.Collector.
func (a appendTimes) Describe(ch chan<- *prometheus.Desc) { ch <- a.desc() }

// Collect implements prometheus.Collector. Its buckets are an octave wide.
func (a appendTimes) Collect(ch chan<- prometheus.Metric) {
	times, below, buckets := a.read(), uint64(0), map[float64]uint64{}
	last := len(times.Counts) - 1
	for i, n := range times.Counts[:last] {
		below += n
		if i%2 == 0 {
			buckets[times.Bound(i).Seconds()] = below
		}
	}
	ch <- prometheus.MustNewConstHistogram(a.desc(), times.Total(), times.Sum.Seconds(), buckets)
}

// registrations counts what came of requests to make an account.
func (s *server) registrations(r prometheus.Registerer) {
	for result, read := range map[string]func(account.Registrations) uint64{
		"open":    func(n account.Registrations) uint64 { return n.Open },
		"invited": func(n account.Registrations) uint64 { return n.Invited },
		"limited": func(n account.Registrations) uint64 { return n.Limited },
		"refused": func(n account.Registrations) uint64 { return n.Refused },
	} {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "bavard", Name: "registrations_total", ConstLabels: prometheus.Labels{"result": result},
			Help: "Requests to make an account, by what came of them.",
		}, func() float64 { return float64(read(s.accounts.Registrations())) }))
	}
}

// webSocketURL turns the app's address into its WebSocket's.
func webSocketURL(base string) string {
	return "ws" + strings.TrimPrefix(strings.TrimSuffix(base, "/"), "http") + webSocketPath
}
