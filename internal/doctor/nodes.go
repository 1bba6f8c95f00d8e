// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"bavard/internal/admin"
	"bavard/internal/charter"
)

// Bounds of what is said of another node.
const (
	// clockApart is by how much clocks may differ; a node says its own in whole seconds.
	clockApart = 2 * time.Second
	// roundTripSlow: a message waits for one of these before it has its tick.
	roundTripSlow = 50 * time.Millisecond
)

// nodes looks at the other nodes of the cell from here: whether all that nodes say to each other gets
// through, and whether their clocks agree.
func (e *examination) nodes(ctx context.Context) {
	const about = "cell"
	c := &e.Config.Cell
	if !c.Several() || e.Mistakes != nil {
		return
	}
	m, err := charter.Read(e.Config.Data)
	switch {
	case errors.Is(err, charter.ErrNoMember):
		e.add(Problem, about, "`bavard cell join` with this node's bundle", "%v", err)
		return
	case errors.Is(err, fs.ErrPermission):
		e.add(Unchecked, about, "run this as root or as the server's user", "%v", err)
		return
	case err != nil:
		e.add(Problem, about, "put this node's bundle there again: `bavard cell join --again`", "%v", err)
		return
	}
	if err := m.Is(e.Config.Domain, c.Node, c.Names()); err != nil {
		e.add(Problem, about, "correct domain, cell.node and cell.nodes", "%v", err)
		return
	}
	id, err := m.Identity()
	if err != nil {
		e.add(Problem, about, "run this as root or as the server's user; if files are gone, make the directory anew with `bavard cell join --again`", "%v", err)
		return
	}
	e.nodeCertificate(m, id)
	e.others(ctx, id)
}

// nodeCertificate looks at what this node shows to the others.
func (e *examination) nodeCertificate(m *charter.Member, id *charter.Identity) {
	const about = "cell"
	until, err := id.Until()
	switch left := until.Sub(e.Now()); {
	case err != nil:
		e.add(Problem, about, "make the directory anew with `bavard cell join --again`", "%s: %v", m.Certificate(), err)
	case left <= 0:
		e.add(Problem, about, "make the cell anew from a backup: its certificates are all of one age", "the certificates between the nodes ended on %s", until.Format("2 January 2006"))
	case left < 365*24*time.Hour:
		e.add(Warning, about, "plan to make the cell anew from a backup before: its certificates are all of one age", "the certificates between the nodes end on %s", until.Format("2 January 2006"))
	default:
		e.add(OK, about, "", "node %s of %s, with a certificate until %s", m.Node, strings.Join(m.Nodes, ", "), until.Format("2 January 2006"))
	}
}

// others asks all other nodes, at the same time.
func (e *examination) others(ctx context.Context, id *charter.Identity) {
	c := &e.Config.Cell
	ports := []struct {
		name string
		of   map[string]string
	}{{"journal", c.Members()}, {"mesh", c.Meshes()}, {"handover", c.Handovers()}}
	if len(e.Config.Journal.Endpoints) > 0 { // it is none of the nodes that listens for it
		ports = ports[1:]
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.Members())) {
		if name != c.Node {
			names = append(names, name)
		}
	}
	found := make([]seenNode, len(names))
	var asking sync.WaitGroup
	for i, name := range names {
		asking.Go(func() {
			for _, p := range ports {
				took, err := e.shake(ctx, p.of[name], id.Calling(name))
				if err != nil {
					found[i].failed = append(found[i].failed, fmt.Sprintf("%s (%s): %v", p.name, p.of[name], err))
				}
				found[i].took = max(found[i].took, took)
			}
			found[i].apart, found[i].clock = e.clockOf(ctx, c.Handovers()[name], id.Calling(name))
		})
	}
	asking.Wait()
	for i, name := range names {
		if len(found[i].failed) == len(ports) && e.absent(name) {
			e.add(OK, "cell", "", "node %s is not in the cell: it was not let in yet, or was taken out", name)
			continue
		}
		e.node(name, len(ports), &found[i])
	}
}

// absent reports whether a node that is named is not in the cell, as far as the running server says.
func (e *examination) absent(name string) bool {
	return e.running && slices.ContainsFunc(e.status.Journal.Others, func(o admin.OtherNode) bool { return o.Node == name && o.Absent })
}

// seenNode is what was seen of another node.
type seenNode struct {
	failed []string      // what of it does not answer
	took   time.Duration // the longest time until a connection stood
	apart  time.Duration // its clock is before ours by so much, less than a second not counted
	clock  error         // why that is not known
}

// node says what was seen of another node.
func (e *examination) node(name string, ports int, n *seenNode) {
	const about = "cell"
	switch {
	case len(n.failed) == ports:
		e.add(Problem, about, "start it; if it runs, open these ports between the machines", "node %s does not answer: %s", name, strings.Join(n.failed, "; "))
		return
	case len(n.failed) > 0:
		e.add(Problem, about, "open the port between the machines; all of a cell's nodes need bundles of the same `bavard cell init`", "node %s answers in part only: %s", name, strings.Join(n.failed, "; "))
	case n.took > roundTripSlow:
		e.add(Warning, about, "put the nodes nearer to each other: each message waits for it", "node %s takes %s to connect", name, in(n.took))
	default:
		e.add(OK, about, "", "node %s answers at all %d ports, in %s at most", name, ports, in(n.took))
	}
	switch {
	case n.clock != nil:
		e.add(Unchecked, about, "", "the clock of node %s: %v", name, n.clock)
	case n.apart.Abs() > clockApart:
		way := "ahead of"
		if n.apart < 0 {
			way = "behind"
		}
		e.add(Warning, about, "have NTP keep both", "the clock of node %s is %s %s ours: messages would have wrong times", name, in(n.apart.Abs()), way)
	}
}

// shake connects to a port of another node with the certificates of the cell, and says how long it took
// until TCP stood, which is a round trip.
func (e *examination) shake(ctx context.Context, address string, cfg *tls.Config) (time.Duration, error) {
	begun := time.Now()
	conn, err := e.connect(ctx, address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return 0, err
	}
	defer conn.Close()
	took := time.Since(begun)
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return took, fmt.Errorf("its certificate, or ours, is not of this cell: %w", err)
	}
	return took, nil
}

// clockOf asks another node for its time, which it gives in whole seconds.
func (e *examination) clockOf(ctx context.Context, address string, cfg *tls.Config) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DialContext: e.Dial, TLSClientConfig: cfg, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/", nil)
	if err != nil {
		return 0, err
	}
	before := e.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	after := e.Now()
	if err := resp.Body.Close(); err != nil {
		return 0, err
	}
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, errors.New("it does not say what time it has")
	}
	// It had this second at some moment between before and after.
	switch {
	case theirs.After(after):
		return theirs.Sub(after), nil
	case theirs.Add(time.Second).Before(before):
		return theirs.Add(time.Second).Sub(before), nil
	}
	return 0, nil
}
