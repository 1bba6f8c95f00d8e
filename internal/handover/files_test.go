// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bavard/internal/state"
)

// shelf keeps files in a directory.
type shelf struct {
	dir  string
	full bool
}

func (s *shelf) path(id state.UploadID) string { return filepath.Join(s.dir, fmt.Sprintf("%x", id)) }

func (s *shelf) Take(id state.UploadID, size int64, sum [32]byte, body io.Reader) error {
	if s.full {
		return errors.New("the disk is full")
	}
	if b, err := os.ReadFile(s.path(id)); err == nil && sha256.Sum256(b) == sum {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(body, size+1))
	if err == nil && (int64(len(b)) != size || sha256.Sum256(b) != sum) {
		err = errStream
	}
	if err != nil {
		return err
	}
	return os.WriteFile(s.path(id), b, 0o600)
}

func (s *shelf) Open(id state.UploadID, _ [32]byte) (*os.File, error) {
	f, err := os.Open(s.path(id))
	if errors.Is(err, os.ErrNotExist) {
		err = state.ErrNotFound
	}
	return f, err
}

// linked gives a's side of a cell in which b has the shelf, and nobody is at home at c, whose
// address it gives, too.
func linked(t *testing.T, s *shelf) (a *Link, c net.Listener) {
	t.Helper()
	ids := identities(t)
	b, err := linkOf(ids, "b", map[string]string{"a": "", "c": ""}).
		Serve(t.Context(), "127.0.0.1:0", filepath.Join(t.TempDir(), "scratch"), nil, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(b.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
	return linkOf(ids, "a", map[string]string{"b": b.Address(), "c": c.Addr().String()}), c
}

// TestFilesBetweenNodes: a file is sent whole, once more without its content, and read from
// anywhere; what the other node says is told.
func TestFilesBetweenNodes(t *testing.T) {
	s := &shelf{dir: t.TempDir()}
	a, _ := linked(t, s)
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	sum := sha256.Sum256(content)
	read := 0
	open := func() (io.ReadCloser, error) {
		return io.NopCloser(io.TeeReader(bytes.NewReader(content), writer(func(b []byte) { read += len(b) }))), nil
	}
	send := func(id byte, size int) error {
		return a.Send(t.Context(), "b", state.UploadID{id}, int64(size), sum, open)
	}
	if err := errors.Join(send(1, len(content)), send(1, len(content))); err != nil {
		t.Fatal(err)
	}
	if read != len(content) {
		t.Errorf("%d bytes were sent of a file of %d", read, len(content))
	}
	for _, from := range []int64{0, 1000, int64(len(content))} {
		body, err := a.Get(t.Context(), "b", state.UploadID{1}, sum, from)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err = errors.Join(err, body.Close()); err != nil || !bytes.Equal(got, content[from:]) {
			t.Errorf("from %d: %d bytes, %v", from, len(got), err)
		}
	}
	if _, err := a.Get(t.Context(), "b", state.UploadID{2}, sum, 0); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	if _, err := a.Get(t.Context(), "b", state.UploadID{1}, sum, int64(len(content)+1)); err == nil {
		t.Error("there is something behind the end")
	}
	s.full = true
	if err := send(3, len(content)); err == nil || !bytes.Contains([]byte(err.Error()), []byte("the disk is full")) {
		t.Errorf("a full disk: %v", err)
	}
}

type writer func([]byte)

// Write calls it.
func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

// TestNodeThatDoesNotAnswer: it is given up after a bounded time and asked last then, and who is
// no node of the cell gets nothing.
func TestNodeThatDoesNotAnswer(t *testing.T) {
	a, c := linked(t, &shelf{dir: t.TempDir()})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := a.Get(ctx, "c", state.UploadID{1}, [32]byte{}, 0); err == nil || ctx.Err() != nil {
		t.Errorf("nobody is at home at %s: %v", c.Addr(), err)
	}
	for range 8 {
		if names := a.Names(); len(names) != 2 || names[1] != "c" {
			t.Errorf("the order is %v", names)
		}
	}
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: a.o.Calling("b").Clone()}}
	stranger.Transport.(*http.Transport).TLSClientConfig.Certificates = nil
	stranger.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = nil
	if resp, err := stranger.Get(a.fileURL("b", state.UploadID{1}, [32]byte{})); err == nil {
		t.Errorf("a stranger is answered %s", resp.Status)
		_ = resp.Body.Close()
	}
}
