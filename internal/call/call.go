// SPDX-License-Identifier: Apache-2.0

// Package call tells clients by which servers devices find a way to each other
// for a call: STUN servers, which say what one's address looks like from
// outside, and TURN servers, which relay (XEP-0215). These are other programs;
// what they share with this one is a secret, from which the credentials are
// made that they admit an account by for a while.
package call

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Server is a STUN or TURN server.
type Server struct {
	Type      string // stun, stuns, turn, turns
	Host      string // a name or an address
	Port      uint16
	Transport string // udp, tcp
}

// relays reports whether the server wants to know whom it works for.
func (s Server) relays() bool { return strings.HasPrefix(s.Type, "turn") }

// Options of the feature.
type Options struct {
	Servers []Server
	// Secret that the TURN servers know as well.
	Secret []byte
	// Lifetime of credentials.
	Lifetime time.Duration
	Now      func() time.Time
}

type calls struct{ o Options }

// Feature tells people's clients of the servers, with credentials of their own
// (XEP-0215 §usecases @1.0.0). Without a server there is nothing to tell, and
// nothing is advertised.
func Feature(o Options) route.Feature {
	f := route.Feature{Name: "servers for calls"}
	if len(o.Servers) == 0 {
		return f
	}
	c := &calls{o: o}
	get := func(local string, h route.Handler) route.Entry {
		return route.Entry{
			Key: route.Key{Stanza: "iq", Type: "get", Payload: xmlstream.Name{Space: stanza.NSExtDisco, Local: local}},
			// Clients ask the domain, or leave the address out.
			Targets: route.ToServer | route.ToSelf, Handle: h,
		}
	}
	f.Entries = []route.Entry{get("services", c.services), get("credentials", c.credentials)}
	f.Domain = []string{stanza.NSExtDisco}
	return f
}

// services lists all servers, or those of a type (XEP-0215 §all @1.0.0, §select).
func (c *calls) services(r *route.Request) []route.Effect {
	typ, some := r.Payload.Lookup("type")
	out := xmlstream.New(stanza.NSExtDisco, "services")
	if some {
		out.Set("type", typ)
	}
	return c.answer(r, out, func(s Server) bool { return !some || s.Type == typ })
}

// credentials gives those for one server, at all of its ports or one (XEP-0215
// §credentials @1.0.0).
func (c *calls) credentials(r *route.Request) []route.Effect {
	asked := r.Payload.Elements()
	if len(asked) != 1 || !asked[0].Is(stanza.NSExtDisco, "service") || asked[0].Get("host") == "" || asked[0].Get("type") == "" {
		return r.Err(stanza.Modify, stanza.BadRequest, "name one service, by its host and its type")
	}
	host, typ := asked[0].Get("host"), asked[0].Get("type")
	port, some := asked[0].Lookup("port")
	is := func(s Server) bool {
		return strings.EqualFold(s.Host, host) && s.Type == typ && (!some || port == strconv.Itoa(int(s.Port)))
	}
	known, relays := false, false
	for _, s := range c.o.Servers {
		known, relays = known || is(s), relays || is(s) && s.relays()
	}
	switch {
	case !known:
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "there is no such service")
	case !relays:
		return r.Err(stanza.Cancel, stanza.ItemNotFound, "this service is used without credentials")
	}
	return c.answer(r, xmlstream.New(stanza.NSExtDisco, "credentials"), is)
}

// answer adds the servers that are meant to an answer.
func (c *calls) answer(r *route.Request, out *xmlstream.Element, meant func(Server) bool) []route.Effect {
	return []route.Effect{route.Read{Do: func(context.Context) []route.Effect { // the clock is read when it is performed
		ends := c.o.Now().Add(c.o.Lifetime).Truncate(time.Second)
		for _, s := range c.o.Servers {
			if meant(s) {
				out.Add(c.service(s, r.From, ends))
			}
		}
		return r.Result(out)
	}}}
}

func (c *calls) service(s Server, who jid.JID, ends time.Time) *xmlstream.Element {
	e := xmlstream.New(stanza.NSExtDisco, "service",
		"host", s.Host, "port", strconv.Itoa(int(s.Port)), "transport", s.Transport, "type", s.Type)
	if s.relays() {
		name, password := credentials(c.o.Secret, account(c.o.Secret, who.Bare().String()), ends)
		e.Set("restricted", "true")
		e.Set("username", name)
		e.Set("password", password)
		e.Set("expires", ends.UTC().Format("2006-01-02T15:04:05Z"))
	}
	return e
}

// account names an account to TURN servers, the same one each time, so that they
// can hold it to a quota: not by its address, which anybody between a device and
// the server could read.
func account(secret []byte, bare string) string {
	const length = 10
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("account\x00" + bare))
	return hex.EncodeToString(m.Sum(nil)[:length])
}

// credentials are those of draft-uberti-behave-turn-rest-00 §2.2, which coturn
// calls use-auth-secret: the server checks the time in the name, and computes
// the password itself.
func credentials(secret []byte, account string, ends time.Time) (name, password string) {
	name = fmt.Sprintf("%d:%s", ends.Unix(), account)
	m := hmac.New(sha1.New, secret) // what TURN servers compute
	m.Write([]byte(name))
	return name, base64.StdEncoding.EncodeToString(m.Sum(nil))
}
