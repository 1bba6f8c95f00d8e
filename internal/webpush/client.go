// SPDX-License-Identifier: Apache-2.0

package webpush

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// Subscription is where a browser is woken.
type Subscription struct {
	Endpoint     string
	P256dh, Auth []byte
}

// Note is what a browser is told.
type Note struct {
	// Text is shown to the browser alone: at most NoteMost bytes.
	Text []byte
	// Topic: of the notes that the push service has not delivered yet, a newer one
	// takes the place of the one with the same topic (RFC 8030 §5.4). At most 32
	// characters of base64url.
	Topic string
	// Urgent: somebody waits, as with a call (RFC 8030 §5.3).
	Urgent bool
	// Life is how long the note is worth delivering (RFC 8030 §5.2).
	Life time.Duration
}

// NoteMost bounds the text of a note, in bytes; all notes are as long as it.
const NoteMost = 256

// Options of a Client.
type Options struct {
	Key *Key
	// Subject is a mailto: or https: URI of who runs the server (RFC 8292 §2.1).
	Subject string
	// Allow are networks that push services may be in although they are not public,
	// and there at any port.
	Allow []netip.Prefix
	// Roots that sign their certificates; nil takes the system's.
	Roots *x509.CertPool
	// Agent is the User-Agent; may be "".
	Agent string
}

// Client posts notes to push services. It follows no redirects, uses no proxy,
// and reads no answer beyond its first bytes.
type Client struct {
	guard  guard
	signer signer
	http   *http.Client
	agent  string
}

const (
	dialWithin = 5 * time.Second
	sendWithin = 10 * time.Second
	answerMost = 4 << 10
)

// NewClient makes a client.
func NewClient(o Options) *Client {
	c := &Client{guard: guard{o.Allow}, signer: signer{key: o.Key, subject: o.Subject, now: time.Now}, agent: o.Agent}
	dialer := &net.Dialer{Timeout: dialWithin, Control: c.guard.control}
	c.http = &http.Client{
		Timeout: sendWithin,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			TLSClientConfig:     &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: dialWithin, ResponseHeaderTimeout: sendWithin,
			MaxResponseHeaderBytes: 16 << 10, DisableCompression: true,
			MaxIdleConns: 32, MaxIdleConnsPerHost: 2, MaxConnsPerHost: perHost, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Check says whether an endpoint may be pushed to: nil, ErrEndpoint or
// ErrForbidden. What a name leads to is looked at with each push.
func (c *Client) Check(endpoint string) error {
	_, err := c.guard.parse(endpoint)
	return err
}

// Close gives idle connections up.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Result is what became of a note.
type Result uint8

// Results.
const (
	Sent    Result = iota + 1
	Gone           // the subscription is no more (RFC 8030 §7.3)
	Later          // the service, or the way to it, is not able to now
	Refused        // and would be again
)

// Answer of a push service.
type Answer struct {
	Result Result
	// After is how long the service wants to be left alone, 0 when it did not say.
	After time.Duration
	// Unreached: it was not the service that answered.
	Unreached bool
	// Err says more unless it was sent; it names no secrets.
	Err error
}

// Send posts a note (RFC 8030 §5).
func (c *Client) Send(ctx context.Context, s Subscription, n Note) Answer {
	u, err := c.guard.parse(s.Endpoint)
	if err != nil {
		return Answer{Result: Refused, Err: err}
	}
	body, err := encrypt(s.P256dh, s.Auth, n.Text, NoteMost)
	if err != nil {
		return Answer{Result: Refused, Err: err}
	}
	authorization, err := c.signer.authorization(u)
	if err != nil {
		return Answer{Result: Refused, Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return Answer{Result: Refused, Err: ErrEndpoint}
	}
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Content-Encoding", "aes128gcm")
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("TTL", strconv.Itoa(int(n.Life/time.Second)))
	req.Header.Set("Urgency", "normal")
	if n.Urgent {
		req.Header.Set("Urgency", "high")
	}
	if n.Topic != "" {
		req.Header.Set("Topic", n.Topic)
	}
	if c.agent != "" {
		req.Header.Set("User-Agent", c.agent)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, ErrForbidden) {
			return Answer{Result: Refused, Err: ErrForbidden}
		}
		return Answer{Result: Later, Unreached: true, Err: fmt.Errorf("%s: %w", u.Host, bare(err))}
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, answerMost)
	return answered(u.Host, res)
}

// bare takes the endpoint, which is a secret, out of an error.
func bare(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}

// answered reads an answer (RFC 8030 §5, §7.3, §8.4).
func answered(host string, res *http.Response) Answer {
	a := Answer{Result: Refused, Err: fmt.Errorf("%s answered %s", host, res.Status)}
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		return Answer{Result: Sent}
	case code == http.StatusNotFound, code == http.StatusGone:
		a.Result = Gone
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		a.Result, a.After = Later, retryAfter(res.Header.Get("Retry-After"), time.Now())
	}
	return a
}

// retryAfter reads RFC 9110 §10.2.3, seconds or a date; 0 for what is neither.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
