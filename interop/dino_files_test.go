// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestDinoFiles: Dino gets a picture that a contact puts, by itself, and puts
// one.
func TestDinoFiles(t *testing.T) {
	needDino(t)
	needModule(t, "slixmpp")
	needModule(t, "aiohttp")
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	origin := "https://localhost:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	s := startServerOf(t, "chat.test", withHTTPS+"[upload]\nurl = \""+origin+"\"\n") // Dino puts files by https only
	newLineFrom(t, l, s.web)
	d := dinoChat{dino: s.dino(t, "ann")}
	d.contact = startScript(t, "slixmpp", slixmppLine, "SSL_CERT_FILE="+s.ca)
	d.contact.do("connect", map[string]any{"jid": "bob@chat.test/one", "password": password, "host": d.network.host(), "port": atoi(t, d.network.port()), "ca": s.ca})
	d.contact.event("session_start")
	d.contact.do("roster", nil)
	d.contact.do("available", nil)
	d.contacts() // Dino fetches by itself what contacts send

	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 16, 16))); err != nil {
		t.Fatal(err)
	}
	url := d.contact.do("upload", map[string]any{"name": "score.png", "type": "image/png", "content": base64.StdEncoding.EncodeToString(picture.Bytes()), "encoding": "base64"}).(string)
	d.contact.do("send", map[string]any{"to": d.jid, "body": url, "oob": url})
	d.believes("0|1", "select state, direction = 0 from file_transfer where file_name = 'score.png'")
	d.until("the picture", func(ctx context.Context) error {
		name, err := d.sql(ctx, "select path from file_transfer where file_name = 'score.png'")
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(d.dir, "data", "dino", "files", filepath.Base(name)))
		if err == nil && !bytes.Equal(got, picture.Bytes()) {
			err = fmt.Errorf("it has %d bytes instead of %d", len(got), picture.Len())
		}
		return err
	})

	file := filepath.Join(d.dir, "notes.png")
	if err := os.WriteFile(file, picture.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	d.open("bob@chat.test")
	d.typeKeys("", "ctrl+u")
	d.focus("Select file")
	d.typeKeys(file, "Return")
	d.focus("Dino") // which shows the picture and asks whether to send it
	d.until("sending it", func(ctx context.Context) error {
		if _, err := d.desktop.run(ctx, "xdotool", "key", "Return"); err != nil {
			return err
		}
		n, err := d.sql(ctx, "select count(*) from file_transfer where file_name = 'notes.png'")
		if err == nil && n != "1" {
			err = fmt.Errorf("there are %s transfers", n)
		}
		return err
	})
	m := d.contact.take("the address of a picture", func(line map[string]any) bool {
		return line["event"] == "message" && strings.HasSuffix(fmt.Sprint(line["body"]), "notes.png")
	})
	fetchedBy(t, s.browser(t), m["body"].(string), "image/png", picture.String())
	d.believes("0", "select state from file_transfer where file_name = 'notes.png'")
}

// focus gives the keyboard to a window by its title: nobody manages windows here.
func (d *desktop) focus(title string) {
	d.t.Helper()
	if _, err := d.run(testContext(d.t), "xdotool", "search", "--sync", "--onlyvisible", "--name", "^"+title+"$", "windowfocus"); err != nil {
		d.t.Fatal(err)
	}
}

// browser is an HTTP client that trusts the server's authority alone.
func (s *server) browser(t *testing.T) *http.Client {
	t.Helper()
	authority, err := os.ReadFile(s.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		t.Fatal("no certificate in " + s.ca)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
