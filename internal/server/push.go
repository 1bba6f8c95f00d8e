// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bavard/internal/command"
	"bavard/internal/config"
	"bavard/internal/datadir"
	"bavard/internal/jid"
	"bavard/internal/push"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/webpush"
)

// Lifetimes of notifications at push services: a phone that was off for longer
// learns of messages when it is opened, and who called has hung up.
const (
	messageLife = 7 * 24 * time.Hour
	callLife    = time.Minute
)

// pushes is what notifies people of what no device shows them.
type pushes struct {
	client *webpush.Client
	sender *webpush.Sender
	pusher *push.Pusher
}

// makePushes puts the pushes together, unless they are off; key is the cell's.
func (s *server) makePushes(key []byte) (route.Feature, error) {
	if !s.cfg.Push.Enabled {
		return route.Feature{Name: "push"}, nil
	}
	vapid, err := vapidKey(s.dir.Keys())
	if err != nil {
		return route.Feature{}, err
	}
	roots, err := pushRoots(s.cfg.Push.Roots)
	if err != nil {
		return route.Feature{}, err
	}
	p := &pushes{client: webpush.NewClient(webpush.Options{
		Key: vapid, Subject: subject(&s.cfg), Allow: s.cfg.Push.AllowPrefixes(), Roots: roots, Agent: "bavard/" + s.o.Version,
	})}
	p.sender = webpush.NewSender(webpush.SenderOptions{Transport: p.client, Gone: s.pushGone, Logger: s.log})
	p.pusher, err = push.NewPusher(push.PusherOptions{
		Domain: s.cfg.Domain, View: s.cell, Devices: s.attending,
		InRoom: func(room jid.JID, d *push.Device) bool { return s.rooms.InsideOn(d.Node, room, d.JID) },
		Wants:  s.wants,
		OccupantID: func(room, account string) string {
			a, err := s.cell.Account(account)
			if err != nil {
				return ""
			}
			return s.rooms.OccupantID(room, account, a.ID)
		},
		Send: p.send, TagKey: derived(key, "push-tag"), Logger: s.log,
	})
	if err != nil {
		p.sender.Close()
		return route.Feature{}, err
	}
	s.pushes = p
	return push.Feature(push.Options{
		Domain: s.cfg.Domain, PublicKey: vapid.Public(), NewID: rand.Text,
		Client: s.hub.Client, CheckEndpoint: p.client.Check, CheckKeys: webpush.CheckKeys,
	}), nil
}

// missed is for session.Options.
func (p *pushes) missed() func(jid.JID, []route.Out) {
	if p == nil {
		return nil
	}
	return p.pusher.Missed
}

func (p *pushes) close() {
	if p != nil {
		p.pusher.Close()
		p.sender.Close()
		p.client.Close()
	}
}

// attending gives the devices of an account as pushes see them.
func (s *server) attending(account string) []push.Device {
	all := s.hub.Attending(account)
	out := make([]push.Device, len(all))
	for i, a := range all {
		out[i] = push.Device{JID: a.JID, Here: a.Here, Looking: a.Looking, Messages: a.Messages, Node: a.Node}
	}
	return out
}

// wants reads what somebody has set for a chat (docs/chats.md), or for a room in its
// bookmark.
func (s *server) wants(account, with string) push.Wish {
	node, read := stanza.NSChats, func(payload []byte) state.Notify {
		set, _ := state.ParseChatSettings(payload)
		return set.Notify
	}
	if strings.HasSuffix(with, "@rooms."+s.cfg.Domain) {
		node, read = stanza.NSBookmarks, state.BookmarkNotify
	}
	page, err := s.cell.PubsubItems(account, node, state.PubsubQuery{IDs: []string{with}})
	if err != nil || len(page.Items) == 0 {
		return push.All
	}
	switch set, now := read(page.Items[0].Payload), time.Now(); {
	case set.Silent(now):
		return push.None
	case set.When == "on-mention" && !set.Over(now):
		return push.Mentions
	}
	return push.All
}

// send hands a notification to Web Push. What it says is in docs/push.md.
func (p *pushes) send(n push.Note) {
	kind, topic, life := "message", "message", messageLife
	switch n.Kind {
	case push.Call:
		kind, topic, life = "call", "call", callLife
	case push.Ended: // takes the place of the call that it ends
		kind, topic = "ended", "call"
	case push.Request:
		kind, topic = "request", "request"
	}
	text, err := json.Marshal(map[string]any{"v": 1, "kind": kind, "tag": n.Tag})
	if err != nil {
		return // it is made of strings
	}
	to := n.To.Service
	p.sender.Send(n.Account, webpush.Subscription{Endpoint: to.Endpoint, P256dh: to.P256dh, Auth: to.Auth},
		webpush.Note{Text: text, Topic: topic, Urgent: topic == "call", Life: life})
}

// pushGone forgets an endpoint that is no more.
func (s *server) pushGone(account string, gone webpush.Subscription) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := s.cell.Do(ctx, &command.Command{Request: &command.Command_PushForget{
		PushForget: &command.PushForget{Account: account, Endpoint: gone.Endpoint},
	}})
	if err != nil {
		s.log.Debug("an endpoint that is no more was not forgotten; it will be with the next push", "err", err)
	}
}

// vapidKey is what browsers know the server by: made at the first start.
func vapidKey(dir string) (*webpush.Key, error) {
	name := filepath.Join(dir, "vapid.key")
	text, err := os.ReadFile(name)
	switch {
	case err == nil:
		key, err := webpush.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: restore it, or delete it: then browsers have to be allowed to notify anew", name, err)
		}
		return key, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read the key of Web Push: %w", err)
	}
	key, err := webpush.NewKey()
	if err != nil {
		return nil, err
	}
	if text, err = key.PEM(); err != nil {
		return nil, err
	}
	if err := datadir.WriteFile(name, text, 0o600); err != nil {
		return nil, fmt.Errorf("write the key of Web Push: %w", err)
	}
	return key, nil
}

func pushRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("push.roots: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("push.roots: %s holds no certificate", file)
	}
	return pool, nil
}

// subject is how push services reach who runs the server (RFC 8292 §2.1).
func subject(c *config.Config) string {
	for _, uri := range slices.Concat(c.Contact.Admin, c.Contact.Support, c.Contact.Abuse) {
		if strings.HasPrefix(uri, "mailto:") || strings.HasPrefix(uri, "https:") {
			return uri
		}
	}
	if strings.HasPrefix(c.PublicURL, "https:") {
		return c.PublicURL
	}
	return "mailto:postmaster@" + c.Domain // RFC 2142 §5
}

// trouble is what hinders pushes, "" for nothing.
func (p *pushes) trouble() string {
	if p == nil {
		return ""
	}
	return p.sender.Trouble()
}

// collect registers the figures of pushes.
func (p *pushes) collect(r prometheus.Registerer) {
	stats := func() webpush.Stats {
		if p == nil {
			return webpush.Stats{}
		}
		return p.sender.Stats()
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "bavard", Name: "push_waiting", Help: "Subscriptions with a notification that was not sent yet.",
	}, func() float64 { return float64(stats().Waiting) }))
	for result, read := range map[string]func() uint64{
		"sent":      func() uint64 { return stats().Sent },
		"failed":    func() uint64 { return stats().Failed },
		"gone":      func() uint64 { return stats().Gone },
		"coalesced": func() uint64 { return stats().Coalesced },
		"dropped": func() uint64 {
			if p == nil {
				return 0
			}
			return stats().Dropped + p.pusher.Dropped()
		},
	} {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "bavard", Name: "push_total", ConstLabels: prometheus.Labels{"result": result},
			Help: "Notifications, by what came of them.",
		}, func() float64 { return float64(read()) }))
	}
}
