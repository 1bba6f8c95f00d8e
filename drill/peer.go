// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
	"bavard/drill/node"
	"bavard/internal/stanza"
)

// Peer is another XMPP server, of which a cluster goes through the drill of a cell, to be compared with one.
type Peer interface {
	// Found prepares the nodes of a cluster and says how each is started: by the command line in Line, of a
	// process that stays in the foreground. It lets people log in without TLS where its seat says, and
	// make accounts there (XEP-0077).
	Found(ctx context.Context, seats []PeerSeat) ([]node.Options, error)
	// Join makes one cluster of the nodes, which run.
	Join(ctx context.Context) error
}

// PeerSeat is the place of a node of a Peer.
type PeerSeat struct {
	// Name of the node; Dir is a directory of its own, which is missing.
	Name, Dir string
	// C2S and HTTP are loopback addresses for clients, by TCP and by WebSocket at
	// /xmpp-websocket; Peer is one for the other nodes.
	C2S, HTTP, Peer string
}

// Peered is Cell with a cluster of another server. The oracle asks of it what it asks of a cell, whether or
// not the server promises it, but reads archives through each node forwards alone, as clients do that catch up: how
// well a server pages is not what is compared. It has no group: cfg.Group has to be below 0; and cfg.Harm is HarmKill.
func Peered(ctx context.Context, cfg CellConfig, peer Peer) (*Report, error) {
	if cfg.Group >= 0 || cfg.Harm != HarmKill {
		return nil, errors.New("another server is killed and has no group")
	}
	d := newCelled(cfg)
	d.peer, d.startWithin, d.forwards = peer, peerStartTimeout, true
	return d.rehearse(ctx, d.disturb, d.restartAll, d.stopAll)
}

// peerStartTimeout bounds how long a node of another server may take until it lets people in: one that
// loads its archives from others takes its time.
const peerStartTimeout = 3 * time.Minute

// preparePeer is prepare for another server.
func (d *celled) preparePeer(ctx context.Context) error {
	laid, err := d.lay()
	if err != nil {
		return err
	}
	var seats []PeerSeat
	for i, n := range d.nodes {
		seats = append(seats, PeerSeat{Name: n.name, Dir: n.options.Data, C2S: n.options.C2S, HTTP: n.options.HTTP, Peer: laid[i].Peer})
	}
	started, err := d.peer.Found(ctx, seats)
	if err != nil {
		return err
	}
	for i, n := range d.nodes {
		n.options = started[i]
		n.options.C2S, n.options.HTTP, n.options.Log = seats[i].C2S, seats[i].HTTP, &n.tail
	}
	d.devices = d.cast()
	if err := d.startAll(); err != nil {
		return err
	}
	if err := await.Until(ctx, d.register); err != nil {
		return err
	}
	if err := d.peer.Join(ctx); err != nil {
		return err
	}
	return d.allAdmit(ctx, false)
}

// register makes the accounts at the first node.
func (d *celled) register(ctx context.Context) error {
	for _, u := range d.users() {
		err := client.Register(ctx, client.Config{JID: u.Local + "@localhost", Password: u.Password, Addr: d.nodes[0].options.C2S})
		var refused *stanza.Error
		if errors.As(err, &refused) && refused.Condition == stanza.Conflict {
			continue // made by an earlier attempt
		}
		if err != nil {
			return fmt.Errorf("make the account of %s: %w", u.Local, err)
		}
	}
	return nil
}
