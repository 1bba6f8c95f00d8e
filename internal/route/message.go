// SPDX-License-Identifier: Apache-2.0

package route

import (
	"time"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// TimeLayout is the DateTime profile of XEP-0082, in UTC with milliseconds.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// AppendMessage appends what follows "<message" for an archived message:
// attributes, its payload, then the given serialised children, and the end
// tag. The payload relies on jabber:client being the default namespace.
func AppendMessage(dst []byte, m *command.Message, children ...[]byte) []byte {
	dst = xmlstream.AppendAttr(dst, "from", m.From)
	dst = xmlstream.AppendAttr(dst, "to", m.To)
	if m.Id != "" {
		dst = xmlstream.AppendAttr(dst, "id", m.Id)
	}
	if m.Type == command.MessageType_MESSAGE_TYPE_CHAT {
		dst = append(dst, " type='chat'"...)
	}
	if m.Lang != "" {
		dst = xmlstream.AppendAttr(dst, "xml:lang", m.Lang)
	}
	dst = append(dst, '>')
	dst = append(dst, m.Payload...)
	if t := m.Tombstone; t != nil {
		dst = xmlstream.AppendElement(dst, Retracted(t.TimeMs, t.Id), stanza.NSClient)
	}
	for _, c := range children {
		dst = append(dst, c...)
	}
	return append(dst, "</message>"...)
}

// Retracted is what is left of a message that the one of this id, which may be
// "", has taken back at a time, in Unix milliseconds (XEP-0424 §tombstones
// @0.4.2).
func Retracted(ms int64, id string) *xmlstream.Element {
	return xmlstream.New(stanza.NSRetract, "retracted", "id", id, "stamp", time.UnixMilli(ms).UTC().Format(TimeLayout))
}

// AppendForwarded appends <forwarded/> (XEP-0297 @1.0) with the
// archived message, a delay unless the time is zero, and the message's
// stanza-id.
func AppendForwarded(dst []byte, m *command.Message, at time.Time, children ...[]byte) []byte {
	dst = append(dst, "<forwarded xmlns='"+stanza.NSForward+"'>"...)
	if !at.IsZero() {
		dst = AppendDelay(dst, "", at)
	}
	dst = append(dst, "<message xmlns='"+stanza.NSClient+"'"...)
	dst = AppendMessage(dst, m, children...)
	return append(dst, "</forwarded>"...)
}

// AppendDelay appends <delay/> (XEP-0203 §protocol @2.0); from may be "".
func AppendDelay(dst []byte, from string, at time.Time) []byte {
	dst = append(dst, "<delay xmlns='"+stanza.NSDelay+"'"...)
	if from != "" {
		dst = xmlstream.AppendAttr(dst, "from", from)
	}
	dst = append(dst, " stamp='"...)
	dst = at.UTC().AppendFormat(dst, TimeLayout)
	return append(dst, "'/>"...)
}

// AppendStanzaID appends <stanza-id/> (XEP-0359 §stanza-id @0.7.0).
func AppendStanzaID(dst []byte, by, id string) []byte {
	dst = append(dst, "<stanza-id xmlns='"+stanza.NSSID+"'"...)
	dst = xmlstream.AppendAttr(dst, "by", by)
	dst = xmlstream.AppendAttr(dst, "id", id)
	return append(dst, "/>"...)
}
