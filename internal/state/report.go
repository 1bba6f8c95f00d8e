// SPDX-License-Identifier: Apache-2.0

package state

import "time"

// Limits of reports of abuse.
const (
	// ReportsMost is how many are kept, ReportsOfAccount how many of one account: more push
	// out the oldest.
	ReportsMost      = 10_000
	ReportsOfAccount = 32
	// ReportsAtOnce bounds the reports of one command, ReportMessages the messages
	// that one names.
	ReportsAtOnce  = 16
	ReportMessages = 16
	// ReportReason, ReportText and ReportID bound why, what the person says of it, and
	// the id of a message, in bytes.
	ReportReason = 255
	ReportText   = 1000
	ReportID     = 255
)

// Report tells who runs the server of somebody's abuse (XEP-0377).
type Report struct {
	Number uint64 // counted up from 1 in the cell, and never used again
	Time   time.Time
	By     string // bare JID of who reports
	JID    string // who is reported, and blocked since
	Reason string // a URN
	Text   string // "" for none
	// Origin and ThirdParty are what the reporter agrees to: telling the domain that
	// it came from, and others.
	Origin, ThirdParty bool
	Messages           []ReportedMessage
}

// ReportedMessage names a message of an archive.
type ReportedMessage struct{ By, ID string }
