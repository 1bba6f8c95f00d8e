// SPDX-License-Identifier: Apache-2.0

// Bavard is an XMPP server with an app that loses no message it has ticked.
// `bavard help` says what it does; docs/ARCHITECTURE.md says how.
package main

import (
	_ "embed"
	"os"
	"syscall"

	"bavard/internal/cli"
)

// The annotated default configuration: `bavard config` prints it.
//
//go:embed bavard.toml
var annotated string

//go:embed VERSION
var version string

func main() {
	os.Exit(cli.Main(&cli.Program{
		Version:   version,
		Annotated: annotated,
		Stdin:     os.Stdin,
		Stdout:    os.Stdout,
		Stderr:    os.Stderr,
		Again:     again,
	}, os.Args[1:]))
}

// again puts a new process in this one's place. It returns only when it cannot.
func again() error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(binary, os.Args, os.Environ())
}
