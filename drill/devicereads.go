// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"bavard/drill/client"
	"bavard/drill/oracle"
	"bavard/internal/stanza"
)

// page reads the next page of the archive.
func (v *device) page(ctx context.Context, s *client.Session) (complete bool, err error) {
	v.mu.Lock()
	after := v.newest
	v.mu.Unlock()
	page, err := s.Archive(ctx, client.Query{After: after, Max: 200})
	var refused *stanza.Error
	if after != "" && errors.As(err, &refused) && refused.Condition == stanza.ItemNotFound {
		// The server has lost it: a client begins anew.
		v.mu.Lock()
		v.newest = ""
		v.mu.Unlock()
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, in := range page.Messages {
		v.record(in, "")
	}
	if page.Last != "" {
		v.mu.Lock()
		v.newest = page.Last
		v.mu.Unlock()
	}
	return page.Complete, nil
}

// see records a message that the session was handed.
func (v *device) see(in *client.Inbound) {
	if in.Type != "chat" || in.Body == "" {
		return
	}
	v.record(in, in.Stream)
	v.mu.Lock()
	defer v.mu.Unlock()
	if in.Stream == v.caughtUp && in.ArchiveID != "" {
		v.newest = in.ArchiveID
	}
}

func (v *device) record(in *client.Inbound, stream string) {
	if in.Body == "" {
		return
	}
	e := entryOf(in, v.account)
	v.d.log.See(oracle.Sighting{Device: v.name, Account: v.account, Stream: stream, Entry: e})
	if e.To == v.account {
		v.mu.Lock()
		v.seen[e.OriginID] = true
		v.mu.Unlock()
	}
}

// entryOf reads a message as the archive of an account has it.
func entryOf(in *client.Inbound, account string) oracle.Entry {
	e := oracle.Entry{ArchiveID: in.ArchiveID, OriginID: in.OriginID, From: client.Bare(in.From), To: client.Bare(in.To), Body: in.Body}
	if e.From == "" {
		e.From = account
	}
	if e.To == "" {
		e.To = account
	}
	return e
}

// verify reads the archive right after a tick: the message must be there.
func (v *device) verify(ctx context.Context, s *client.Session, o *client.Outgoing) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	page, err := s.Archive(ctx, client.Query{With: v.peer, Last: true, Max: 200})
	if err != nil {
		v.stalled(ctx, s, "verify", err)
		return
	}
	older := page.Complete // whether the page reaches back to the message
	for _, in := range page.Messages {
		if in.OriginID == o.ID {
			v.d.count(func(r *Report) { r.Verified++ })
			return
		}
		older = older || number(in.OriginID) < number(o.ID) && strings.HasPrefix(in.OriginID, v.name+"-")
	}
	if older {
		v.d.log.Contradict(o.ID, "a read right after the tick did not find it")
	}
}

// number is the count in an id that invoke made.
func number(id string) int {
	n, err := strconv.Atoi(id[strings.LastIndexByte(id, '-')+1:])
	if err != nil {
		return 0
	}
	return n
}
