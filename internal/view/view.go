// SPDX-License-Identifier: Apache-2.0

// Package view is what a node folds from the journal: accounts, rosters,
// archives. Applying is deterministic. It is the only package that imports
// Pebble. docs/formats.md documents each key and record.
package view

import "errors"

// Errors that callers tell apart.
var (
	// ErrUnknownCommand: the command needs a newer version; applying stops.
	ErrUnknownCommand = errors.New("view: command unknown to this version")
	// ErrCorrupt: stored data failed its checksum.
	ErrCorrupt = errors.New("view: corrupt")
)
