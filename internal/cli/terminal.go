// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// isTerminal reports whether a person is at f.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	_, err = stty(f, "-g") // /dev/null is a character device too
	return err == nil
}

// stty runs stty(1) on the terminal f: the one way that needs neither a
// library nor a constant per system.
func stty(f *os.File, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.Command("stty", args...)
	cmd.Stdin, cmd.Stdout = f, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

// askHidden asks on standard error and reads a line that is not shown.
func (p *Program) askHidden(question string) (string, error) {
	saved, err := stty(p.Stdin, "-g")
	if err != nil {
		return "", errors.New("the terminal cannot hide what is typed: use --password-stdin or --generate")
	}
	restore := func() { _, _ = stty(p.Stdin, saved) }
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals: // while it was not shown: give the terminal back first
			restore()
			os.Exit(130)
		case <-done:
		}
	}()
	defer func() {
		signal.Stop(signals)
		close(done)
		restore()
		fmt.Fprintln(p.Stderr)
	}()
	if _, err := stty(p.Stdin, "-echo"); err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	fmt.Fprint(p.Stderr, question)
	return readTerminalLine(p.Stdin)
}

// readTerminalLine reads byte by byte, so that a second question finds what was
// typed after the first line.
func readTerminalLine(f *os.File) (string, error) {
	var line []byte
	b := make([]byte, 1)
	for len(line) < maxPasswordLine {
		n, err := f.Read(b)
		if n == 1 && b[0] == '\n' {
			return strings.TrimRight(string(line), "\r"), nil
		}
		if n == 1 {
			line = append(line, b[0])
		}
		if err != nil {
			return "", errors.New("no password was given")
		}
	}
	return "", errors.New("the password is too long")
}
