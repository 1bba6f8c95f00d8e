// SPDX-License-Identifier: Apache-2.0

package server

import (
	"testing"
	"time"
)

// A device that comes back while its old connection still seems to be there, as
// phones do that change networks, does not wait for that one's end.
func TestResumeBesideASilentConnection(t *testing.T) {
	for name, ws := range map[string]bool{"tcp": false, "websocket": true} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			s.account("alice")
			old := &device{t: t, user: "alice", resource: "phone", dial: s.dial(ws)}
			old.login()
			old.bind()
			old.enable()
			back := &device{t: t, user: "alice", resource: "phone", dial: s.dial(ws), previd: old.previd}
			began := time.Now()
			back.resume() // nobody reads from the old one
			if took := time.Since(began); took > 900*time.Millisecond {
				t.Errorf("it took %v", took)
			}
			old.pipe.cut()
		})
	}
}
