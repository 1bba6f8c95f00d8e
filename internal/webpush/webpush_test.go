// SPDX-License-Identifier: Apache-2.0

package webpush

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"bavard/internal/webpush/webpushtest"
)

func decoded(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEncryptVector is the example of RFC 8291 §5.
func TestEncryptVector(t *testing.T) {
	own, err := ecdh.P256().NewPrivateKey(decoded(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := encryptWith(own, decoded(t, "DGv6ra1nlYgDCS1FRnbzlw"),
		decoded(t, "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
		decoded(t, "BTBZMqHH6r4Tts7J_aSIgg"), []byte("When I grow up, I want to be a watermelon"), 0)
	want := decoded(t, `DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml
		mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT
		pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN`)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%x, %v\nwant %x", got, err, want)
	}
}

// TestEncrypt: a browser reads it, its length tells nothing, and wrong keys are
// found.
func TestEncrypt(t *testing.T) {
	b := webpushtest.NewBrowser(t)
	size := 0
	for _, text := range []string{"", "{}", strings.Repeat("x", NoteMost)} {
		body, err := encrypt(b.P256dh, b.Auth, []byte(text), NoteMost)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.Decrypt(body); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
		if size == 0 {
			size = len(body)
		}
		if len(body) != size {
			t.Errorf("%d bytes, and %d for another text", len(body), size)
		}
	}
	if _, err := encrypt(b.P256dh, b.Auth, make([]byte, recordSize), 0); err == nil {
		t.Error("a note that is too long is encrypted")
	}
	off := bytes.Clone(b.P256dh)
	off[64] ^= 1
	for _, keys := range [][2][]byte{{off, b.Auth}, {b.P256dh[:64], b.Auth}, {b.P256dh, b.Auth[:15]}, {nil, nil}} {
		if err := CheckKeys(keys[0], keys[1]); !errors.Is(err, ErrKeys) {
			t.Errorf("%x are good keys: %v", keys, err)
		}
		if _, err := encrypt(keys[0], keys[1], nil, 0); !errors.Is(err, ErrKeys) {
			t.Errorf("encrypted for %x: %v", keys, err)
		}
	}
	if err := CheckKeys(b.P256dh, b.Auth); err != nil {
		t.Error(err)
	}
}

func FuzzKeys(f *testing.F) {
	b := webpushtest.NewBrowser(f)
	f.Add(b.P256dh, b.Auth)
	f.Add([]byte{4}, []byte{})
	f.Fuzz(func(t *testing.T, p256dh, auth []byte) {
		_, err := encrypt(p256dh, auth, []byte("x"), NoteMost)
		if (err == nil) != (CheckKeys(p256dh, auth) == nil) {
			t.Fatalf("checked %v, encrypted %v", CheckKeys(p256dh, auth), err)
		}
	})
}

// TestKey: it is the same after it was written and read, and nothing else is
// read.
func TestKey(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := k.PEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKey(text)
	if err != nil || again.Public() != k.Public() {
		t.Fatal(again, err)
	}
	for _, bad := range []string{"", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "x"} {
		if _, err := ParseKey([]byte(bad)); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}

// TestAuthorization: the signature is one of RFC 8292, and is made anew in time.
func TestAuthorization(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_700_000_000, 0)
	s := signer{key: k, subject: "mailto:a@example.org", now: func() time.Time { return now }}
	c := &Client{}
	at := func(endpoint string) string {
		u, err := c.guard.parse(endpoint)
		if err != nil {
			t.Fatal(err)
		}
		text, err := s.authorization(u)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first := at("https://push.example:444/x?y")
	token, key, _ := strings.Cut(strings.TrimPrefix(first, "vapid t="), ", k=")
	parts := strings.Split(token, ".")
	if key != k.Public() || len(parts) != 3 {
		t.Fatal(first)
	}
	var claims struct {
		Aud, Sub string
		Exp      int64
	}
	if err := json.Unmarshal(decoded(t, parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	if claims.Aud != "https://push.example:444" || claims.Sub != "mailto:a@example.org" || claims.Exp != now.Unix()+12*3600 {
		t.Errorf("%+v", claims)
	}
	point, sig := decoded(t, key), decoded(t, parts[2])
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if len(sig) != 64 || !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		t.Error("the signature is not good")
	}
	if now = now.Add(5 * time.Hour); at("https://push.example:444/z") != first {
		t.Error("signed again within hours")
	}
	if at("https://push.example/z") == first {
		t.Error("one signature for two services")
	}
	if now = now.Add(2 * time.Hour); at("https://push.example:444/z") == first {
		t.Error("a signature is used until it ends")
	}
}

// TestGuard: only https, and only public addresses.
func TestGuard(t *testing.T) {
	g := guard{[]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	for _, good := range []string{"https://fcm.googleapis.com/fcm/send/x", "https://push.example:8443/x", "https://93.184.216.34/x", "https://[2606:2800:220:1::1]/x", "https://10.1.2.3:9999/x"} {
		if _, err := g.parse(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "http://push.example/", "https://", "https:///x", "ftp://push.example", "https://user@push.example/", "https://push.example/#x", "https:x",
		"https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://192.168.1.1/", "https://169.254.169.254/", "https://[fe80::1%25eth0]/",
		"https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/", "https://[2002:a00:1::]/", "https://100.64.0.1/", "https://0.0.0.0/", "https://93.184.216.34:22/",
		"https://x/" + strings.Repeat("x", endpointMost), "https://[fd00::1]/", "https://224.0.0.1/", "https://255.255.255.255/", "https://[::127.0.0.1]/",
	} {
		if _, err := g.parse(bad); err == nil {
			t.Errorf("%s may be pushed to", bad)
		}
	}
	for _, at := range []string{"127.0.0.1:443", "[::1]:443", "10.2.0.1:443", "8.8.8.8:80", "[::ffff:127.0.0.1]:443", "x"} {
		if g.check(at) == nil {
			t.Errorf("%s may be connected to", at)
		}
	}
	for _, at := range []string{"8.8.8.8:443", "10.1.0.1:80", "[2606:2800:220:1::1]:443"} {
		if err := g.check(at); err != nil {
			t.Error(err)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	f.Add("https://push.example/x")
	f.Add("https://[::1%25x]:1/")
	f.Fuzz(func(t *testing.T, endpoint string) {
		g := guard{}
		if u, err := g.parse(endpoint); err == nil && (u.Scheme != "https" || u.Hostname() == "") {
			t.Fatalf("%q", endpoint)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "x": 0, "-1": 0, "30": 30 * time.Second, "99999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// TestClient: a real push service over TLS gets what the standards say; what it
// answers is understood; redirects, and names that lead to this machine, are not followed.
func TestClient(t *testing.T) {
	service := webpushtest.NewService(t)
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Key: key, Subject: "mailto:a@example.org", Roots: service.Roots(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Agent: "bavard/test"}
	c := NewClient(o)
	defer c.Close()
	b := service.Subscribe(key.Public())
	sub := Subscription{b.Endpoint, b.P256dh, b.Auth}
	note := Note{Text: []byte(`{"x":1}`), Topic: "t", Urgent: true, Life: time.Minute}
	if a := c.Send(context.Background(), sub, note); a.Result != Sent {
		t.Fatalf("%+v", a)
	}
	got := service.Next(t)
	if got.Subscription != b || string(got.Text) != `{"x":1}` || got.TTL != "60" || got.Urgency != "high" || got.Topic != "t" {
		t.Errorf("%+v", got)
	}
	for status, want := range map[int]Result{200: Sent, 204: Sent, 302: Refused, 400: Refused, 403: Refused, 404: Gone, 410: Gone, 413: Refused, 429: Later, 500: Later, 503: Later} {
		service.Answer(status, "7")
		a := c.Send(context.Background(), sub, note)
		if a.Result != want || a.Unreached || (want == Later) != (a.After == 7*time.Second) || (a.Err == nil) != (want == Sent) {
			t.Errorf("%d: %+v", status, a)
		}
		if a.Err != nil && strings.Contains(a.Err.Error(), b.Endpoint[len(b.Endpoint)-8:]) {
			t.Errorf("the error tells the endpoint: %v", a.Err)
		}
	}
	o.Allow = nil
	strict := NewClient(o)
	defer strict.Close()
	named := sub
	named.Endpoint = strings.Replace(sub.Endpoint, "127.0.0.1", "localhost", 1)
	for _, s := range []Subscription{sub, named} {
		if a := strict.Send(context.Background(), s, note); a.Result != Refused || !errors.Is(a.Err, ErrForbidden) {
			t.Errorf("%s: %+v", s.Endpoint, a)
		}
	}
	o.Roots, o.Allow = nil, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	stranger := NewClient(o)
	defer stranger.Close()
	if a := stranger.Send(context.Background(), sub, note); a.Result != Later || !a.Unreached {
		t.Errorf("a certificate that nobody trusts: %+v", a)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if a := c.Send(context.Background(), Subscription{plain.URL, b.P256dh, b.Auth}, note); a.Result != Refused {
		t.Errorf("without TLS: %+v", a)
	}
	if a := c.Send(context.Background(), Subscription{b.Endpoint, b.Auth, b.Auth}, note); a.Result != Refused {
		t.Errorf("bad keys: %+v", a)
	}
}
