// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

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
	owed := d.log.Owed()
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

// readTimeout bounds the reading of one archive in one way, and of the group's: with those of
// another minute for each 100,000 messages that were ticked.
func (d *killing) readTimeout() time.Duration {
	return drainTimeout + time.Duration(d.log.Ticked()+d.group.ticks())*time.Minute/100_000
}

// readers bounds how many archives are read at once: the servers are on the same machine.
const readers = 2

// readArchives reads each account's archive forwards through each server, and
// through the first backwards and by peer as well unless forwards is set, which are given to the oracle as
// nodes that must agree.
func (d *killing) readArchives(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(readers)
	done := map[string]bool{}
	for _, v := range d.devices {
		if done[v.account] {
			continue
		}
		done[v.account] = true
		for where := range d.places {
			all.Go(func() error {
				if err := d.readArchive(ctx, v.account, where); err != nil {
					return fmt.Errorf("read the archive of %s: %w", v.account, err)
				}
				return nil
			})
		}
	}
	return all.Wait()
}

// reading is a way in which an archive is read.
type reading struct {
	name string
	each func(ctx context.Context, ask pager, take func(*client.Inbound)) error
	// arrange puts what was read in the archive's order; nil: it is.
	arrange func([]oracle.Entry)
}

// pager asks for a page of an archive.
type pager func(context.Context, client.Query) (*client.Page, error)

func (d *killing) readArchive(ctx context.Context, account string, where int) error {
	forwards, err := d.read(ctx, account, where, reading{"forwards", func(ctx context.Context, ask pager, take func(*client.Inbound)) error {
		return client.Forwards(ctx, ask, client.Query{Max: 250}, func(in *client.Inbound) {
			d.dated(in)
			take(in)
		})
	}, nil})
	if err != nil || where > 0 || d.forwards {
		return err
	}
	_, err = d.read(ctx, account, where, reading{"backwards", func(ctx context.Context, ask pager, take func(*client.Inbound)) error {
		return client.Backwards(ctx, ask, client.Query{Max: 100}, take)
	}, slices.Reverse[[]oracle.Entry]})
	if err != nil {
		return err
	}
	_, err = d.read(ctx, account, where, byPeer(forwards, account))
	return err
}

// read reads an archive in one way, and gives it to the oracle.
func (d *killing) read(ctx context.Context, account string, where int, w reading) ([]oracle.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, d.readTimeout())
	defer cancel()
	r := &returning{config: client.Config{JID: account, Password: d.password, Resource: fmt.Sprintf("reader %d %s", where, w.name), Addr: d.at(where).c2s, Keys: &client.Keys{}}}
	defer r.cut()
	a := oracle.Archive{Node: fmt.Sprintf("server %d, %s", where+1, w.name), Account: account}
	err := w.each(ctx, r.page, func(in *client.Inbound) { a.Entries = append(a.Entries, d.log.Known(entryOf(in, account))) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Node, err)
	}
	if w.arrange != nil {
		w.arrange(a.Entries)
	}
	d.log.Read(a)
	return a.Entries, nil
}

// returning is somebody who asks one server, which may send them away: then they come back, and ask again.
type returning struct {
	config  client.Config
	session *client.Session // nil while there is none
}

// ask has do ask something on a session, again when that has ended meanwhile; else its error is what was answered.
func (r *returning) ask(ctx context.Context, do func(context.Context, *client.Session) error) error {
	var answer error
	err := await.UntilEvery(ctx, time.Second, func(ctx context.Context) (err error) {
		if r.session == nil {
			dialling, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			if r.session, err = client.Dial(dialling, r.config); err != nil {
				return err
			}
		}
		if answer = do(ctx, r.session); answer != nil && r.session.Err() != nil {
			r.cut()
			return answer
		}
		return nil
	})
	if err != nil {
		return err
	}
	return answer
}

// page reads a page of the archive.
func (r *returning) page(ctx context.Context, q client.Query) (page *client.Page, err error) {
	err = r.ask(ctx, func(ctx context.Context, s *client.Session) (err error) {
		page, err = s.Archive(ctx, q)
		return err
	})
	return page, err
}

func (r *returning) cut() {
	if r.session != nil {
		r.session.Cut()
		r.session = nil
	}
}

// byPeer reads each conversation of an archive on its own and puts them
// together in the order of all; what all does not have comes last.
func byPeer(all []oracle.Entry, account string) reading {
	place := make(map[string]int, len(all))
	var peers []string
	for i, e := range all {
		place[e.ArchiveID] = i - len(all) // below 0, so that unknown ones come last
		peer := e.From
		if peer == account {
			peer = e.To
		}
		if !slices.Contains(peers, peer) {
			peers = append(peers, peer)
		}
	}
	return reading{"by peer", func(ctx context.Context, ask pager, take func(*client.Inbound)) error {
		for _, peer := range peers {
			if err := client.Forwards(ctx, ask, client.Query{With: peer, Max: 250}, take); err != nil {
				return err
			}
		}
		return nil
	}, func(entries []oracle.Entry) {
		slices.SortStableFunc(entries, func(a, b oracle.Entry) int { return place[a.ArchiveID] - place[b.ArchiveID] })
	}}
}
