// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bavard/drill/await"
	"bavard/internal/admin"
)

// holds waits for a condition of a server that does not end.
func (d *killing) holds(ctx context.Context, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	return await.UntilEvery(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		select {
		case <-d.node.Exited():
			cancel() // no use waiting
			return errors.New("the server ended by itself")
		default:
		}
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		return condition(ctx)
	})
}

// ticks is the condition that n more messages are ticked.
func (d *killing) ticks(n int) func(context.Context) error {
	before := d.log.Ticked()
	return func(context.Context) error {
		if ticked := d.log.Ticked() - before; ticked < n {
			return fmt.Errorf("%d messages were ticked", ticked)
		}
		return nil
	}
}

// metrics are those of the admin socket.
func (d *killing) metrics(ctx context.Context) (string, error) { return metricsIn(ctx, d.options.Data) }

// metricsIn are those of the server that runs on a data directory.
func metricsIn(ctx context.Context, data string) (string, error) {
	socket := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(data, "admin.sock"))
	}}
	defer socket.CloseIdleConnections()
	return get(ctx, socket, "http://bavard/metrics")
}

// status is what `bavard status` says on a node.
func (d *celled) status(ctx context.Context, n *cellNode) (s admin.Status, err error) {
	out, err := exec.CommandContext(ctx, d.cfg.Binary, "status", "--json", "--data", n.options.Data).Output()
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	if err != nil {
		err = fmt.Errorf("status of node %s: %w", n.name, err)
	}
	return s, err
}

// shows waits until the metrics of a node are as wanted.
func (n *cellNode) shows(ctx context.Context, wanted func(page string) error) error {
	err := await.UntilEvery(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		page, err := metricsIn(ctx, n.options.Data)
		if err != nil {
			return err
		}
		return wanted(page)
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", n.name, err)
	}
	return nil
}

// statusError is an answer that is not 200.
type statusError struct {
	url, status string
	code        int
}

func (e *statusError) Error() string { return e.url + ": " + e.status }

func get(ctx context.Context, by http.RoundTripper, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := by.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", &statusError{url, resp.Status, resp.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	return string(body), err
}

// gauge reads a whole number from a page of metrics; -1 when it is not there.
func gauge(metrics, name string) int {
	for line := range strings.Lines(metrics) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
				return n
			}
		}
	}
	return -1
}
