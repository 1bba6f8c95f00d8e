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
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://bavard/v1/users/import", src)
	if err != nil {
		return Progress{}, fmt.Errorf("admin: %w", err)
	}
	req.Header.Set("Content-Type", "text/tab-separated-values")
	if format == NDJSON {
		req.Header.Set("Content-Type", ndjsonType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Progress{}, lost(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Progress{}, readError(resp)
	}
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
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("admin: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://bavard"+path, body)
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return lost(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return readError(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return lost(err)
	}
	return nil
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
