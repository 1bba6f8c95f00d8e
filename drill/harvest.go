// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"fmt"
	"slices"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
	"bavard/drill/oracle"
)

// settle waits until nobody has anything left to be ticked.
func (d *killing) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	return await.Until(ctx, func(context.Context) error {
		for _, v := range d.devices {
			if !v.idle.Load() {
				return fmt.Errorf("%s still has messages without a tick", v.name)
			}
		}
		return d.group.settled()
	})
}

// catchUp waits until every device has seen all ticked messages that it is
// owed, or until time is up: then the oracle will find what was hidden.
func (d *killing) catchUp(ctx context.Context) error {
	owed := map[string][]string{}
	for _, m := range d.log.History().Messages {
		if m.Outcome == oracle.Ticked {
			owed[m.To] = append(owed[m.To], m.ID)
		}
	}
	most := catchUpTimeout
	if d.cfg.NoFsync { // what is lost does not come
		most = time.Second
	}
	waiting, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err := await.Until(waiting, func(context.Context) error {
		for _, v := range d.devices {
			if n := v.missing(owed[v.account]); n > 0 && !v.partial {
				return fmt.Errorf("%s has not seen %d ticked messages", v.name, n)
			}
		}
		return nil
	})
	if err != nil {
		d.cfg.Logger.Warn("not everything was seen", "err", err)
	}
	for _, v := range d.devices {
		if !v.partial {
			d.log.Complete(oracle.Device{Name: v.name, Account: v.account})
		}
	}
	return ctx.Err()
}

func (v *device) missing(ids []string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	for _, id := range ids {
		if !v.seen[id] {
			n++
		}
	}
	return n
}

// readArchives reads each account's archive forwards through each server, and
// through the first backwards and by peer as well unless forwards is set, which are given to the oracle as
// nodes that must agree.
func (d *killing) readArchives(ctx context.Context) error {
	done := map[string]bool{}
	for _, v := range d.devices {
		if done[v.account] {
			continue
		}
		done[v.account] = true
		for where := range d.places {
			if err := d.readArchive(ctx, v, where); err != nil {
				return fmt.Errorf("read the archive of %s: %w", v.account, err)
			}
		}
	}
	return nil
}

// reading is an archive as it was read in one way.
type reading struct {
	way      string
	messages []*client.Inbound
}

func (d *killing) readArchive(ctx context.Context, v *device, where int) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	s, err := client.Dial(ctx, client.Config{JID: v.account, Password: d.password, Resource: fmt.Sprintf("reader%d", where), Keys: &v.keys, Addr: d.at(where).c2s})
	if err != nil {
		return err
	}
	defer s.Cut()
	forwards, err := s.ArchiveForwards(ctx, client.Query{Max: 250})
	if err != nil {
		return fmt.Errorf("forwards: %w", err)
	}
	d.dated(forwards)
	ways := []reading{{"forwards", forwards}}
	if where == 0 && !d.forwards {
		backwards, err := s.ArchiveBackwards(ctx, client.Query{Max: 100})
		if err != nil {
			return fmt.Errorf("backwards: %w", err)
		}
		byPeer, err := readByPeer(ctx, s, forwards, v.account)
		if err != nil {
			return fmt.Errorf("by peer: %w", err)
		}
		ways = append(ways, reading{"backwards", backwards}, reading{"by peer", byPeer})
	}
	for _, r := range ways {
		a := oracle.Archive{Node: fmt.Sprintf("server %d, %s", where+1, r.way), Account: v.account}
		for _, in := range r.messages {
			a.Entries = append(a.Entries, entryOf(in, v.account))
		}
		d.log.Read(a)
	}
	return nil
}

// readByPeer reads each conversation of the archive on its own and puts them
// together in the order of all; what all does not have comes last.
func readByPeer(ctx context.Context, s *client.Session, all []*client.Inbound, account string) ([]*client.Inbound, error) {
	place := map[string]int{}
	var peers []string
	for i, in := range all {
		place[in.ArchiveID] = i - len(all) // below 0, so that unknown ones come last
		e := entryOf(in, account)
		peer := e.From
		if peer == account {
			peer = e.To
		}
		if !slices.Contains(peers, peer) {
			peers = append(peers, peer)
		}
	}
	var out []*client.Inbound
	for _, peer := range peers {
		part, err := s.ArchiveForwards(ctx, client.Query{With: peer, Max: 250})
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	slices.SortStableFunc(out, func(a, b *client.Inbound) int { return place[a.ArchiveID] - place[b.ArchiveID] })
	return out, nil
}
