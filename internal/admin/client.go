// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// maxAnswer bounds an answer that is read whole, in bytes: MaxInvites links.
const maxAnswer = 4 << 20

// Client asks a running server over its socket. It is a Backend.
type Client struct{ http *http.Client }

// Dial gives a client of the server whose socket is at path; ErrNotRunning
// when no server answers there.
func Dial(ctx context.Context, path string) (*Client, error) {
	conn, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	conn.Close()
	return &Client{&http.Client{Transport: &http.Transport{
		// A failed import leaves its connection in no state to be used again.
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, path) },
	}}}, nil
}

// Close lets go of the connection.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// AddUser implements Backend.
func (c *Client) AddUser(ctx context.Context, u User) (string, error) {
	var added addedUser
	err := c.do(ctx, http.MethodPost, "/v1/users", u, &added)
	return added.Address, err
}

// Status implements Backend.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.do(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Import implements Backend.
func (c *Client) Import(ctx context.Context, src io.Reader, format Format, report func(ImportEvent)) (Progress, error) {
	contentType := "text/tab-separated-values"
	if format == NDJSON {
		contentType = ndjsonType
	}
	resp, err := c.send(ctx, http.MethodPost, "/v1/users/import", contentType, src)
	if err != nil {
		return Progress{}, err
	}
	defer resp.Body.Close()
	var progress Progress
	in := json.NewDecoder(resp.Body)
	for {
		var m importMessage
		if err := in.Decode(&m); err != nil {
			return progress, lost(err)
		}
		switch {
		case m.Event != nil:
			progress = m.Event.Progress
			report(*m.Event)
		case m.Done != nil && m.Error != nil:
			return *m.Done, m.Error
		case m.Done != nil:
			return *m.Done, nil
		}
	}
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.ask(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return lost(err)
	}
	return nil
}

// ask sends in as JSON, or nothing if that is nil; the caller closes the body.
func (c *Client) ask(ctx context.Context, method, path string, in any) (*http.Response, error) {
	if in == nil {
		return c.send(ctx, method, path, "", nil)
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	return c.send(ctx, method, path, "", bytes.NewReader(text))
}

// send gives the answer to a request if that was taken; the caller closes its body.
func (c *Client) send(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://bavard"+path, body)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, lost(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp, nil
}

func readError(resp *http.Response) error {
	var e Error
	err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&e)
	if err != nil || e.Text == "" {
		return &Error{Code: CodeFailed, Text: "the server answers " + resp.Status, Hint: "are the server and this program of the same version?"}
	}
	return &e
}

// lost explains that the server went away in the middle.
func lost(err error) error {
	if ctxErr := contextError(err); ctxErr != nil {
		return ctxErr
	}
	if errors.Is(err, ErrNotRunning) {
		return ErrNotRunning
	}
	return &Error{
		Code: CodeFailed, Text: fmt.Sprintf("the connection to the server was lost (%v)", err),
		Hint: "what it had done stays done; look whether it runs, and try again",
	}
}
