// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// The exchanges of RFC 5802 §5 and RFC 7677 §3.
var scramVectors = []struct {
	mechanism, nonce, first, serverFirst, final, serverFinal string
}{
	{
		scramSHA1, "fyko+d2lbbFgONRv9qkxdawL",
		"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
	},
	{
		scramSHA256, "rOprNGfwEbeRWgbNEkqO",
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	},
}

func TestScramVectors(t *testing.T) {
	for _, v := range scramVectors {
		t.Run(v.mechanism, func(t *testing.T) {
			var keys Keys
			for range 2 { // the second time from the cache
				c, err := newScram(v.mechanism, "user", "pencil", &keys)
				if err != nil {
					t.Fatal(err)
				}
				c.nonce = v.nonce
				if got := string(c.start()); got != v.first {
					t.Fatalf("first %q", got)
				}
				final, err := c.answer([]byte(v.serverFirst))
				if err != nil || string(final) != v.final {
					t.Fatalf("final %q, %v", final, err)
				}
				if err := c.finish([]byte(v.serverFinal)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestScramRefuses(t *testing.T) {
	v := scramVectors[0]
	for name, serverFirst := range map[string]string{
		"another nonce":       strings.Replace(v.serverFirst, "r=fyko", "r=fxko", 1),
		"nonce not extended":  "r=" + v.nonce + ",s=QSXCR+Q6sek8bf92,i=4096",
		"no salt":             "r=" + v.nonce + "x,s=,i=4096",
		"no iterations":       "r=" + v.nonce + "x,s=QSXCR+Q6sek8bf92",
		"too many iterations": "r=" + v.nonce + "x,s=QSXCR+Q6sek8bf92,i=99999999",
		"mandatory extension": "m=new," + v.serverFirst,
		"not SCRAM":           "hello",
	} {
		c, _ := newScram(v.mechanism, "user", "pencil", nil)
		c.nonce = v.nonce
		c.start()
		if _, err := c.answer([]byte(serverFirst)); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if err := c.finish([]byte(v.serverFinal)); err == nil {
			t.Errorf("%s: signature accepted", name)
		}
	}
	c, _ := newScram(v.mechanism, "user", "pencil", nil)
	c.nonce = v.nonce
	c.start()
	if _, err := c.answer([]byte(v.serverFirst)); err != nil {
		t.Fatal(err)
	}
	for _, final := range []string{"", "v=", "e=other-error", "v=" + strings.Repeat("A", 28)} {
		if c.finish([]byte(final)) == nil {
			t.Errorf("%q accepted", final)
		}
	}
	if _, err := newScram("DIGEST-MD5", "u", "p", nil); err == nil {
		t.Error("unknown mechanism accepted")
	}
}

func TestScramEscapesNames(t *testing.T) {
	c, _ := newScram(scramSHA1, "a,b=c", "x", nil)
	if got := string(c.start()); !strings.HasPrefix(got, "n,,n=a=2Cb=3Dc,r=") {
		t.Error(got)
	}
}

// What is bound is behind the GS2 header in the final message, and the offer
// is checked where the server vouches for it.
func TestScramPlus(t *testing.T) {
	v := scramVectors[1]
	o := offer{mechanisms: []string{"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}, bindings: []string{"tls-exporter"}}
	sum := sha256.Sum256([]byte("SCRAM-SHA-256\x1eSCRAM-SHA-256-PLUS\x1ftls-exporter"))
	vouched := v.serverFirst + ",h=" + base64.StdEncoding.EncodeToString(sum[:])
	start := func() *scram {
		c, err := newScram(scramSHA256+plusSuffix, "user", "pencil", nil)
		if err != nil {
			t.Fatal(err)
		}
		c.nonce, c.gs2, c.binding, c.offered = v.nonce, "p=tls-exporter,,", binding{"tls-exporter", []byte("data")}, o.text()
		if got := string(c.start()); got != "p=tls-exporter,,n=user,r="+v.nonce {
			t.Errorf("first %q", got)
		}
		return c
	}
	final, err := start().answer([]byte(vouched))
	if want := "c=" + base64.StdEncoding.EncodeToString([]byte("p=tls-exporter,,data")) + ",r="; err != nil || !strings.HasPrefix(string(final), want) {
		t.Errorf("final %q, %v", final, err)
	}
	for _, shortened := range []offer{
		{mechanisms: []string{"SCRAM-SHA-256"}, bindings: o.bindings},
		{mechanisms: o.mechanisms},
	} {
		c := start()
		c.offered = shortened.text()
		if _, err := c.answer([]byte(vouched)); !errors.Is(err, ErrAuth) {
			t.Errorf("%+v: %v", shortened, err)
		}
	}
}
