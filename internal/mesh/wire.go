// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"bavard/internal/dispatch"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// format of what is sent; a node of another one is not talked to.
const format = 1

// method of the one stream that there is.
const (
	serviceName = "bavard.mesh.v1.Mesh"
	methodName  = "Tell"
)

// handler is what a gRPC service is made of.
type handler interface{ accept(grpc.ServerStream) error }

// service describes the one method, by hand: a generator more would say no more.
func service() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: serviceName, HandlerType: (*handler)(nil), Metadata: "internal/mesh/mesh.proto",
		Streams: []grpc.StreamDesc{{
			StreamName: methodName, ServerStreams: true, ClientStreams: true,
			Handler: func(srv any, s grpc.ServerStream) error { return srv.(handler).accept(s) },
		}},
	}
}

func openStream(ctx context.Context, conn *grpc.ClientConn) (grpc.ClientStream, error) {
	return conn.NewStream(ctx, &grpc.StreamDesc{StreamName: methodName, ServerStreams: true, ClientStreams: true},
		"/"+serviceName+"/"+methodName, grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(frameMost))
}

// errWire: what a node says makes no sense.
var errWire = errors.New("mesh: unreadable")

// xmlLimits are wider than those of clients: a stanza declares more here.
func xmlLimits() xmlstream.Limits {
	return xmlstream.Limits{MaxBytes: stanzaMost, MaxDepth: 80, MaxAttrs: 128, MaxNodes: 1 << 15, MaxName: 512}
}

// passed makes the frame of a stanza, and says how large it is.
func passed(p *dispatch.Passed) (*Frame, int, error) {
	xml := xmlstream.AppendElement(nil, p.Stanza, "")
	if len(xml) > stanzaMost {
		return nil, 0, fmt.Errorf("%w: a stanza of %d bytes", errWire, len(xml))
	}
	s := &Stanza{From: p.From.String(), To: p.To.String(), Xml: xml, Way: uint32(p.Way), Carbons: p.Carbons, Bounce: p.Bounce}
	return &Frame{Content: &Frame_Stanza{s}}, len(xml) + len(s.GetFrom()) + len(s.GetTo()) + frameCost, nil
}

// turnMost leaves room for those that come after.
const turnMost = 1 << 62

// frameCost is about what a frame takes besides what is in it.
const frameCost = 128

// arriving reads a stanza that a node hands on.
func arriving(s *Stanza) (dispatch.Passed, error) {
	p := dispatch.Passed{Carbons: s.GetCarbons(), Bounce: s.GetBounce()}
	var err, err2 error
	p.From, err = jid.Parse(s.GetFrom())
	p.To, err2 = jid.Parse(s.GetTo())
	if err := errors.Join(err, err2); err != nil {
		return p, fmt.Errorf("%w: a stanza's addresses: %w", errWire, err)
	}
	if s.GetWay() > 255 || !dispatch.Way(s.GetWay()).Valid() {
		return p, fmt.Errorf("%w: a stanza goes way %d", errWire, s.GetWay())
	}
	p.Way = dispatch.Way(s.GetWay())
	p.Stanza, err = parse(s.GetXml(), "message", "presence", "iq")
	return p, err
}

// parse reads a stanza of one of these names.
func parse(xml []byte, names ...string) (*xmlstream.Element, error) {
	e, err := xmlstream.ParseElement(xml, xmlLimits())
	if err != nil {
		return nil, fmt.Errorf("%w: a stanza: %w", errWire, err)
	}
	for _, n := range names {
		if e.Is(stanza.NSClient, n) {
			return e, nil
		}
	}
	return nil, fmt.Errorf("%w: an element that is no stanza", errWire)
}

// session makes the message of a session, and says how large it is.
func session(b *dispatch.Bound) (*Session, int) {
	s := &Session{
		Jid: b.JID.String(), Client: b.Client, SinceMs: b.Since.UnixMilli(), Turn: b.Turn, Available: b.Available, Priority: int32(b.Priority),
		Carbons: b.Carbons, Hidden: b.Hidden, Here: b.Here, Looking: b.Looking,
	}
	if b.Presence != nil {
		s.Presence = xmlstream.AppendElement(nil, b.Presence, "")
	}
	return s, len(s.GetJid()) + len(s.GetClient()) + len(s.GetPresence()) + frameCost
}

// bound reads a session of a node. When its presence is what was known, it is the
// same element.
func (m *Mesh) bound(s *Session, was *dispatch.Bound) (*dispatch.Bound, error) {
	full, err := m.full(s.GetJid())
	if err != nil {
		return nil, err
	}
	if s.GetTurn() > turnMost || s.GetPriority() < -128 || s.GetPriority() > 127 || len(s.GetClient()) > jid.MaxPart {
		return nil, fmt.Errorf("%w: a session", errWire)
	}
	b := &dispatch.Bound{
		JID: full, Client: s.GetClient(), Since: time.UnixMilli(s.GetSinceMs()), Turn: s.GetTurn(), Available: s.GetAvailable(),
		Priority: int8(s.GetPriority()), Carbons: s.GetCarbons(), Hidden: s.GetHidden(),
		Attention: dispatch.Attention{Here: s.GetHere(), Looking: s.GetLooking()},
	}
	switch xml := s.GetPresence(); {
	case len(xml) == 0:
	case was != nil && was.Presence != nil && bytes.Equal(xml, xmlstream.AppendElement(nil, was.Presence, "")):
		b.Presence = was.Presence
	default:
		if b.Presence, err = parse(xml, "presence"); err != nil {
			return nil, err
		}
		b.Presence.Set("from", full.String())
	}
	return b, nil
}

// full reads the address of a session.
func (m *Mesh) full(text string) (jid.JID, error) {
	full, err := jid.Parse(text)
	if err != nil || full.IsBare() || full.Local() == "" || full.Domain() != m.o.Domain {
		return jid.JID{}, fmt.Errorf("%w: %q is no session's address", errWire, text)
	}
	return full, nil
}
