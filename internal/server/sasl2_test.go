// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"

	"bavard/internal/stanza"
)

// open opens a stream on which nobody has logged in, and listens.
func (d *device) open() {
	d.t.Helper()
	var err error
	if d.pipe, err = d.dial(); err != nil {
		d.t.Fatal(err)
	}
	if _, err = d.pipe.open("localhost"); err != nil {
		d.t.Fatalf("%s: open: %v", d.user, err)
	}
	d.listen()
}

// sasl2 plays a login up to the server's last word, which it leaves unread.
func (d *device) sasl2(arg string) {
	d.t.Helper()
	mechanism, arg, _ := strings.Cut(arg, " ")
	secret, rest, _ := strings.Cut(arg, " ")
	secret = strings.ReplaceAll(secret, "+", " ")
	if secret == "password" {
		secret = password
	}
	d.managed = strings.Contains(rest, stanza.NSSM)
	begin := func(first []byte) {
		d.send("<authenticate xmlns='" + stanza.NSSASL2 + "' mechanism='" + mechanism + "'><initial-response>" +
			base64.StdEncoding.EncodeToString(first) + "</initial-response>" + rest + "</authenticate>")
	}
	if strings.HasPrefix(mechanism, "HT-") {
		begin(append([]byte(d.user+"\x00"), sum([]byte(secret), "Initiator")...))
		return
	}
	if strings.Count(secret, "-") == 6 { // a recovery code as people write it down
		secret = strings.ReplaceAll(secret, "-", "")
	}
	bare := "n=" + d.user + ",r=clientnonce"
	begin([]byte("n,," + bare))
	e, _ := d.next()
	if !e.Is(stanza.NSSASL2, "challenge") {
		d.t.Fatalf("%s: SASL2 answered %s", d.user, text(e))
	}
	challenge, _ := base64.StdEncoding.DecodeString(e.Text())
	parts := strings.Split(string(challenge), ",")
	salt, _ := base64.StdEncoding.DecodeString(parts[1][2:])
	iterations, _ := strconv.Atoi(parts[2][2:])
	salted, err := pbkdf2.Key(sha256.New, secret, salt, iterations, sha256.Size)
	if err != nil {
		d.t.Fatal(err)
	}
	final := "c=biws," + parts[0]
	key := sum(salted, "Client Key")
	stored := sha256.Sum256(key)
	proof := sum(stored[:], bare+","+string(challenge)+","+final)
	subtle.XORBytes(proof, proof, key)
	final += ",p=" + base64.StdEncoding.EncodeToString(proof)
	d.send("<response xmlns='" + stanza.NSSASL2 + "'>" + base64.StdEncoding.EncodeToString([]byte(final)) + "</response>")
}

func sum(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
