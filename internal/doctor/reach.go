// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"bavard/internal/config"
)

// fromHere is what to make of a connection that fails.
const fromHere = "open the port in the firewall; if only this machine cannot get there, as behind some routers, try from another one"

// reach connects as a client does, up to TLS with the server's certificate.
func (e *examination) reach(ctx context.Context, t target) {
	const about = "reachable"
	if !e.running {
		e.add(Unchecked, about, "start the server first", "%s: no server runs here", t)
		return
	}
	conn, err := e.connect(ctx, t.String())
	if err != nil {
		e.add(Warning, about, fromHere, "%s does not answer: %v", t, err)
		return
	}
	defer conn.Close()
	how := "direct TLS"
	if !t.direct {
		how = "STARTTLS"
		if err := startTLS(conn, e.Config.Domain); err != nil {
			e.add(Problem, about, "see what listens there", "%s: %v", t, err)
			return
		}
	}
	cfg := e.tls(e.Config.Domain)
	if t.direct {
		cfg.NextProtos = []string{"xmpp-client"} // XEP-0368 §reqs @1.1.0
	}
	secure := tls.Client(conn, cfg)
	var untrusted *tls.CertificateVerificationError
	switch err := secure.HandshakeContext(ctx); {
	case errors.As(err, &untrusted):
		e.add(Problem, about, "see what is said of the certificate above; after a renewal it is taken up within 15 s", "%s: clients refuse its certificate: %s", t, strings.TrimPrefix(untrusted.Err.Error(), "x509: "))
	case err != nil:
		e.add(Problem, about, "see what listens there", "%s: %s fails: %v", t, how, err)
	default:
		e.add(OK, about, "", "%s answers by %s with a certificate that clients trust", t, how)
	}
}

// startTLS begins a stream and asks for TLS (RFC 6120 §5.4). It is no client:
// it looks for what it has to see.
func startTLS(conn net.Conn, domain string) error {
	header := "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='" + domain + "'>"
	if _, err := io.WriteString(conn, header); err != nil {
		return err
	}
	if err := expect(conn, "urn:ietf:params:xml:ns:xmpp-tls"); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); err != nil {
		return err
	}
	return expect(conn, "<proceed")
}

// expect reads until a text has come, byte by byte: what follows is TLS.
func expect(conn net.Conn, want string) error {
	var got strings.Builder
	b := make([]byte, 1)
	for got.Len() < 16<<10 {
		if _, err := conn.Read(b); err != nil {
			return fmt.Errorf("it is no XMPP server with STARTTLS: %w", err)
		}
		got.Write(b)
		text := got.String()
		if b[0] == '>' && strings.Contains(text, want) && (want[0] == '<' || strings.HasSuffix(text, "features>")) {
			return nil
		}
		if strings.Contains(text, "</stream:error>") {
			return errors.New("it refuses: " + text[strings.LastIndex(text, "<stream:error>"):])
		}
	}
	return errors.New("it is no XMPP server with STARTTLS")
}

// web looks at what browsers and web clients ask for.
func (e *examination) web(ctx context.Context) {
	const about = "app"
	l := e.Config.Listen
	if l.HTTP == "" && l.HTTPS == "" {
		e.add(OK, about, "", "switched off: neither listen.http nor listen.https is set")
		return
	}
	if !e.beyond() {
		return
	}
	base := e.Config.LinkBase(l.HTTPS, l.HTTP)
	e.files(base)
	switch {
	case !strings.HasPrefix(base, "https://"):
		e.add(Warning, about, "set listen.https = \":443\", or put a proxy that encrypts before listen.http and set public_url", "it is at %s: nobody else can open it", base)
		return
	case !e.running:
		e.add(Unchecked, about, "start the server first", "%s: no server runs here", base)
		return
	}
	if !e.about(ctx, base) {
		return
	}
	e.hostMeta(ctx)
	if l.HTTPS == "" && config.Loopback(l.HTTP) && !l.BehindProxy {
		e.add(Warning, about, "set listen.behind_proxy = true", "a proxy answers for it, and it is not told so: all clients count as one address")
	}
}

// files looks at the addresses that files get which people share (XEP-0363).
func (e *examination) files(base string) {
	const about = "files"
	c := e.Config
	switch files := c.UploadBase(c.Listen.HTTPS, c.Listen.HTTP); {
	case c.Upload.MaxSizeMiB == 0:
		e.add(OK, about, "", "switched off: upload.max_size_mib is 0")
	case !strings.HasPrefix(files, "https://"):
		e.add(Warning, about, "set public_url", "they are at %s: nobody else can share or open any", files)
	case c.PublicURL == "" && c.Upload.URL == "" && c.Listen.HTTPS == "":
		e.add(Warning, about, "set public_url to where the proxy answers", "public_url is not set, so that files are taken to be at %s", files)
	case files != base:
		e.add(OK, about, "", "they have an origin of their own, %s: its name has to lead to the same listeners", files)
	default:
		e.add(OK, about, "", "they are shared at %s", files)
	}
}

// about asks the app at base whose it is.
func (e *examination) about(ctx context.Context, base string) bool {
	const about = "app"
	var who struct {
		Domain string `json:"domain"`
	}
	err := e.get(ctx, base+"/.well-known/bavard.json", &who)
	switch {
	case err != nil:
		e.add(Warning, about, fromHere, "%s: %v", base, err)
		return false
	case who.Domain != e.Config.Domain:
		e.add(Problem, about, "correct public_url, DNS or the proxy", "%s answers, but it is not this server", base)
		return false
	}
	e.add(OK, about, "", "%s answers with a certificate that browsers trust", base)
	return true
}

// hostMeta asks as web clients do (XEP-0156 §http @1.4.0).
func (e *examination) hostMeta(ctx context.Context) {
	const about = "host-meta"
	address := "https://" + e.Config.Domain + "/.well-known/host-meta.json"
	var meta struct {
		Links []struct {
			Rel  string `json:"rel"`
			Href string `json:"href"`
		} `json:"links"`
	}
	if err := e.get(ctx, address, &meta); err != nil {
		e.add(Warning, about, "have the web server of "+e.Config.Domain+" pass /.well-known/host-meta and host-meta.json on to bavard", "web clients do not find the WebSocket: %v", err)
		return
	}
	for _, l := range meta.Links {
		if l.Rel == "urn:xmpp:alt-connections:websocket" && strings.HasPrefix(l.Href, "wss://") {
			e.add(OK, about, "", "web clients are led to %s", l.Href)
			return
		}
	}
	e.add(Warning, about, "set public_url", "%s names no WebSocket", address)
}

// get reads a JSON document.
func (e *examination) get(ctx context.Context, address string, to any) error {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := e.client().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(to); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	return nil
}
