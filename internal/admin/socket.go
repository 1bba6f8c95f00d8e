// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// maxSocketPath is how long the address of a unix socket may be on every system
// (sun_path has 104 bytes on some, with the final zero).
const maxSocketPath = 103

// ErrNotRunning: no server answers at the socket.
var ErrNotRunning = errors.New("no server is running on this data directory")

// Serve listens on the unix socket at path and serves h there until ctx ends. A
// socket that a killed server left is replaced; the caller holds the lock of
// the data directory, so no other server can have it.
func Serve(ctx context.Context, path string, h http.Handler, log *slog.Logger) error {
	l, err := Listen(path)
	if err != nil {
		return err
	}
	return ServeListener(ctx, l, h, log)
}

// Listen makes the socket at path, for its owner only.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	address, done, err := socketAddress(path)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.Listen("unix", address)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	// The short address is gone when the listener is closed, so Go must not
	// unlink by it.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), l.Close())
	}
	return &socket{Listener: l, path: path}, nil
}

// socket removes its file when it is closed.
type socket struct {
	net.Listener
	path string
}

func (s *socket) Close() error {
	err := os.Remove(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.Listener.Close())
}

// ServeListener serves h on l until ctx ends, and closes l.
func ServeListener(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(last) != nil {
			server.Close() // an import goes on; it is made to be run again
		}
	})
	defer stop()
	if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}

// socketAddress gives an address for the socket at path that is short enough,
// valid until done is called.
func socketAddress(path string) (address string, done func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("admin socket: the path %s has more than %d bytes: choose a shorter one with --data", path, maxSocketPath)
	}
	// Through an open directory, the path has a few bytes however deep it is.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, fmt.Errorf("admin socket: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { dir.Close() }, nil
}

// dial connects to the socket at path; ErrNotRunning when nobody is there.
func dial(ctx context.Context, path string) (net.Conn, error) {
	address, done, err := socketAddress(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrNotRunning
		}
		return nil, err
	}
	defer done()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", address)
	if err != nil && (errors.Is(err, fs.ErrNotExist) || isRefused(err)) {
		return nil, ErrNotRunning
	}
	return conn, err
}
