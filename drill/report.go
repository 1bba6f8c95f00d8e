// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"fmt"
	"slices"
	"time"

	"bavard/drill/client"
	"bavard/drill/oracle"
)

// Report is what a drill measured and what the oracle says.
type Report struct {
	Seed    uint64
	Kills   int
	Freezes int // of nodes of a cell
	Rolls   int // of nodes of a cell that were ended in order, and started again
	Drains  int // of these, drained; the others by SIGTERM
	Wipes   int // of nodes of a cell that lost data of theirs
	// Upgrades are those of Rolls in which a node went on with the newer version, Downgrades with the older one.
	Upgrades, Downgrades int
	// NetworkCuts are of the network between nodes of a cell; Cuts are those of devices.
	NetworkCuts int
	// PowerCuts are those of all nodes at once.
	PowerCuts int
	// Rots are files of a node that were damaged.
	Rots int
	// DiskFaults are times in which something was the matter with the disk of a node.
	DiskFaults int
	// ClockFaults are starts of a node with a clock that is wrong; Misdated are messages in archives whose
	// time is not that of the drill.
	ClockFaults, Misdated int
	Verdict               oracle.Verdict
	Group                 oracle.Group // of those who chat in a room

	Logins, FailedLogins    int
	Resumed, ResumesRefused int
	// Cuts are connections that devices cut by themselves, Repeated messages
	// sent again, Verified ticks that a read confirmed at once, Stalls requests
	// that a living server left unanswered for 15 s.
	Cuts, Repeated, Verified, Stalls int
	// JournalKills are those of an etcd elsewhere, Told the sessions that the server
	// ended because it could not go on, GivenUp those that a device ended because its server answered nothing.
	JournalKills, Told, GivenUp int

	// Trouble are the panics and errors that the server logged, Server the end of
	// its log.
	Trouble []string
	Server  string

	// Files are those that people put while the disk was full or the power was cut; nil in other drills.
	Files *UploadReport

	restarts, ticks, calm, outages, gaps []time.Duration
}

// Clean: nothing happened that must never happen.
func (r *Report) Clean() bool {
	return r.Verdict.Clean() && r.Group.Clean() && r.Misdated == 0 && (r.Files == nil || r.Files.Clean())
}

// switchOver is what a cell, and those on a node that does not answer, may take to go on elsewhere.
const switchOver = 5 * time.Second

// maxSamples bounds the samples of a distribution.
const maxSamples = 1 << 20

// count changes the report.
func (d *killing) count(f func(*Report)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.report)
}

// ticked measures: how long the tick of a message took that was sent once, on
// the connection that ticked it, and how long after a kill the first message sent since was ticked.
func (d *killing) ticked(o *client.Outgoing, fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	took := o.SettledAt.Sub(o.SentAt)
	if fresh && len(d.report.ticks) < maxSamples {
		d.report.ticks = append(d.report.ticks, took)
	}
	if fresh && len(d.report.calm) < maxSamples && o.SentAt.Sub(d.harmedAt) > switchOver {
		d.report.calm = append(d.report.calm, took)
	}
	if !d.killedAt.IsZero() && o.SentAt.After(d.killedAt) {
		d.report.outages = append(d.report.outages, o.SettledAt.Sub(d.killedAt))
		d.killedAt = time.Time{}
	}
}

// Percentile gives the value below which p of 1 of the samples lie, 0 without
// samples.
func Percentile(samples []time.Duration, p float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

// Restart is how long starting the server took until the first login, at a
// percentile p of 1.
func (r *Report) Restart(p float64) time.Duration { return Percentile(r.restarts, p) }

// Tick is how long a message waited for its tick.
func (r *Report) Tick(p float64) time.Duration { return Percentile(r.ticks, p) }

// CalmTick is how long one waited for its tick that was sent longer after the last harm than a switch-over may take,
// whether or not the harm lasts.
func (r *Report) CalmTick(p float64) time.Duration { return Percentile(r.calm, p) }

// Outage is how long after a kill the first message sent since was ticked.
func (r *Report) Outage(p float64) time.Duration { return Percentile(r.outages, p) }

// Gap is how long after a kill or a freeze a device had the tick of a message that it sent
// since, wherever it was connected: how long sending stopped.
func (r *Report) Gap(p float64) time.Duration { return Percentile(r.gaps, p) }

// TableHead names the columns of Table.
const TableHead = "| kills | ticked | lost | hidden | duplicated | reordered | phantom | false ticks | restart to first login p50 / p99 | tick p50 / p99 | kill to next tick p50 / p99 |"

// Table is the report as a line of a table.
func (r *Report) Table() string {
	v := r.Verdict
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
	return fmt.Sprintf("| %d | %d | %d | %d | %d | %d | %d | %d | %s / %s ms | %s / %s ms | %s / %s ms |",
		r.Kills, v.Ticked, v.Lost, v.Hidden, v.Duplicated, v.Reordered, v.Phantom, v.FalseTicks,
		ms(r.Restart(0.5)), ms(r.Restart(0.99)), ms(r.Tick(0.5)), ms(r.Tick(0.99)), ms(r.Outage(0.5)), ms(r.Outage(0.99)))
}

func (r *Report) String() string {
	return fmt.Sprintf("seed %d: %d kills, %d freezes, %d ended in order (%d drained), %d wiped, %d cut off or slowed, %d power cuts, %d files damaged, %d disk faults, %d wrong clocks, %d of etcd elsewhere, %d sessions told to go, %d given up, %d cuts, %d logins (%d resumed, %d refused, %d failed), %d messages sent again, %d ticks verified, %d stalls, %d messages of a wrong time\n%s\n%s",
		r.Seed, r.Kills, r.Freezes, r.Rolls, r.Drains, r.Wipes, r.NetworkCuts, r.PowerCuts, r.Rots, r.DiskFaults, r.ClockFaults, r.JournalKills, r.Told, r.GivenUp, r.Cuts, r.Logins, r.Resumed, r.ResumesRefused, r.FailedLogins, r.Repeated, r.Verified, r.Stalls, r.Misdated, r.Verdict, &r.Group)
}
