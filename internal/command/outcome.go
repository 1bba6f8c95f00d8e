// SPDX-License-Identifier: Apache-2.0

package command

import (
	"time"

	"bavard/internal/stanza"
)

// Verdict is what became of a command.
type Verdict uint8

// Verdicts.
const (
	Accepted  Verdict = iota + 1
	Duplicate         // of an earlier accepted command, at Outcome.Original
	Refused           // with Outcome.Err
)

// Outcome of one command.
type Outcome struct {
	Position Position
	Verdict  Verdict
	Original Position      // when Duplicate
	Err      *stanza.Error // when Refused
	// Time is the command's time stamp as applied: clamped, never going back.
	Time time.Time
}
