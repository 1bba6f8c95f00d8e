// SPDX-License-Identifier: Apache-2.0

package push

import (
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// missed looks at what a device did not acknowledge.
func (p *Pusher) missed(device jid.JID, messages []route.Out) {
	account := device.Bare().String()
	done := map[string]Kind{} // one notification for a conversation is enough
	for i := range messages {
		m := parse(&messages[i])
		if copied := m.Child(stanza.NSCarbons, "received"); copied != nil {
			m = copied.Child(stanza.NSForward, "forwarded").Child(stanza.NSClient, "message")
		}
		if m == nil || m.Child(stanza.NSCarbons, "sent") != nil {
			continue
		}
		sender := m.Get("from")
		with := bare(sender)
		if k, _ := worth(m); k != Message && k != Call || with == account || done[with] != Nothing {
			continue
		}
		done[with] = Message // whoever called has hung up by now
		it := something{account: account, with: with, sender: sender, kind: Message, mentions: always}
		takes := func(d *Device) bool { return d.Messages }
		if m.Get("type") == "groupchat" {
			at, err := jid.Parse(with)
			who := p.somebody(with, account)
			if err != nil || len(who.Nicks) > 0 && sender == with+"/"+who.Nicks[0] { // what it says itself comes back to it
				continue
			}
			it.mentions = func() bool { return mentions(m, who) }
			takes = func(d *Device) bool { return p.o.InRoom(at, d) }
		}
		p.notify(it, takes)
	}
}

func parse(o *route.Out) *xmlstream.Element {
	b := append(make([]byte, 0, 64+len(o.Rest)), "<"+o.Name+" xmlns='"+stanza.NSClient+"'"...)
	if o.To != "" {
		b = xmlstream.AppendAttr(b, "to", o.To)
	}
	m, err := xmlstream.ParseElement(append(b, o.Rest...), xmlstream.AfterAuth)
	if err != nil {
		return nil
	}
	return m
}
