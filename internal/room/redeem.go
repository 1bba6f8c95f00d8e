// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"errors"
	"sync"
	"time"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

const (
	// missesMost bounds the tokens that are none which one account shows in
	// missesPer; tokens have 128 random bits.
	missesMost = 20
	missesPer  = time.Hour
	// missersMost bounds the accounts that are remembered for it; beyond it all
	// are forgotten.
	missersMost = 1 << 14
)

// misses counts tokens that were none, per account.
type misses struct {
	now func() time.Time
	mu  sync.Mutex
	by  map[string]*missed
}

type missed struct {
	count int
	since time.Time
}

func newMisses(now func() time.Time) *misses { return &misses{now: now, by: map[string]*missed{}} }

// allowed reports whether an account may show another token.
func (m *misses) allowed(who string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	one := m.by[who]
	return one == nil || one.count < missesMost || m.now().Sub(one.since) >= missesPer
}

func (m *misses) add(who string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one := m.by[who]
	if one == nil || m.now().Sub(one.since) >= missesPer {
		if len(m.by) >= missersMost {
			clear(m.by)
		}
		one = &missed{since: m.now()}
		m.by[who] = one
	}
	one.count++
}

// redeeming are the requests of who has an account and a link: get tells which
// room it is to, set makes a member.
func (f *rooms) redeeming() []route.Entry {
	key := func(typ string) route.Key {
		return route.Key{Stanza: "iq", Type: typ, Payload: xmlstream.Name{Space: stanza.NSRoomInvite, Local: "invite"}}
	}
	return []route.Entry{
		{Key: key("get"), Targets: route.ToServer | route.ToSelf, Handle: f.redeem},
		{Key: key("set"), Targets: route.ToServer | route.ToSelf, Handle: f.redeem},
	}
}

func (f *rooms) redeem(r *route.Request) []route.Effect {
	return []route.Effect{r.Read(func(ctx context.Context) []route.Effect {
		ctx, cancel := context.WithTimeout(ctx, commandWithin)
		defer cancel()
		who := r.From.Bare().String()
		if !f.misses.allowed(who) {
			return r.Err(stanza.Wait, stanza.PolicyViolation, "too many invites that are none: try again in an hour")
		}
		token := hash(r.Payload.Get("token"))
		inv, err := f.o.View.Invite(token)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return failed(r, err)
		}
		if err != nil || !alive(&inv, time.Now()) {
			f.misses.add(who)
			return r.Err(stanza.Cancel, stanza.ItemNotFound, "this invite is unknown, has expired or is used up; ask for a new one")
		}
		if inv.Room == "" {
			return r.Err(stanza.Cancel, stanza.NotAllowed, "this invite is for who has no account")
		}
		if r.Stanza.Get("type") == "set" {
			out, err := f.o.Do(ctx, &command.Command{Request: &command.Command_InviteRedeem{InviteRedeem: &command.InviteRedeem{TokenHash: token, Account: who}}})
			if err == nil && out.Err != nil {
				err = out.Err
			}
			if err != nil {
				return failed(r, err)
			}
		}
		return r.Result(f.invitedTo(&inv))
	})}
}

// invitedTo says which room an invite is to: what its members call it, and how
// many they are.
func (f *rooms) invitedTo(inv *state.Invite) *xmlstream.Element {
	x := xmlstream.New(stanza.NSRoomInvite, "invite")
	return x.Add(xmlstream.New(stanza.NSRoomInvite, "room", "jid", inv.Room, "name", inv.RoomName))
}
