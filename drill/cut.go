// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"bavard/drill/network"
	"bavard/drill/node"
)

// cut is what is done to the network between a node and the others.
type cut uint8

// Kinds of cuts; each comes in turn.
const (
	// cutOff: nothing gets to the node, nor from it.
	cutOff cut = iota
	// cutMute: the node hears the others, who do not hear it.
	cutMute
	// cutDeaf: the others hear the node, which does not hear them.
	cutDeaf
	// cutOneWay: it hears one of them no more.
	cutOneWay
	// cutSlow: what goes either way takes 300 ± 200 ms.
	cutSlow
	// cutLossy: one in five packets is lost, either way.
	cutLossy
	cuts
)

// lossyShare and slowWay are those of goal 4 of the drills.
const lossyShare = 0.2

func slowWay() network.Way {
	return network.Way{Delay: 300 * time.Millisecond, Jitter: 200 * time.Millisecond}
}

// interpose puts a network between the nodes. Where the others dial them, as all are told, is
// the network; what it gives is where they listen themselves.
func (d *celled) interpose(dialled []string) (behind []string, err error) {
	if behind, err = node.FreePorts(len(dialled), d.random.IntN); err != nil {
		return nil, err
	}
	d.network, err = network.New(len(d.nodes), d.processes, rand.Int64N)
	if err != nil {
		return nil, err
	}
	for i := range d.nodes {
		const ports = 3 // the journal's, the mesh's, and that where views and files are handed over
		for port := range ports {
			at, err := portsAfter(port, dialled[i], behind[i])
			if err != nil {
				return nil, err
			}
			if err := d.network.Serve(i, at[0], at[1]); err != nil {
				return nil, err
			}
		}
	}
	return behind, nil
}

func portsAfter(by int, addresses ...string) ([]string, error) {
	var all []string
	for _, address := range addresses {
		host, text, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		all = append(all, net.JoinHostPort(host, strconv.Itoa(port+by)))
	}
	return all, nil
}

// processes gives the process of each node.
func (d *celled) processes() []int {
	all := make([]int, len(d.nodes))
	for i, n := range d.nodes {
		all[i] = int(n.pid.Load())
	}
	return all
}

// cutOne harms the network of a node for a while.
func (d *celled) cutOne(ctx context.Context, hit int, what cut) error {
	others := d.others(hit)
	if what == cutOneWay {
		others = others[d.random.IntN(len(others)):][:1]
	}
	for _, other := range others {
		switch what {
		case cutOff:
			d.both(hit, other, network.Way{Cut: true})
		case cutMute:
			d.network.Set(hit, other, network.Way{Cut: true})
		case cutDeaf, cutOneWay:
			d.network.Set(other, hit, network.Way{Cut: true})
		case cutSlow:
			d.both(hit, other, slowWay())
		default:
			d.both(hit, other, network.Way{Loss: lossyShare})
		}
	}
	d.report.NetworkCuts++
	d.harmed()
	long := d.cfg.DownMax // so that it sends its clients away, or one sees how slow it is
	if what == cutDeaf || what == cutOneWay {
		long = d.between(d.cfg.DownMax/8, d.cfg.DownMax/4)
	}
	err := pause(ctx, long)
	d.network.Heal()
	if err != nil {
		return err
	}
	return d.admits(ctx, d.nodes[hit], time.Now(), false)
}

// both sets the ways from one node to another and back.
func (d *celled) both(one, other int, way network.Way) {
	d.network.Set(one, other, way)
	d.network.Set(other, one, way)
}

func (d *celled) others(hit int) []int {
	var all []int
	for i := range d.nodes {
		if i != hit {
			all = append(all, i)
		}
	}
	return all
}
