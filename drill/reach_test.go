// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
	"bavard/drill/network"
	"bavard/internal/stanza"
)

// leader gives the node that leads, as it says itself.
func (d *celled) leader(ctx context.Context) (int, error) {
	var errs []error
	for i, n := range d.nodes {
		status, err := d.status(ctx, n)
		if err != nil {
			return 0, err
		}
		leads := status.Journal.HasLeader
		for _, o := range status.Journal.Others {
			leads = leads && !o.Leads
		}
		if leads {
			return i, nil
		}
		errs = append(errs, fmt.Errorf("node %s does not lead", n.name))
	}
	return 0, errors.Join(errs...)
}

// TestSlowLeader: what is stored goes through the leader. When the network to it is slow, another one leads, while it is still slow.
func TestSlowLeader(t *testing.T) {
	t.Parallel()
	d := newCelled(CellConfig{Harm: HarmCut, Nodes: 3, KillConfig: ready(t, KillConfig{Think: 50 * time.Millisecond})})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	r, err := d.rehearse(ctx, func(ctx context.Context) error {
		if err := d.flows(ctx); err != nil {
			return err
		}
		hit, err := d.leader(ctx)
		if err != nil {
			return err
		}
		for _, other := range d.others(hit) {
			d.both(hit, other, slowWay())
		}
		d.harmed()
		begun := time.Now()
		within, cancel := context.WithTimeout(ctx, drainTimeout)
		defer cancel()
		err = await.Until(within, func(ctx context.Context) error {
			now, err := d.leader(ctx)
			if err == nil && now == hit {
				err = fmt.Errorf("node %s still leads", d.nodes[hit].name)
			}
			return err
		})
		if err != nil {
			return err
		}
		t.Logf("another node leads after %v", time.Since(begun).Round(time.Millisecond))
		if err := d.flows(ctx); err != nil {
			return err
		}
		d.network.Heal()
		return d.flows(ctx)
	}, d.restartAll, d.stopAll)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Verdict.Clean() || !r.Group.Clean() {
		t.Errorf("the oracle found what must never happen: %v\n%v", r.Verdict, &r.Group)
	}
}

// quiet is a cell that nobody uses yet, with a network between its nodes.
func quiet(t *testing.T) (context.Context, *celled) {
	t.Helper()
	d := newCelled(CellConfig{Harm: HarmCut, Nodes: 3, KillConfig: ready(t, KillConfig{})})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(func() {
		d.end()
		cancel()
	})
	if err := d.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx, d
}

// warns waits until a node warns of something, or does no more.
func (n *cellNode) warns(ctx context.Context, t *testing.T, of string, want bool) {
	t.Helper()
	err := n.shows(ctx, func(page string) error {
		if on := gauge(page, of) == 1; on != want {
			return fmt.Errorf("%s is %t", of, on)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMute: a node that hears the others, and is heard by none, knows it also when nobody uses it.
func TestMute(t *testing.T) {
	t.Parallel()
	ctx, d := quiet(t)
	const hit = 1
	alone := func(alone bool) {
		t.Helper()
		d.nodes[hit].warns(ctx, t, `bavard_warning{id="journal-no-leader",severity="error"}`, alone)
	}
	alone(false)
	for _, other := range d.others(hit) {
		d.network.Set(hit, other, network.Way{Cut: true})
	}
	alone(true)
	d.network.Heal()
	alone(false)
	if err := d.stopAll(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestSlowNode: a node that the network makes slow, while the others are not, sends those who come to them, and those who are there; who
// comes back is taken there. When it is well it takes people as before.
func TestSlowNode(t *testing.T) {
	t.Parallel()
	ctx, d := quiet(t)
	lead, err := d.leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	hit := d.others(lead)[0]
	enter := func(i int) (*client.Session, error) {
		within, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		return client.Dial(within, client.Config{JID: d.devices[0].account, Password: d.password, Resource: "mine", Addr: d.places[i].c2s})
	}
	there, err := enter(hit)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Cut()
	slow := func(slow bool) {
		t.Helper()
		d.nodes[hit].warns(ctx, t, `bavard_warning{id="node-slow",severity="warning"}`, slow)
	}
	slow(false)
	for _, other := range d.others(hit) {
		d.both(hit, other, slowWay())
	}
	slow(true)
	select {
	case <-there.Done():
	case <-ctx.Done():
		t.Fatal("who is there stays")
	}
	var told *stanza.StreamError
	if !errors.As(there.Err(), &told) || told.Condition != stanza.StreamInternalServerError {
		t.Errorf("who was there is told: %v", there.Err())
	}
	s, err := enter(hit)
	t.Logf("who comes is told: %v", err)
	if !errors.As(err, &told) || told.Condition != stanza.StreamInternalServerError {
		t.Error("which is not to come to another node")
		if err == nil {
			s.Cut()
		}
	}
	s, err = enter(lead)
	if err != nil {
		t.Fatalf("elsewhere, at node %s: %v", d.nodes[lead].name, err)
	}
	s.Cut()
	// There after all. Once more if what was told before was that the node did not reach the others just then, which says
	// nothing of who logs in.
	if s, err = enter(hit); errors.As(err, &told) && told.Condition == stanza.StreamInternalServerError {
		t.Logf("who comes back is told: %v", err)
		s, err = enter(hit)
	}
	if err != nil {
		t.Fatalf("who came back to node %s: %v", d.nodes[hit].name, err)
	}
	s.Cut()
	slow(true) // still
	d.network.Heal()
	slow(false)
	s, err = enter(hit)
	if err != nil {
		t.Fatal(err)
	}
	s.Cut()
	if err := d.stopAll(ctx); err != nil {
		t.Fatal(err)
	}
}
