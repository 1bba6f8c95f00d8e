// SPDX-License-Identifier: Apache-2.0

// Package chat says what messages between two people mean: which are archived
// (and so ticked, ordered and delivered later), which are only passed on, and
// which are refused.
package chat

import (
	"crypto/sha256"
	"encoding/binary"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// maxID bounds the id and origin-id of a message, in bytes.
const maxID = 1024

// Options of the feature.
type Options struct {
	// NoDedupe leaves out what makes a repeated message a duplicate. It breaks
	// the product's first promise and exists for the drills' negative control.
	NoDedupe bool
}

type chat struct{ o Options }

// Feature routes one-to-one messages (RFC 6121 §5) and switches carbons
// (XEP-0280 §enabling @1.0.1).
func Feature(o Options) route.Feature {
	c := &chat{o}
	const people = route.ToSelf | route.ToAccount | route.ToSession
	f := route.Feature{
		Name:    "chat",
		Domain:  []string{stanza.NSCarbons, stanza.Offline, stanza.NSRetract, stanza.NSTombstone},
		Account: []string{stanza.NSCarbons, stanza.NSRetract, stanza.NSTombstone, stanza.NSEphemeral},
	}
	for _, typ := range []string{"", "normal", "chat"} {
		f.Entries = append(f.Entries, route.Entry{Key: route.Key{Stanza: "message", Type: typ}, Targets: people, Handle: c.message})
	}
	f.Entries = append(f.Entries,
		route.Entry{Key: route.Key{Stanza: "message", Type: "headline"}, Targets: people, Handle: soft},
		// One to an account is ignored (RFC 6121 §8.5.2.1.1); the table does that.
		route.Entry{Key: route.Key{Stanza: "message", Type: "error"}, Targets: route.ToSession, Handle: soft},
		route.Entry{Key: route.Key{Stanza: "message", Type: "groupchat"}, Targets: route.ToSession, Handle: toDevice})
	for name, on := range map[string]bool{"enable": true, "disable": false} {
		f.Entries = append(f.Entries, route.Entry{
			Key:     route.Key{Stanza: "iq", Type: "set", Payload: xmlstream.Name{Space: stanza.NSCarbons, Local: name}},
			Targets: route.ToSelf | route.ToServer, Handle: carbons(on),
		})
	}
	return f
}

func carbons(on bool) route.Handler {
	return func(r *route.Request) []route.Effect {
		return append([]route.Effect{route.Carbons{On: on}}, r.Result()...)
	}
}

// soft passes a message on to whoever is connected and forgets it.
func soft(r *route.Request) []route.Effect {
	return []route.Effect{route.Deliver{To: recipient(r), Stanza: r.Stanza}}
}

// toDevice passes on what only the device that it is for can make sense of
// (RFC 6121 §8.5.3).
func toDevice(r *route.Request) []route.Effect {
	return []route.Effect{route.Deliver{To: r.To, Stanza: r.Stanza, Bounce: true}}
}

// recipient of a message; one without address is for the sender's own account
// (RFC 6120 §10.3.1).
func recipient(r *route.Request) jid.JID {
	if r.To.IsZero() {
		return r.From.Bare()
	}
	return r.To
}

func (c *chat) message(r *route.Request) []route.Effect {
	to := recipient(r)
	r.Stanza.Set("to", to.String())
	noCopy := strip(r.Stanza, r.From.Bare(), to.Bare())
	content := classify(r.Stanza)
	if len(r.Stanza.Children) == 0 {
		return nil
	}
	if !content.archive {
		return []route.Effect{route.Deliver{
			To: to, Stanza: r.Stanza, Bounce: content.body,
			Carbons: !noCopy && (content.body || r.Stanza.Get("type") == "chat"),
		}}
	}
	m := &command.Message{
		From: r.From.String(), To: to.String(), Id: r.Stanza.Get("id"), Lang: r.Stanza.Lang(),
		OriginId: r.Stanza.Child(stanza.NSSID, "origin-id").Get("id"),
	}
	if content.badTimer {
		return r.NoTimer()
	}
	if len(content.retracts) > maxID || len(content.replaces) > maxID || len(m.Id) > maxID || len(m.OriginId) > maxID || len(m.Lang) > 64 {
		return r.Err(stanza.Modify, stanza.PolicyViolation, "the message's id is too long")
	}
	if r.Stanza.Get("type") == "chat" {
		m.Type = command.MessageType_MESSAGE_TYPE_CHAT
	}
	if noCopy {
		m.Flags |= command.FlagNoCopy
	}
	m.Flags |= content.flags
	m.Retracts, m.Replaces, m.Timer = content.retracts, content.replaces, content.timer
	m.Payload = xmlstream.AppendChildren(nil, r.Stanza, stanza.NSClient)
	if by := route.Repeat(r.Stanza); by != "" && !c.o.NoDedupe {
		m.Dedupe = dedupe(r.From.Bare().String(), by, m)
	}
	return []route.Effect{route.Append{Command: &command.Command{Request: &command.Command_Message{Message: m}}}}
}

// dedupe is the key under which a repeat of the message is known, by its origin-id
// or what stands for it.
func dedupe(from, by string, m *command.Message) []byte {
	h := sha256.New()
	var n [4]byte
	for _, s := range []string{from, m.To, by} {
		binary.BigEndian.PutUint32(n[:], uint32(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	h.Write(m.Payload)
	return h.Sum(nil)[:16]
}

// strip removes what the server alone may say: stanza-ids that claim to come
// from the sender's or the recipient's account or the domain (XEP-0359
// §rules @0.7.0), and <private/>, which is for the server (XEP-0280 §avoiding
// @1.0.1). It reports whether copies are forbidden.
func strip(m *xmlstream.Element, from, to jid.JID) (noCopy bool) {
	kept := m.Children[:0]
	for _, n := range m.Children {
		switch {
		case n.Element == nil:
			continue // text between the children of a message means nothing
		case n.Element.Is(stanza.NSSID, "stanza-id"):
			by, err := jid.Parse(n.Element.Get("by"))
			if err != nil || by.Bare() == from || by.Bare() == to || by.Local() == "" && by.Domain() == from.Domain() {
				continue
			}
		case n.Element.Is(stanza.NSCarbons, "private"):
			noCopy = true
			continue
		case n.Element.Is(stanza.NSHints, "no-copy"):
			noCopy = true
		}
		kept = append(kept, n)
	}
	m.Children = kept
	return noCopy
}
