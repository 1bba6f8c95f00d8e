// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	randv2 "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
	"bavard/drill/node"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// UploadReport is what a drill with uploads found.
type UploadReport struct {
	Seed                     uint64
	Kills                    int
	Stored, Unknown, Refused int // files that were told 201, that may be there, that cannot be
	Denied                   int // that nobody was allowed to put
	Again                    int // that were put once more after a kill, and told 201
	Found                    int // unknown ones that are there, whole
	Bytes                    int64
	// What must never happen: files that were told 201 and cannot be got from each node, or
	// another content; files on a disk that nobody can get.
	Lost, Changed, Left int
	Trouble             []string
}

// Clean: nothing happened that must never happen.
func (r *UploadReport) Clean() bool { return r.Lost+r.Changed+r.Left == 0 }

func (r *UploadReport) String() string {
	return fmt.Sprintf("seed %d: %d kills; %d files stored (%d MiB), %d of them put again after a kill; %d unknown (%d there), %d refused, %d not allowed; lost %d, changed %d, left over %d",
		r.Seed, r.Kills, r.Stored, r.Bytes>>20, r.Again, r.Unknown, r.Found, r.Refused, r.Denied, r.Lost, r.Changed, r.Left)
}

// UploadKill kills the server again and again while people put files, and looks at what is
// left. cfg's fields about messages are not used. An error means that it could not be
// carried out.
func UploadKill(ctx context.Context, cfg KillConfig) (*UploadReport, error) {
	cfg.defaults()
	cfg.Group = -1 // none
	d := newUploading(newKilling(cfg))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := d.prepareUploads(ctx); err != nil {
		return nil, err
	}
	defer func() { d.node.Kill() }()
	if err := d.runUploads(ctx); err != nil {
		return &d.found, failed(cfg.Seed, err, d.tail.String())
	}
	d.found.Kills, d.found.Trouble = d.report.Kills, d.tail.Trouble()
	return &d.found, nil
}

func newUploading(d *killing) *uploading {
	return &uploading{killing: d, most: 1 << 21, found: UploadReport{Seed: d.cfg.Seed}}
}

// small has people put files of at most 64 KiB, at a leisurely pace: beside those who chat.
func (d *uploading) small() { d.most, d.think = 64<<10, 50*time.Millisecond }

// uploading is such a drill under way.
type uploading struct {
	*killing
	running sync.WaitGroup // those who put files
	// most bounds the files, in bytes, and think is how long people wait before the next one, on average.
	most  int
	think time.Duration

	mu    sync.Mutex
	files []put
	found UploadReport
}

// put is a file of which somebody has tried to put it.
type put struct {
	get    string
	sum    [32]byte
	stored bool
}

// uploaders put files at the same time, all together filesMost, so that a drill of hours does not fill disks by that.
const (
	uploaders = 4
	filesMost = 20_000
)

func (d *uploading) prepareUploads(ctx context.Context) error {
	addrs, err := node.FreePorts(2, d.random.IntN)
	if err != nil {
		return err
	}
	d.options = node.Options{Binary: d.cfg.Binary, Data: filepath.Join(d.cfg.Dir, "data"), C2S: addrs[0], HTTP: addrs[1], Plain: true, Log: &d.tail}
	d.places = []place{{addrs[0], addrs[1]}}
	if d.cfg.EarlyUploads {
		d.options.Env = []string{earlyUploads}
	}
	users := []node.User{{Local: prober, Password: d.password}}
	for i := range uploaders {
		users = append(users, node.User{Local: fmt.Sprint("user", i), Password: d.password})
	}
	if err := node.Import(ctx, d.cfg.Binary, d.options.Data, users); err != nil {
		return err
	}
	if d.node, err = node.Start(d.options); err != nil {
		return err
	}
	return d.admitted(ctx, time.Now(), false)
}

func (d *uploading) runUploads(ctx context.Context) error {
	stop := d.begin(ctx)
	defer stop()
	for range d.cfg.Kills - 1 {
		if err := d.killOnce(ctx); err != nil {
			return err
		}
	}
	close(d.draining)
	d.running.Wait()
	if err := d.restart(ctx, 0); err != nil { // at rest
		return err
	}
	return d.lookAtFiles(ctx, d.options.Data)
}

// begin lets people put files until there is to be nothing new, or stop is called, which
// waits until they have stopped.
func (d *uploading) begin(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	for i := range uploaders {
		d.running.Go(func() { d.putFiles(ctx, i) })
	}
	return func() {
		cancel()
		d.running.Wait()
	}
}

// refused counts the files that cannot be there, and those that nobody was allowed to put.
func (d *uploading) refused() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.found.Refused + d.found.Denied
}

// stored counts the files that were told 201.
func (d *uploading) stored() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.found.Stored
}

// enough reports whether nobody is to put any more.
func (d *uploading) enough() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.files) >= filesMost
}

// more is the condition that n more files are told 201, unless there are enough.
func (d *uploading) more(n int) func(context.Context) error {
	before := d.stored()
	return func(context.Context) error {
		if stored := d.stored() - before; stored < n && !d.enough() {
			return fmt.Errorf("%d files were stored", stored)
		}
		return nil
	}
}

// putFiles puts one file after another, until it is to drain or there are enough. Who is cut off moves on to another node.
func (d *uploading) putFiles(ctx context.Context, i int) {
	random := generator(d.cfg.Seed, uint64(i)+1)
	var s *client.Session
	defer func() {
		if s != nil {
			s.Cut()
		}
	}()
	for where := i; !d.enough(); {
		select {
		case <-d.draining:
			return
		case <-ctx.Done():
			return
		default:
		}
		if s == nil || s.Err() != nil {
			fresh, err := client.Dial(ctx, client.Config{JID: fmt.Sprintf("user%d@localhost", i), Password: d.password, Addr: d.at(where).c2s})
			where++
			if err != nil {
				_ = pause(ctx, 20*time.Millisecond)
				continue
			}
			s = fresh
		}
		d.putFile(ctx, s, random)
	}
}

// putFile puts one, and once more as long as it does not know what became of it.
func (d *uploading) putFile(ctx context.Context, s *client.Session, random *randv2.Rand) {
	if err := pause(ctx, time.Duration(random.Int64N(int64(2*d.think)+1))); err != nil {
		return
	}
	content := make([]byte, 1+random.IntN(min(1<<(8+random.IntN(14)), d.most)))
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	asking, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := s.IQ(asking, xmlstream.New(stanza.NSClient, "iq", "type", "get", "to", "upload.localhost").Add(
		xmlstream.New(stanza.NSUpload, "request", "filename", "a.bin", "size", strconv.Itoa(len(content)), "content-type", "image/jpeg")))
	if refusal := (*stanza.Error)(nil); errors.As(err, &refusal) {
		d.mu.Lock()
		d.found.Denied++
		d.mu.Unlock()
	}
	if err != nil {
		return
	}
	slot := answer.Child(stanza.NSUpload, "slot")
	to, from := slot.Child(stanza.NSUpload, "put").Get("url"), slot.Child(stanza.NSUpload, "get").Get("url")
	tries, code := 0, 0
	for code == 0 && tries < 1+random.IntN(3) {
		if tries++; tries > 1 {
			_ = pause(ctx, time.Duration(random.Int64N(int64(time.Second))))
		}
		code = putOnce(ctx, to, content, random)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files = append(d.files, put{from, sha256.Sum256(content), code == http.StatusCreated})
	switch {
	case code == http.StatusCreated:
		d.found.Stored++
		d.found.Bytes += int64(len(content))
		if tries > 1 {
			d.found.Again++
		}
	case code == 0:
		d.found.Unknown++
	default:
		d.found.Refused++
	}
}

// putOnce gives 0 when what became of it is not known. One in eight breaks off by itself.
func putOnce(ctx context.Context, to string, content []byte, random *randv2.Rand) int {
	var body io.Reader = bytes.NewReader(content)
	if random.IntN(8) == 0 {
		body = io.LimitReader(body, int64(len(content)/2))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to, io.NopCloser(body))
	if err != nil {
		return 0
	}
	req.ContentLength = int64(len(content))
	req.Header.Set("Content-Type", "image/jpeg")
	web := &http.Transport{DisableKeepAlives: true}
	resp, err := web.RoundTrip(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusRequestTimeout {
		return 0
	}
	return resp.StatusCode
}

// lookAtFiles holds what can be got from each node, and what is on the disks, against what was told. dirs are the
// nodes' data directories.
func (d *uploading) lookAtFiles(ctx context.Context, dirs ...string) error {
	there := 0
	for i := range d.files {
		f := &d.files[i]
		got, err := d.gotAt(ctx, f)
		if err != nil {
			return err
		}
		switch {
		case got.changed:
			d.found.Changed++
		case f.stored && got.whole < len(d.places):
			d.found.Lost++
		case !f.stored && got.whole > 0:
			d.found.Found++
		}
		if got.whole > 0 || got.changed {
			there++
		}
	}
	// What is left over is removed in the background, and what is not there yet comes.
	waiting, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	var left int
	err := await.UntilEvery(waiting, 50*time.Millisecond, func(context.Context) (err error) {
		left = 0
		for _, dir := range dirs {
			n, e := filesUnder(filepath.Join(dir, "uploads"), len(dirs) > 1)
			if n != there {
				e = errors.Join(e, fmt.Errorf("%d files are on the disk, %d can be got", n, there))
			}
			left, err = left+max(n-there, there-n), errors.Join(err, e)
		}
		return err
	})
	if d.found.Left = left; left != 0 && ctx.Err() == nil {
		return nil
	}
	return err
}

// got says at how many nodes a file was got as it was put, and whether one gave another content.
type got struct {
	whole   int
	changed bool
}

// gotAt gets a file from each node.
func (d *uploading) gotAt(ctx context.Context, f *put) (found got, err error) {
	for _, p := range d.places {
		content, there, err := fileAt(ctx, p, f)
		if err != nil {
			return found, err
		}
		switch {
		case there && sha256.Sum256([]byte(content)) == f.sum:
			found.whole++
		case there:
			found.changed = true
		}
	}
	return found, nil
}

// fileAt gets a file from a node, and waits as long as that says that it cannot tell now.
func fileAt(ctx context.Context, p place, f *put) (content string, there bool, err error) {
	u, err := url.Parse(f.get)
	if err != nil {
		return "", false, err
	}
	u.Host = p.http
	waiting, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	err = await.Until(waiting, func(ctx context.Context) (err error) {
		content, err = get(ctx, &http.Transport{DisableKeepAlives: true}, u.String())
		var no *statusError
		if there = err == nil; errors.As(err, &no) && no.code != http.StatusServiceUnavailable {
			return nil
		}
		return err
	})
	return content, there, err
}

// filesUnder counts the files in a directory of uploads. Of several nodes those are left out that wait for their record:
// they are kept for another node for an hour.
func filesUnder(dir string, several bool) (n int, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil
		case err == nil && e.IsDir() && e.Name() == "unrecorded" && several:
			return fs.SkipDir
		case err == nil && !e.IsDir():
			n++
		}
		return err
	})
	return n, err
}
