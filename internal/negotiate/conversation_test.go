// SPDX-License-Identifier: Apache-2.0

package negotiate

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1" // SCRAM-SHA-1
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bavard/internal/listen"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

var update = flag.Bool("update", false, "rewrite what the server says in testdata")

// TestConversations plays testdata/*.txtar over each framing. Each section of
// a file is a conversation. Lines:
//
//	= OPTION…       how the node is set up: noplain, open (registration), tls12 (the client knows no newer), tls (direct, or https),
//	                starttls, tcp, https; of the last three two only over TCP, and one only over WebSocket
//	C: TEXT         the client sends it as it stands, with ␠ for a space
//	C: open A=V…    a stream header; to and version have defaults, A= leaves one out
//	C: close        the closing tag
//	C: scram MECHANISM USER PASSWORD [GS2 [BINDING]]   up to its <response/>; with p= in GS2 bound
//	                to the channel, or to what BINDING (hexadecimal) says
//	C: sasl2 MECHANISM USER PASSWORD GS2 XML   the same for SASL2; XML is what else <authenticate/> has
//	C: plain USER PASSWORD
//	C: handshake    of TLS
//	S: open …       the server's stream header
//	S: TEXT         the server's next element, random values masked
//	S: close        its closing tag
//	S: gone         it has ended the connection
//
// With -update what stands after S: is rewritten; there must be as many lines.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			run(t, func(t *testing.T, framing listen.Framing) {
				got := playFile(t, framing, string(data))
				if *update && framing == listen.TCP {
					if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

func playFile(t *testing.T, framing listen.Framing, data string) string {
	lines := strings.Split(data, "\n")
	for i := 0; i < len(lines); i++ {
		name, ok := strings.CutPrefix(lines[i], "-- ")
		if !ok {
			continue
		}
		end := i + 1
		for end < len(lines) && !strings.HasPrefix(lines[end], "-- ") {
			end++
		}
		t.Run(strings.TrimSuffix(name, " --"), func(t *testing.T) {
			play(t, framing, lines[i+1:end])
		})
	}
	return strings.Join(lines, "\n")
}

// play runs a conversation and writes what the server said into lines.
func play(t *testing.T, framing listen.Framing, lines []string) {
	var o options
	var d *device
	var n *node
	for i, line := range lines {
		if opts, ok := strings.CutPrefix(line, "= "); ok {
			words := strings.Fields(opts)
			o.startTLS = slices.Contains(words, "starttls")
			o.open = slices.Contains(words, "open")
			o.noPlain = slices.Contains(words, "noplain")
			o.directTLS = slices.Contains(words, "tls") || slices.Contains(words, "https")
			o.tls12 = slices.Contains(words, "tls12")
			if framing == listen.WebSocket && (slices.Contains(words, "tcp") || o.startTLS) {
				return // TLS is negotiated over TCP alone
			}
			if framing == listen.TCP && slices.Contains(words, "https") {
				return
			}
			continue
		}
		if len(line) < 2 || line[1] != ':' {
			continue
		}
		if d == nil {
			n = start(t, o)
			d = n.dial(t, framing)
			if o.directTLS && framing == listen.TCP {
				d.startTLS(n.client)
			}
		}
		text := strings.TrimPrefix(line[2:], " ")
		if line[0] == 'C' {
			d.act(n, text)
			continue
		}
		got := "S: " + d.listen(text)
		if got != line && !*update {
			t.Errorf("line %d\n got %s\nwant %s", i+1, got, line)
		}
		lines[i] = got
	}
}

// act does what a C: line says.
func (d *device) act(n *node, text string) {
	d.t.Helper()
	words := strings.Fields(text)
	switch words[0] {
	case "open":
		attrs := map[string]string{"to": "localhost", "version": "1.0"}
		for _, w := range words[1:] {
			k, v, _ := strings.Cut(w, "=")
			attrs[k] = v
		}
		var list []string
		for k, v := range attrs {
			if v != "" {
				list = append(list, k, v)
			}
		}
		d.open(list...)
	case "close":
		d.close()
	case "handshake":
		d.startTLS(n.client)
	case "scram":
		d.scram(sasl1, words[1], words[2], words[3], append(words[4:], "n,,")[0], strings.Join(words[min(5, len(words)):], ""))
	case "sasl2":
		d.scram(sasl2, words[1], words[2], words[3], words[4], strings.Join(words[min(5, len(words)):], " "))
	case "plain":
		d.send("<auth xmlns='" + stanza.NSSASL + "' mechanism='PLAIN'>" +
			base64.StdEncoding.EncodeToString([]byte("\x00"+words[1]+"\x00"+words[2])) + "</auth>")
	default:
		d.send(strings.ReplaceAll(text, "␠", " "))
	}
}

// listen gives what the server says next; want tells what kind is expected.
func (d *device) listen(want string) string {
	if want == "gone" {
		if d.gone() {
			return "gone"
		}
		return "still there"
	}
	read := d.read
	if strings.HasPrefix(want, "open") {
		read = d.readOpen
	}
	e, err := read()
	switch {
	case errors.Is(err, io.EOF):
		return "close"
	case err != nil:
		return fmt.Sprintf("error %v", err)
	case e.Is(stanza.NSStream, "stream") || e.Is(stanza.NSFraming, "open"):
		return "open from=" + e.Get("from") + " to=" + e.Get("to") + " version=" + e.Get("version") +
			" lang=" + e.Lang() + " id=" + mask(e.Get("id"))
	}
	got := mask(string(xmlstream.AppendElement(nil, e, stanza.NSClient)))
	if !strings.Contains(want, "<authentication xmlns='"+stanza.NSSASL2+"'>") { // what it holds is not at issue
		got = sasl2Offer.ReplaceAllString(got, "$1/>")
	}
	return got
}

var (
	random     = regexp.MustCompile(`[A-Z2-7]{26}`)
	saslSecret = regexp.MustCompile(`(<(?:success|challenge|additional-data)[^>/]*>)[^<]+`)
	sasl2Offer = regexp.MustCompile(`(<authentication xmlns='urn:xmpp:sasl:2')>.*</authentication>`)
	suffix     = regexp.MustCompile(`(@localhost(?:/[^/<']*)?/)[a-z2-7]{13}([<'])`)
)

func mask(s string) string {
	s = suffix.ReplaceAllString(s, "$1*$2")
	return saslSecret.ReplaceAllString(random.ReplaceAllString(s, "*"), "$1*")
}

// scram plays the client of RFC 5802 up to its final message, and checks the
// server's signature when it comes.
func (d *device) scram(in profile, mech, user, password, gs2, rest string) {
	d.t.Helper()
	newHash := map[string]func() hash.Hash{"SCRAM-SHA-1": sha1.New, "SCRAM-SHA-256": sha256.New}[strings.TrimSuffix(mech, "-PLUS")]
	bare := "n=" + user + ",r=abcdefgh"
	first := base64.StdEncoding.EncodeToString([]byte(gs2 + bare))
	binding := rest
	if in == sasl2 {
		first, binding = "<initial-response>"+first+"</initial-response>"+rest, ""
	}
	d.send("<" + in.begin + " xmlns='" + in.space + "' mechanism='" + mech + "'>" + first + "</" + in.begin + ">")
	e := d.mustRead()
	if !e.Is(in.space, "challenge") {
		d.next = e
		return
	}
	challenge, err := base64.StdEncoding.DecodeString(e.Text())
	if err != nil {
		d.t.Fatal(err)
	}
	parts := strings.Split(string(challenge), ",")
	salt, err := base64.StdEncoding.DecodeString(parts[1][2:])
	if err != nil {
		d.t.Fatal(err)
	}
	iterations, err := strconv.Atoi(parts[2][2:])
	if err != nil {
		d.t.Fatal(err)
	}
	salted, err := pbkdf2.Key(newHash, password, salt, iterations, newHash().Size())
	if err != nil {
		d.t.Fatal(err)
	}
	sign := func(key []byte, s string) []byte {
		m := hmac.New(newHash, key)
		m.Write([]byte(s))
		return m.Sum(nil)
	}
	final := "c=" + base64.StdEncoding.EncodeToString(append([]byte(gs2), d.binding(gs2, binding)...)) + "," + parts[0]
	message := bare + "," + string(challenge) + "," + final
	clientKey := sign(salted, "Client Key")
	h := newHash()
	h.Write(clientKey)
	proof := sign(h.Sum(nil), message)
	subtle.XORBytes(proof, proof, clientKey)
	final += ",p=" + base64.StdEncoding.EncodeToString(proof)
	d.send("<response xmlns='" + in.space + "'>" + base64.StdEncoding.EncodeToString([]byte(final)) + "</response>")

	d.next = d.mustRead()
	if !d.next.Is(in.space, "success") {
		return
	}
	data := d.next
	if in == sasl2 {
		data = d.next.Child(in.space, "additional-data")
	}
	verifier, err := base64.StdEncoding.DecodeString(data.Text())
	want := "v=" + base64.StdEncoding.EncodeToString(sign(sign(salted, "Server Key"), message))
	if err != nil || !bytes.Equal(verifier, []byte(want)) {
		d.t.Errorf("the server proves itself with %q, want %q", verifier, want)
	}
}

// binding gives what a client adds to its GS2 header: nothing unless that
// begins with p=, else the data of that type, as the client's side of TLS
// knows it, or what text says.
func (d *device) binding(gs2, text string) []byte {
	d.t.Helper()
	typ, ok := strings.CutPrefix(gs2, "p=")
	if !ok {
		return nil
	}
	if text != "" {
		b, err := hex.DecodeString(text)
		if err != nil {
			d.t.Fatal(err)
		}
		return b
	}
	state := d.conn.(*tls.Conn).ConnectionState()
	switch typ, _, _ = strings.Cut(typ, ","); typ {
	case "tls-exporter":
		b, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
		if err != nil {
			d.t.Fatal(err)
		}
		return b
	case "tls-server-end-point":
		b := sha256.Sum256(state.PeerCertificates[0].Raw) // signed with ECDSA and SHA-256
		return b[:]
	}
	return state.TLSUnique
}
