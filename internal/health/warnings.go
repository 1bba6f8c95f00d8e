// SPDX-License-Identifier: Apache-2.0

// Package health says how a server is: typed warnings with what to do about
// them, whether it is ready for work, its metrics and its log.
package health

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Severity of a warning.
type Severity string

// Severities.
const (
	Error   Severity = "error"   // people are affected now
	Warning Severity = "warning" // they will be, if nothing is done
)

// Kind tells warnings apart. Its String is what metrics, status and the
// operator's guide call it.
type Kind uint8

// Kinds of warnings; docs/operations.md says more of each.
const (
	JournalNoLeader Kind = iota + 1
	JournalFull
	JournalTrouble
	JournalDamaged
	NodeAway
	NodeSlow
	MeshCut
	ClockWrong
	DiskLow
	ViewBehind
	ViewDamaged
	ViewDiverged
	NodeDiverged
	ViewUnwritable
	Overloaded
	CertificateExpiring
	CertificateUnusable
	CertificateExpired
	CertificatePending
	CertificateNotRenewed
	PushUnreachable
	UploadsRefused
	UploadsMissing
	numKinds = iota
)

type kindInfo struct {
	id       string
	severity Severity
	text     string
	hint     string
}

// immutable: what each kind says.
var kinds = [numKinds + 1]kindInfo{
	JournalNoLeader: {
		"journal-no-leader", Error, "the journal has no leader: nothing new is accepted",
		"look at the disk's latency and at the log; if it lasts, restart the server",
	},
	JournalFull: {
		"journal-full", Error, "the journal has no space left: nothing new is accepted",
		"make room on the disk of the data directory",
	},
	JournalTrouble: {
		"journal-trouble", Warning, "the etcd cluster works, but something is wrong with it",
		"the detail says what: a member that does not answer is one less that may fail; keys of others belong in another cluster",
	},
	JournalDamaged: {
		"journal-damaged", Error, "a scrub found that the journal on the disk is not what was written",
		"one of several nodes starts again and takes part anew by itself; of a single one make a backup now (bavard backup), and look at the disk",
	},
	NodeAway: {
		"node-away", Warning, "another node of the cell is not reached: one less that may fail",
		"look at that machine and at the network to it; when a majority is not reached, nothing new is accepted",
	},
	NodeSlow: {
		"node-slow", Warning, "this node is slow to reach the others, or to write, and most others are not: its people are sent to them",
		"look at its network and at its disk (bavard doctor); it takes people as before when it has been well for 5 s",
	},
	MeshCut: {
		"mesh-cut", Warning, "another node of the cell works, but who is online is not exchanged with it; messages are not affected",
		"let the nodes reach each other at the port of the mesh (cell.mesh_port, else the one after the journal's), in both directions; the log says more",
	},
	ClockWrong: {
		"clock-wrong", Warning, "this machine's clock is not that of most nodes of the cell: messages are stamped by theirs",
		"have NTP keep it right (chrony, or `timedatectl set-ntp true`); tokens, invites and certificates still go by it",
	},
	DiskLow: {
		"disk-low", Warning, "the disk of the data directory is nearly full",
		"make room before journal.min_free_mib is reached: then nothing new is accepted",
	},
	ViewBehind: {
		"view-behind", Warning, "the view is behind the journal: messages arrive late",
		"it catches up by itself; if it comes back, the machine is too slow for its load",
	},
	ViewDamaged: {
		"view-damaged", Error, "stored data failed its check",
		"keep a copy of the data directory, look at the disk, and restart the server",
	},
	ViewDiverged: {
		"view-diverged", Error, "this node's view is not what other nodes of the cell have: it takes nobody",
		"if its files are damaged its view is made anew by itself; if it stays so, move the directory view out of the data directory while the server is stopped: the next start gets another node's",
	},
	NodeDiverged: {
		"node-diverged", Warning, "another node of the cell has another view than most: one less that may fail",
		"see `bavard status` on that node; it takes nobody, and this one is not concerned",
	},
	ViewUnwritable: {
		"view-unwritable", Error, "the view cannot be written; the journal keeps what it lacks, and it is tried again",
		"look at the disk of the data directory: if it is full, make room",
	},
	Overloaded: {
		"overloaded", Warning, "there is more work than the machine does: logins are held back",
		"if it lasts, give the machine more cores or a faster disk",
	},
	CertificateExpiring: {
		"certificate-expiring", Warning, "the certificate expires soon",
		"renew the files named by tls.certificate and tls.key, which are read again by themselves; with tls.acme, the log says what hinders renewal",
	},
	CertificateExpired: {
		"certificate-expired", Error, "the certificate has expired: clients refuse to connect",
		"renew the files named by tls.certificate and tls.key, which are read again by themselves; with tls.acme, the log says what hinders renewal",
	},
	CertificatePending: {
		"certificate-pending", Error, "the authority has not issued a certificate yet: the self-made one is served, which clients do not trust",
		"if it lasts: do the names lead here, and can the authority reach the port of tls.acme.challenge? The detail is its answer",
	},
	CertificateNotRenewed: {
		"certificate-not-renewed", Warning, "the authority did not renew the certificate; the present one is still served",
		"if it lasts: do the names lead here, and can the authority reach the port of tls.acme.challenge? The detail is its answer",
	},
	PushUnreachable: {
		"push-unreachable", Warning, "no push service can be reached: people are not notified while the app is closed",
		"let this machine open https connections to the Internet, or set push.enabled = false; the detail says what hinders it",
	},
	UploadsRefused: {
		"uploads-refused", Warning, "there is no room for files: people cannot share any",
		"make room on the disk of the data directory, or raise upload.total_mib; fewer upload.message_days make room, too",
	},
	UploadsMissing: {
		"uploads-missing", Error, "files that people have shared are not where they have to be, or cut short",
		"the log names them: restore them from a copy of the data directory, and restart; what is lost stays so",
	},
	CertificateUnusable: {
		"certificate-unusable", Error, "the certificate on disk cannot be used; the last good one is kept",
		"look at the files named by tls.certificate and tls.key",
	},
}

func (k Kind) info() kindInfo {
	if int(k) >= len(kinds) || kinds[k].id == "" {
		return kindInfo{"unknown", Warning, "a warning of an unknown kind", "report it"}
	}
	return kinds[k]
}

// String gives the id, like "disk-low".
func (k Kind) String() string { return k.info().id }

// Kinds gives every kind, in order.
func Kinds() []Kind {
	all := make([]Kind, 0, numKinds)
	for k := Kind(1); k <= numKinds; k++ {
		all = append(all, k)
	}
	return all
}

// Active is a warning that holds.
type Active struct {
	ID       string    `json:"id"`
	Severity Severity  `json:"severity"`
	Text     string    `json:"text"`
	Hint     string    `json:"hint"`
	Detail   string    `json:"detail,omitempty"`
	Since    time.Time `json:"since"`
}

// Warnings holds the warnings of one server. A nil *Warnings takes all and
// holds none. It is a prometheus.Collector.
type Warnings struct {
	now func() time.Time

	mu     sync.Mutex
	active map[Kind]Active
}

// NewWarnings makes an empty set; now is the clock.
func NewWarnings(now func() time.Time) *Warnings {
	return &Warnings{now: now, active: make(map[Kind]Active, numKinds)}
}

// Raise says that k holds; detail adds what is particular, "" for nothing, and
// never a secret. Raised again, it keeps its time and takes the new detail.
func (w *Warnings) Raise(k Kind, detail string) {
	if w == nil {
		return
	}
	info := k.info()
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.active[k]
	if !ok {
		a = Active{ID: info.id, Severity: info.severity, Text: info.text, Hint: info.hint, Since: w.now()}
	}
	a.Detail = detail
	w.active[k] = a
}

// Clear says that k no longer holds.
func (w *Warnings) Clear(k Kind) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.active, k)
}

// Active gives what holds, errors first, then by id.
func (w *Warnings) Active() []Active {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]Active, 0, len(w.active))
	for _, a := range w.active {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Active) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.ID, b.ID))
	})
	return all
}

func (w *Warnings) desc() *prometheus.Desc {
	return prometheus.NewDesc("bavard_warning", "1 while the warning holds, else 0.", []string{"id", "severity"}, nil)
}

// Describe implements prometheus.Collector.
func (w *Warnings) Describe(ch chan<- *prometheus.Desc) { ch <- w.desc() }

// Collect implements prometheus.Collector.
func (w *Warnings) Collect(ch chan<- prometheus.Metric) {
	for _, k := range Kinds() {
		value := 0.0
		if w.holds(k) {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(w.desc(), prometheus.GaugeValue, value, k.String(), string(k.info().severity))
	}
}

func (w *Warnings) holds(k Kind) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.active[k]
	return ok
}
