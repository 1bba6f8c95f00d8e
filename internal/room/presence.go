// SPDX-License-Identifier: Apache-2.0

package room

import (
	"slices"
	"strconv"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Status codes of XEP-0045 §registrar-statuscodes-init @1.35.5.
const (
	statusNonAnonymous = 100
	statusConfigured   = 104
	statusSelf         = 110
	statusLogged       = 170
	statusUnlogged     = 171
	statusPrivacyShown = 172
	statusPrivacyHid   = 173
	statusCreated      = 201
	statusNickChanged  = 210
	statusBanned       = 301
	statusNewNick      = 303
	statusKicked       = 307
	statusNotAffil     = 321
	statusMembersOnly  = 322
	statusTechnical    = 333
)

// shown is a presence of an occupant, as it is rendered for those who see it.
type shown struct {
	nick string
	of   *occupant
	// full is the device that the presence is about, when it is one.
	full jid.JID
	gone bool
	// newNick is what a gone occupant is called from now on.
	newNick string
	status  []int
	self    []int // besides, for the occupant's own devices
	reason  string
	actor   string
	destroy *xmlstream.Element
	said    []*xmlstream.Element // with a farewell
}

var affiliations = [...]string{"none", "outcast", "member", "admin", "owner"} // immutable, by rank

var roles = [...]string{"visitor", "participant", "moderator"} // immutable

func affiliationName(a command.Affiliation) string { return affiliations[a] }

func parseAffiliation(s string) (command.Affiliation, bool) {
	i := slices.Index(affiliations[:], s)
	return command.Affiliation(max(i, 0)), i >= 0
}

// defaultRole of an affiliation (XEP-0045 §roles-default @1.35.5).
func defaultRole(c *command.RoomConfig, a command.Affiliation) command.RoomRole {
	switch {
	case a >= command.Affiliation_AFFILIATION_ADMIN:
		return command.RoomRole_ROOM_ROLE_MODERATOR
	case c.GetAnnouncements(), c.GetModerated() && a < command.Affiliation_AFFILIATION_MEMBER:
		return command.RoomRole_ROOM_ROLE_VISITOR
	}
	return command.RoomRole_ROOM_ROLE_PARTICIPANT
}

// stripped gives the children of a presence that others may see: nothing that
// only the room may say.
func stripped(p *xmlstream.Element) []*xmlstream.Element {
	var out []*xmlstream.Element
	for _, c := range p.Elements() {
		switch c.Name.Space {
		case stanza.NSMUC, stanza.NSMUCUser, stanza.NSOccupantID:
		default:
			out = append(out, c)
		}
	}
	return out
}

// publicMost is how many people everybody sees in a room that is open to all,
// moderators not counted. What the presence of all to all costs grows with the
// square of their number.
const publicMost = 100

// publish has everybody see an occupant.
func (r *live) publish(o *occupant) {
	o.public = true
	r.public[o.nick] = o
}

// broadcasts reports whether a room's owner wants everybody to see who has a role.
func broadcasts(c *command.RoomConfig, role command.RoomRole) bool { return c.GetUnseen()>>role&1 == 0 }

// seen decides whether everybody is to see an occupant: where the owner wants
// their role to be seen, in a room for members always, in an open one if it is a
// moderator or not many are seen yet (XEP-0045 §enter-pres @1.35.5). Who has been
// seen once is until they leave or the owner does not want it, and anybody who
// enters sees the same people. Others are seen by moderators, and by themselves. Of
// who is on another node alone, that decides.
func (r *live) seen(o *occupant) bool {
	if !o.here() {
		return o.visits[len(o.visits)-1].said.Public
	}
	return broadcasts(r.config, o.role) &&
		(o.public || r.config.GetMembersOnly() || o.role == command.RoomRole_ROOM_ROLE_MODERATOR || len(r.public) < publicMost)
}

// conceal has only moderators see an occupant from now on, for whose role the
// owner does not want presence to be broadcast. For others it has gone.
func (h *Hub) conceal(r *live, o *occupant) {
	delete(r.public, o.nick)
	o.public = false
	var gone []byte
	for _, v := range r.visits {
		if v.is == o || v.all {
			continue
		}
		if gone == nil {
			gone = h.render(r, &shown{nick: o.nick, of: o, gone: true}, r.config.GetNonAnonymous(), false)
		}
		r.hand(v, route.Out{Name: "presence", To: v.to, Rest: gone})
	}
}

// oversee shows an occupant's devices everybody, once it is a moderator. They
// see them until they leave, also when it is one no more.
func (h *Hub) oversee(r *live, o *occupant) {
	for _, v := range o.visits {
		if v.all || !v.here() {
			continue
		}
		v.all = true
		for _, nick := range sorted(r.occupants) {
			if other := r.occupants[nick]; !other.public && other != o {
				h.show(r, v, shown{nick: nick, of: other})
			}
		}
	}
}

// broadcast shows a presence to everybody in the room who sees the occupant. An
// occupant's own devices come last, so that who enters knows who was there before.
func (h *Hub) broadcast(r *live, p shown) {
	switch {
	case p.gone:
	case r.seen(p.of):
		r.publish(p.of)
	case p.of.public:
		h.conceal(r, p.of)
	}
	var plain, full []byte
	for _, v := range r.visits {
		if v.is != p.of && (p.of.public || v.all) {
			out := route.Out{Name: "presence", To: v.to}
			if h.seesAddress(r, v) {
				if full == nil {
					full = h.render(r, &p, true, false)
				}
				out.Rest = full
			} else {
				if plain == nil {
					plain = h.render(r, &p, false, false)
				}
				out.Rest = plain
			}
			r.hand(v, out)
		}
	}
	for _, v := range p.of.visits {
		h.show(r, v, p)
	}
	if p.gone {
		return
	}
	if p.of.role == command.RoomRole_ROOM_ROLE_MODERATOR {
		h.oversee(r, p.of)
	}
	h.tell(r, p.of, Cause{Reason: p.reason, Actor: p.actor})
}

// show shows a presence to one device.
func (h *Hub) show(r *live, to *visit, p shown) {
	r.hand(to, route.Out{Name: "presence", To: to.to, Rest: h.render(r, &p, h.seesAddress(r, to) || to.is == p.of, to.is == p.of)})
}

// seesAddress: real addresses are for everybody, or for moderators (XEP-0045
// §terms-rooms @1.35.5).
func (h *Hub) seesAddress(r *live, v *visit) bool {
	return r.config.GetNonAnonymous() || v.is.role == command.RoomRole_ROOM_ROLE_MODERATOR
}

// render serialises a presence but for whom it is to.
func (h *Hub) render(r *live, p *shown, address, self bool) []byte {
	b := make([]byte, 0, 384)
	b = xmlstream.AppendAttr(b, "from", r.jid.String()+"/"+p.nick)
	if p.gone {
		b = append(b, " type='unavailable'"...)
	}
	b = append(b, '>')
	children := p.of.presence
	if p.gone {
		children = p.said
	}
	for _, c := range children {
		b = xmlstream.AppendElement(b, c, stanza.NSClient)
	}
	b = append(b, "<occupant-id xmlns='"+stanza.NSOccupantID+"'"...)
	b = xmlstream.AppendAttr(b, "id", p.of.id)
	b = append(b, "/>"...)
	return append(xmlstream.AppendElement(b, h.userElement(p, address, self), stanza.NSClient), "</presence>"...)
}

// userElement is the <x/> that says who an occupant is (XEP-0045 §enter-pres
// @1.35.5).
func (h *Hub) userElement(p *shown, address, self bool) *xmlstream.Element {
	role := roles[p.of.role]
	if p.gone && p.newNick == "" {
		role = "none"
	}
	item := xmlstream.New(stanza.NSMUCUser, "item", "affiliation", affiliationName(p.of.affiliation), "role", role, "nick", p.newNick)
	if address {
		who := p.full
		if who.IsZero() && len(p.of.visits) > 0 {
			who = p.of.visits[len(p.of.visits)-1].full
		}
		if who.IsZero() {
			who = p.of.who
		}
		item.Set("jid", who.String())
	}
	if p.actor != "" {
		item.Add(xmlstream.New(stanza.NSMUCUser, "actor", "nick", p.actor))
	}
	if p.reason != "" {
		item.Add(xmlstream.NewText(stanza.NSMUCUser, "reason", p.reason))
	}
	x := xmlstream.New(stanza.NSMUCUser, "x").Add(item)
	if p.destroy != nil {
		x.Add(p.destroy)
	}
	codes := p.status
	if self {
		codes = append(append([]int{statusSelf}, p.self...), p.status...)
	}
	for _, c := range codes {
		x.Add(xmlstream.New(stanza.NSMUCUser, "status", "code", strconv.Itoa(c)))
	}
	return x
}
