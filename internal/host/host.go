// SPDX-License-Identifier: Apache-2.0

// Package host is what the domain, and an account on its owner's behalf,
// answer about themselves: ping, version, time.
package host

import (
	"context"
	"time"

	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Feature answers XEP-0199 §s2c @2.0.1, XEP-0092 §protocol @1.1 and XEP-0202
// §protocol @2.0. now is the clock.
func Feature(version string, now func() time.Time) route.Feature {
	get := func(space, local string, to route.Target, h route.Handler) route.Entry {
		return route.Entry{Key: route.Key{Stanza: "iq", Type: "get", Payload: xmlstream.Name{Space: space, Local: local}}, Targets: to, Handle: h}
	}
	set := func(space, local string, to route.Target, h route.Handler) route.Entry {
		e := get(space, local, to, h)
		e.Type = "set"
		return e
	}
	return route.Feature{
		Name: "host",
		Entries: []route.Entry{
			get(stanza.NSPing, "ping", route.ToServer|route.ToSelf, func(r *route.Request) []route.Effect { return r.Result() }),
			get(stanza.NSVersion, "query", route.ToServer, func(r *route.Request) []route.Effect {
				return r.Result(xmlstream.New(stanza.NSVersion, "query").Add(
					xmlstream.NewText(stanza.NSVersion, "name", "bavard"),
					xmlstream.NewText(stanza.NSVersion, "version", version)))
			}),
			get(stanza.NSTime, "time", route.ToServer, func(r *route.Request) []route.Effect {
				// Reading the clock is an effect, so it is done when performed.
				return []route.Effect{route.Read{Do: func(context.Context) []route.Effect {
					return r.Result(xmlstream.New(stanza.NSTime, "time").Add(
						xmlstream.NewText(stanza.NSTime, "tzo", "+00:00"),
						xmlstream.NewText(stanza.NSTime, "utc", now().UTC().Format("2006-01-02T15:04:05Z"))))
				}}}
			}),
			// RFC 3921's session establishment is a no-op that old clients ask for.
			set(stanza.NSSession, "session", route.ToServer|route.ToSelf, func(r *route.Request) []route.Effect { return r.Result() }),
		},
		Domain:  []string{stanza.NSPing, stanza.NSVersion, stanza.NSTime},
		Account: []string{stanza.NSPing},
	}
}
