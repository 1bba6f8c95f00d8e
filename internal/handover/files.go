// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"bavard/internal/state"
)

// Files are those that people have uploaded, on this node.
type Files interface {
	// Take has a file on the disk when it returns nil.
	Take(id state.UploadID, size int64, sum [32]byte, body io.Reader) error
	// Open is state.ErrNotFound when the file is not here.
	Open(id state.UploadID, sum [32]byte) (*os.File, error)
}

// Bounds of files.
const (
	filesPath = "/1/file/"
	// fileStreams are open to one node at the same time, each way; what is more waits.
	fileStreams = 8
	// fileStall ends a file that does not move, and a wait for an answer. A node that is
	// frozen is given up soon enough for another one to be asked while the client waits.
	fileStall = 5 * time.Second
	// partBytes go within it.
	partBytes = 256 << 10
	// reachTime is how long it may take to reach a node, and to be let in.
	reachTime = 2 * time.Second
	// failedTime is how long a node that did not answer is asked last.
	failedTime = 30 * time.Second
)

// ways are the two to one node: neither waits for the other.
type ways struct{ put, get *http.Client }

func (l *Link) newWays(node string) ways {
	one := func() *http.Client {
		t := l.transport(node, reachTime, fileStall)
		t.ExpectContinueTimeout, t.MaxConnsPerHost, t.MaxIdleConnsPerHost, t.IdleConnTimeout = reachTime, fileStreams, 2, stall/2
		return &http.Client{Transport: t}
	}
	return ways{put: one(), get: one()}
}

// Close ends the connections that are kept open for the next file, or question.
func (l *Link) Close() {
	for _, w := range l.files {
		w.put.CloseIdleConnections()
		w.get.CloseIdleConnections()
	}
	for _, t := range l.tellers {
		t.CloseIdleConnections()
	}
}

// Names gives the other nodes in turn, those last that did not answer.
func (l *Link) Names() []string {
	names := slices.Sorted(maps.Keys(l.o.Peers))
	if l.o.Voter != nil {
		names = slices.DeleteFunc(names, func(name string) bool { return !l.o.Voter(name) })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(names) > 0 {
		l.first = (l.first + 1) % len(names)
		names = append(names[l.first:], names[:l.first]...)
	}
	last := func(name string) int {
		if at, failed := l.failed[name]; failed && time.Since(at) < failedTime {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(last(a), last(b)) })
	return names
}

func (l *Link) answered(node string, did bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if did {
		delete(l.failed, node)
	} else {
		l.failed[node] = time.Now()
	}
}

func (l *Link) fileURL(node string, id state.UploadID, sum [32]byte) string {
	return "https://" + l.o.Peers[node] + filesPath + hex.EncodeToString(id[:]) + "?sha256=" + hex.EncodeToString(sum[:])
}

// Send has a file on another node's disk when it returns nil. What is opened is closed.
func (l *Link) Send(ctx context.Context, node string, id state.UploadID, size int64, sum [32]byte, open func() (io.ReadCloser, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	moves := time.AfterFunc(fileStall, cancel)
	moves.Stop() // until it begins: before that it may wait for a stream
	defer moves.Stop()
	body := func() (io.ReadCloser, error) {
		file, err := open()
		if err != nil {
			return nil, err
		}
		return &moving{ReadCloser: file, moves: moves, within: 2 * fileStall}, nil // the wait for the answer included
	}
	first, err := body()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, l.fileURL(node, id, sum), first)
	if err != nil {
		return errors.Join(err, first.Close())
	}
	req.ContentLength, req.GetBody = size, body
	req.Header.Set("Expect", "100-continue") // a node that has it already does not want it
	resp, err := l.files[node].put.Do(req)
	l.answered(node, err == nil)
	if err != nil {
		return err
	}
	return said(resp, http.StatusCreated)
}

// said reads an answer to its end, and errs unless it is as it should be.
func said(resp *http.Response, code int) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 256))
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case code:
		return nil
	case http.StatusNotFound:
		return state.ErrNotFound
	}
	return fmt.Errorf("it answers %s: %q", resp.Status, text)
}

// Get reads a file of another node from an offset; state.ErrNotFound: it says that it does
// not have it. It ends with an error when nothing comes for 5 s.
func (l *Link) Get(ctx context.Context, node string, id state.UploadID, sum [32]byte, from int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.fileURL(node, id, sum)+"&from="+strconv.FormatInt(from, 10), nil)
	if err != nil {
		cancel()
		return nil, err
	}
	resp, err := l.files[node].get.Do(req)
	l.answered(node, err == nil)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = said(resp, http.StatusOK)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	moves := time.AfterFunc(fileStall, cancel)
	return &moving{ReadCloser: resp.Body, moves: moves, within: fileStall, end: func() { moves.Stop(); cancel() }}, nil
}

// moving is a stream that has to move on; moves ends it.
type moving struct {
	io.ReadCloser
	moves  *time.Timer
	within time.Duration
	end    func() // nil does nothing
}

// Read puts the end off.
func (m *moving) Read(b []byte) (int, error) {
	m.moves.Reset(m.within)
	return m.ReadCloser.Read(b)
}

// Close ends the watch, too.
func (m *moving) Close() error {
	if m.end != nil {
		m.end()
	}
	return m.ReadCloser.Close()
}

// file answers a node that has a file for this one, or wants one.
func (s *Server) file(w http.ResponseWriter, r *http.Request) {
	var id state.UploadID
	var sum [32]byte
	switch {
	case s.link.member(r) == "":
		http.Error(w, notOurs, http.StatusForbidden)
		return
	case !state.FromHex(id[:], r.PathValue("id")) || !state.FromHex(sum[:], r.URL.Query().Get("sha256")):
		http.Error(w, "which file?", http.StatusBadRequest)
		return
	}
	if !s.enter() {
		http.Error(w, stopping, http.StatusServiceUnavailable)
		return
	}
	defer s.wg.Done()
	if r.Method == http.MethodPut {
		s.takeFile(w, r, id, sum)
		return
	}
	s.giveFile(w, r, id, sum)
}

// enter counts a handler in, unless the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.wg.Add(1)
	return true
}

func (s *Server) takeFile(w http.ResponseWriter, r *http.Request, id state.UploadID, sum [32]byte) {
	control := http.NewResponseController(w)
	body := readerFunc(func(b []byte) (int, error) {
		if err := control.SetReadDeadline(time.Now().Add(fileStall)); err != nil {
			return 0, err
		}
		return r.Body.Read(b)
	})
	err := s.files.Take(id, r.ContentLength, sum, body)
	// What is left unread is not waited for.
	_ = control.SetReadDeadline(time.Now().Add(reachTime))
	if err != nil {
		s.link.o.Log.Warn("a file of another node was not taken", "node", s.link.caller(r), "err", err)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

type readerFunc func([]byte) (int, error)

// Read calls it.
func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func (s *Server) giveFile(w http.ResponseWriter, r *http.Request, id state.UploadID, sum [32]byte) {
	from, err := strconv.ParseInt(r.URL.Query().Get("from"), 10, 64)
	if err != nil || from < 0 {
		http.Error(w, "from where?", http.StatusBadRequest)
		return
	}
	file, err := s.files.Open(id, sum)
	if errors.Is(err, state.ErrNotFound) {
		http.Error(w, "it is not here", http.StatusNotFound)
		return
	}
	if err != nil {
		s.link.o.Log.Error("a file for another node cannot be opened", "err", err)
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil {
		_, err = file.Seek(from, io.SeekStart)
	}
	if err != nil || from > info.Size() {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size()-from, 10))
	for left := info.Size() - from; left > 0 && err == nil; {
		var n int64
		if err = control.SetWriteDeadline(time.Now().Add(fileStall)); err == nil {
			n, err = io.CopyN(w, file, min(left, partBytes))
		}
		left -= n
	}
	_ = control.SetWriteDeadline(time.Time{}) // the next answer has its own
	if err != nil {
		panic(http.ErrAbortHandler) // so that it is not taken for the end
	}
}
