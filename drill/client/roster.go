// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// RosterItem is one contact (RFC 6121 §2.1.2).
type RosterItem struct {
	JID, Name, Subscription string
	Ask                     bool
	Groups                  []string
}

func rosterItem(e *xmlstream.Element) RosterItem {
	item := RosterItem{JID: e.Get("jid"), Name: e.Get("name"), Subscription: e.Get("subscription"), Ask: e.Get("ask") != ""}
	for _, g := range e.Elements() {
		if g.Is(stanza.NSRoster, "group") {
			item.Groups = append(item.Groups, g.Text())
		}
	}
	return item
}

// Roster fetches the account's contacts (RFC 6121 §2.2).
func (s *Session) Roster(ctx context.Context) ([]RosterItem, error) {
	response, err := s.IQ(ctx, xmlstream.New(stanza.NSClient, "iq", "type", "get").Add(xmlstream.New(stanza.NSRoster, "query")))
	if err != nil {
		return nil, err
	}
	var items []RosterItem
	for _, e := range response.Child(stanza.NSRoster, "query").Elements() {
		items = append(items, rosterItem(e))
	}
	return items, nil
}

// SetContact adds or changes a contact (RFC 6121 §2.3, §2.4).
func (s *Session) SetContact(ctx context.Context, jid, name string, groups ...string) error {
	item := xmlstream.New(stanza.NSRoster, "item", "jid", jid, "name", name)
	for _, g := range groups {
		item.Add(xmlstream.NewText(stanza.NSRoster, "group", g))
	}
	_, err := s.IQ(ctx, xmlstream.New(stanza.NSClient, "iq", "type", "set").Add(xmlstream.New(stanza.NSRoster, "query").Add(item)))
	return err
}

// Subscription sends a presence stanza of type subscribe, subscribed,
// unsubscribe or unsubscribed (RFC 6121 §3).
func (s *Session) Subscription(ctx context.Context, to, kind string) error {
	return s.SendStanza(ctx, xmlstream.New(stanza.NSClient, "presence", "type", kind, "to", to))
}
