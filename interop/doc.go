// SPDX-License-Identifier: Apache-2.0

// Package interop holds tests that run the clients that people use, as
// subprocesses, against a server process: other people's code decides whether
// we speak the protocol. A test whose client is not installed is left out and
// says so; with CI=true it fails instead.
package interop
