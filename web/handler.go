// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

const indexPage = "index.html"

// Cache policies (RFC 9111 §5.2.2): files under assets/ carry a hash of their
// content in their name and never change; all else is asked for again.
const (
	cacheForever    = "public, max-age=31536000, immutable"
	cacheRevalidate = "no-cache"
)

// Handler serves the embedded app. See HandlerFor.
func Handler(beside Beside) http.Handler {
	files, _ := FS()
	return HandlerFor(files, beside)
}

// Beside is what the app may connect to besides the page's own origin.
type Beside struct {
	// Media are origins of uploads, such as "https://files.example.org": it puts files
	// there, takes them from there, and shows images and media of theirs.
	Media []string
	// Nodes are the addresses of the app at each node of the cell: it may open WebSockets there.
	Nodes []string
	// Status are addresses of files that tell of outages (XEP-0455): it may ask their
	// origins, and show nothing of theirs.
	Status []string
}

// HandlerFor serves an app from files, which it reads whole into memory at
// once: GET and HEAD only; hashed assets with immutable caching; index.html
// for / and for the app's own addresses /i/…, /c/… and /chat/…; 404 for the
// rest. A file that lies beside its own .gz is sent compressed to those who
// accept it.
//
// The page's own origin is always one that the app may connect to.
func HandlerFor(files fs.FS, beside Beside) http.Handler {
	return &handler{files: load(files), beside: beside}
}

type handler struct {
	files  map[string]*file
	beside Beside
}

type file struct {
	body        []byte
	gzip        []byte // nil: not compressed
	contentType string
	etag        string // strong, quoted
	cache       string
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	securityHeaders(w.Header(), r.Host, h.beside)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f := h.files[fileName(r.URL.Path)]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	f.serve(w, r)
}

// fileName maps a request's path to a file of the app. The app's own
// addresses give index.html; the app reads the rest of the address itself.
func fileName(p string) string {
	if p == "/" {
		return indexPage
	}
	for _, prefix := range [...]string{"/i/", "/c/", "/chat/"} {
		if rest, ok := strings.CutPrefix(p, prefix); ok && rest != "" && !strings.Contains(rest, "/") {
			return indexPage
		}
	}
	return strings.TrimPrefix(p, "/")
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", f.cache)
	body, etag := f.body, f.etag
	if f.gzip != nil {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			header.Set("Content-Encoding", "gzip")
			body, etag = f.gzip, strings.TrimSuffix(f.etag, `"`)+`-gz"`
		}
	}
	header.Set("ETag", etag)
	if header.Get("Content-Encoding") == "" {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		return
	}
	// ServeContent would leave Content-Length out and serve ranges of the
	// compressed bytes.
	if r.Header.Get("If-None-Match") == etag {
		header.Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // the client went away: nothing to do
	}
}

// acceptsGzip reads Accept-Encoding (RFC 9110 §12.5.3): gzip named and not
// given the weight zero.
func acceptsGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		value, found := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		if !found {
			return true
		}
		q, err := strconv.ParseFloat(value, 64)
		return err == nil && q > 0
	}
	return false
}

// load reads the app's files. Dot files and the .gz twins are not served under
// their own names. A file that cannot be read is left out: it is then 404.
func load(files fs.FS) map[string]*file {
	loaded := make(map[string]*file)
	_ = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(path.Base(name), ".") || path.Ext(name) == ".gz" {
			return nil
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return nil
		}
		compressed, err := fs.ReadFile(files, name+".gz")
		if err != nil {
			compressed = nil
		}
		sum := sha256.Sum256(body)
		f := &file{
			body:        body,
			gzip:        compressed,
			contentType: contentType(name),
			etag:        `"` + hex.EncodeToString(sum[:12]) + `"`,
			cache:       cacheRevalidate,
		}
		if strings.HasPrefix(name, "assets/") {
			f.cache = cacheForever
		}
		loaded[name] = f
		return nil
	})
	return loaded
}

// contentType does not ask the machine's own tables, which differ.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".woff2":
		return "font/woff2"
	case ".webmanifest":
		return "application/manifest+json"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}
