// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"fmt"
	"strings"
)

// trait is how a device of the drill behaves.
type trait struct {
	unmanaged bool // no stream management: never sure, sends again what it sent since its last ping
	resumes   bool // tries to resume its stream
	archive   bool // catches up from the archive; else it relies on the offline flush
	web       bool // over WebSocket
	carbons   bool
	sleepy    bool // mostly away
	silent    bool // sends nothing
	diligent  bool // writes on while nothing can be sent; not in a drill that drains
	// partial devices are not owed everything that their account was sent: another
	// device of the account moves the offline cursor.
	partial bool
}

// pairs are the sorts of conversations that a drill is made of, repeated until
// there are enough accounts. It is immutable.
var pairs = [][2]trait{
	{{resumes: true, archive: true}, {resumes: true}},
	{{archive: true, web: true}, {resumes: true, web: true, archive: true}},
	{{resumes: true}, {sleepy: true}},
	{{}, {sleepy: true, archive: true, silent: true}},
	{{unmanaged: true, archive: true}, {resumes: true, archive: true}},
	{{}, {unmanaged: true, silent: true}},
}

// cast makes the devices. The first account has a second device, which sees
// carbons.
func (d *killing) cast() []*device {
	var devices []*device
	account := func(n int) string { return fmt.Sprintf("user%d@localhost", n) }
	add := func(jid, peer, resource string, t trait) {
		devices = append(devices, newDevice(d, uint64(len(devices)+1), jid, peer, resource, t))
	}
	for n := 0; n < d.cfg.Accounts; n += 2 {
		pair := pairs[n/2%len(pairs)]
		add(account(n), account(n+1), "a", pair[0])
		add(account(n+1), account(n), "a", pair[1])
		if n == 0 {
			add(account(0), account(1), "b", trait{resumes: true, archive: true, carbons: true})
		}
	}
	return devices
}

func (v *device) local() string {
	local, _, _ := strings.Cut(v.account, "@")
	return local
}
