// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// patience bounds every wait of a test for something that must come.
const patience = time.Minute

// pipe is a raw connection in one framing.
type pipe interface {
	open(domain string) (*xmlstream.Element, error) // header, then features
	read() (*xmlstream.Element, error)
	write(raw string) error
	cut()
}

type tcpPipe struct {
	conn net.Conn
	r    *xmlstream.Reader
}

func dialTCP(address string) (pipe, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &tcpPipe{conn: conn}, nil
}

func (p *tcpPipe) open(domain string) (*xmlstream.Element, error) {
	if err := p.write("<?xml version='1.0'?><stream:stream to='" + domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='" + stanza.NSStream + "'>"); err != nil {
		return nil, err
	}
	p.r = xmlstream.NewReader(p.conn, xmlstream.AfterAuth)
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := p.r.ReadOpen(); err != nil {
		return nil, err
	}
	return p.read()
}

func (p *tcpPipe) read() (*xmlstream.Element, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	return p.r.Read()
}

func (p *tcpPipe) write(raw string) error {
	_, err := p.conn.Write([]byte(raw))
	return err
}

func (p *tcpPipe) cut() { _ = p.conn.Close() }

type wsPipe struct{ conn *websocket.Conn }

func dialWebSocket(address string) (pipe, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+address+"/xmpp-websocket", &websocket.DialOptions{Subprotocols: []string{"xmpp"}})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(1 << 20)
	return &wsPipe{conn}, nil
}

func (p *wsPipe) open(domain string) (*xmlstream.Element, error) {
	if err := p.write("<open xmlns='" + stanza.NSFraming + "' to='" + domain + "' version='1.0'/>"); err != nil {
		return nil, err
	}
	if _, err := p.read(); err != nil {
		return nil, err
	}
	return p.read()
}

func (p *wsPipe) read() (*xmlstream.Element, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, b, err := p.conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	return xmlstream.ParseElement(b, xmlstream.AfterAuth)
}

// write sends one frame; it declares jabber:client where the stanza relies on
// the stream's.
func (p *wsPipe) write(raw string) error {
	for _, name := range []string{"message", "presence", "iq"} {
		if strings.HasPrefix(raw, "<"+name) && !strings.Contains(raw[:strings.IndexByte(raw, '>')], "xmlns=") {
			raw = "<" + name + " xmlns='jabber:client'" + raw[1+len(name):]
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return p.conn.Write(ctx, websocket.MessageText, []byte(raw))
}

func (p *wsPipe) cut() { _ = p.conn.CloseNow() }

// device is one scripted client.
type device struct {
	t        *testing.T
	user     string
	resource string
	dial     func() (pipe, error)
	pipe     pipe
	in       chan *xmlstream.Element
	managed  bool   // it enabled stream management through login
	previd   string // to resume with
	received atomic.Uint32
	features *xmlstream.Element // of the stream, after login
}

const password = "correct horse battery"

// login authenticates; bind or resume follows.
func (d *device) login() {
	d.t.Helper()
	var err error
	if d.pipe, err = d.dial(); err != nil {
		d.t.Fatal(err)
	}
	if _, err = d.pipe.open("localhost"); err != nil {
		d.t.Fatalf("%s: open: %v", d.user, err)
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + d.user + "\x00" + password))
	d.send("<auth xmlns='" + stanza.NSSASL + "' mechanism='PLAIN'>" + plain + "</auth>")
	if got := d.must(); got.Name.Local != "success" {
		d.t.Fatalf("%s: login answered %s", d.user, text(got))
	}
	if d.features, err = d.pipe.open("localhost"); err != nil {
		d.t.Fatalf("%s: open after login: %v", d.user, err)
	}
}

// refused tries to log in and gives the condition of the failure.
func (d *device) refused() string {
	d.t.Helper()
	var err error
	if d.pipe, err = d.dial(); err != nil {
		d.t.Fatal(err)
	}
	defer d.pipe.cut()
	if _, err = d.pipe.open("localhost"); err != nil {
		d.t.Fatalf("%s: open: %v", d.user, err)
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + d.user + "\x00" + password))
	d.send("<auth xmlns='" + stanza.NSSASL + "' mechanism='PLAIN'>" + plain + "</auth>")
	got := d.must()
	if got.Name.Local != "failure" {
		return text(got)
	}
	return got.First().Name.Local
}

func (d *device) bind() {
	d.t.Helper()
	d.send("<iq type='set' id='bind'><bind xmlns='" + stanza.NSBind + "'><resource>" + d.resource + "</resource></bind></iq>")
	if got := d.must(); got.Get("type") != "result" {
		d.t.Fatalf("%s: bind answered %s", d.user, text(got))
	}
}

// enable switches resumable stream management on, before anything is listened
// for.
func (d *device) enable() {
	d.t.Helper()
	d.send("<enable xmlns='" + stanza.NSSM + "' resume='true'/>")
	got := d.must()
	if got.Name.Local != "enabled" {
		d.t.Fatalf("%s: enable answered %s", d.user, text(got))
	}
	d.previd, d.managed = got.Get("id"), true
	d.received.Store(0)
}

// resume comes back on a new stream.
func (d *device) resume() {
	d.t.Helper()
	d.login()
	d.send(fmt.Sprintf("<resume xmlns='%s' previd='%s' h='%d'/>", stanza.NSSM, d.previd, d.received.Load()))
	if got := d.must(); got.Name.Local != "resumed" {
		d.t.Fatalf("%s: resume answered %s", d.user, text(got))
	}
}

func (d *device) must() *xmlstream.Element {
	d.t.Helper()
	el, err := d.pipe.read()
	if err != nil {
		d.t.Fatalf("%s: read: %v", d.user, err)
	}
	return el
}

func (d *device) send(raw string) {
	d.t.Helper()
	if err := d.pipe.write(raw); err != nil {
		d.t.Fatalf("%s: write: %v", d.user, err)
	}
}

// listen collects what comes until the stream ends. With stream management it
// answers requests for acks, so that conversations need not.
func (d *device) listen() {
	in, p := make(chan *xmlstream.Element, 1024), d.pipe
	d.in = in
	go func() {
		defer close(in)
		for {
			el, err := p.read()
			if err != nil {
				return
			}
			if d.managed && el.Name.Space == stanza.NSSM {
				if el.Name.Local == "r" {
					_ = p.write(fmt.Sprintf("<a xmlns='%s' h='%d'/>", stanza.NSSM, d.received.Load()))
				}
				continue
			}
			if el.Name.Space == stanza.NSClient {
				d.received.Add(1)
			}
			if !d.managed && strings.HasPrefix(el.Get("id"), "got-") && el.Child(stanza.NSDiscoItems, "query") != nil {
				_ = p.write("<iq type='result' id='" + el.Get("id") + "' to='localhost'/>")
				continue
			}
			in <- el
		}
	}()
}

// next waits for one element; nil when the stream has ended.
func (d *device) next() (*xmlstream.Element, bool) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case el, ok := <-d.in:
		return el, ok
	case <-t.C:
		return nil, true
	}
}

func text(e *xmlstream.Element) string {
	if e == nil {
		return "nothing"
	}
	return string(xmlstream.AppendElement(nil, e, stanza.NSClient))
}
