// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"
)

//go:embed demo
var demoFiles embed.FS

// demoPeople have a window of the app each.
func demoPeople() []string { return []string{"Ada", "Grace"} }

// windows are where the app is shown, one at each node: a proxy before the node whose answers may be
// framed by the page of the demo. The node itself forbids that to everybody.
type windows struct {
	ctx       context.Context
	listeners []net.Listener
}

func newWindows(ctx context.Context, n int) (*windows, error) {
	w := &windows{ctx: ctx}
	for range n {
		l, err := loopback(ctx, "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		w.listeners = append(w.listeners, l)
	}
	return w, nil
}

func loopback(ctx context.Context, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%q is no loopback address: what the demo shows is for this machine alone", address)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for the demo: %w", err)
	}
	context.AfterFunc(ctx, func() { l.Close() })
	return l, nil
}

// origin of a listener, by the name that browsers trust like TLS.
func origin(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "http://localhost:" + port
}

func (w *windows) addresses() []string {
	var all []string
	for _, l := range w.listeners {
		all = append(all, origin(l))
	}
	return all
}

// joinPath is where the page of an app finds what fills in its name.
const joinPath = "/demo-join.js"

// open shows the app of a node at a window, to the page of the demo at by.
func (w *windows) open(i int, target, by string) {
	to := &url.URL{Scheme: "http", Host: target}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
			r.Out.Header.Del("Accept-Encoding")
		},
		ModifyResponse: func(r *http.Response) error { return frame(r, by) },
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("GET "+joinPath, func(rw http.ResponseWriter, _ *http.Request) {
		name := ""
		if people := demoPeople(); i < len(people) {
			name = people[i]
		}
		text, err := demoFiles.ReadFile("demo/join.js")
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		rw.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		rw.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = rw.Write(bytes.ReplaceAll(text, []byte("NAME"), []byte(name))) // the browser may be gone
	})
	serveDemo(w.ctx, w.listeners[i], mux)
}

// pageBytes bounds a page of the app.
const pageBytes = 1 << 20

// frame lets one page frame an answer of the app, and has the app's page join by itself.
func frame(r *http.Response, by string) error {
	csp := r.Header.Get("Content-Security-Policy")
	r.Header.Set("Content-Security-Policy", strings.Replace(csp, "frame-ancestors 'none'", "frame-ancestors "+by, 1))
	r.Header.Del("X-Frame-Options")
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") || r.StatusCode != http.StatusOK {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, pageBytes))
	if err := errors.Join(err, r.Body.Close()); err != nil {
		return err
	}
	text = bytes.Replace(text, []byte("</body>"), []byte(`<script type="module" src="`+joinPath+`"></script></body>`), 1)
	r.Body = io.NopCloser(bytes.NewReader(text))
	r.ContentLength = int64(len(text))
	r.Header.Set("Content-Length", strconv.Itoa(len(text)))
	r.Header.Del("ETag")
	return nil
}

func serveDemo(ctx context.Context, l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	context.AfterFunc(ctx, func() { srv.Close() })
	go func() { _ = srv.Serve(l) }() // ends with ctx
}

// serve shows the page until ctx ends.
func (d *demo) serve(ctx context.Context, cfg DemoConfig, w *windows, invites []string) error {
	l, err := loopback(ctx, cfg.Listen)
	if err != nil {
		return err
	}
	at := origin(l)
	for i := range w.listeners {
		w.open(i, d.places[i].http, at)
	}
	serveDemo(ctx, l, d.page(strings.TrimPrefix(at, "http://"), w.addresses(), invites))
	if cfg.Ready != nil {
		cfg.Ready(at)
	}
	<-ctx.Done()
	return nil
}

// page is the page with the buttons. Pages of other sites can press none: neither their
// requests nor another name of this machine are taken.
func (d *demo) page(host string, windows, invites []string) http.Handler {
	files, err := fs.Sub(demoFiles, "demo")
	if err != nil {
		return http.NotFoundHandler()
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /windows", func(w http.ResponseWriter, _ *http.Request) {
		var all []string
		for i, invite := range invites {
			all = append(all, windows[i]+"/i/"+url.PathEscape(invite))
		}
		answer(w, all)
	})
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, _ *http.Request) { answer(w, d.counters()) })
	mux.HandleFunc("POST /act/{what}", func(w http.ResponseWriter, r *http.Request) {
		if err := d.act(r.PathValue("what"), r.URL.Query().Get("node")); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	own := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != host {
			http.Error(w, "this page is at http://"+host, http.StatusMisdirectedRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src "+strings.Join(windows, " ")+
			"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		own.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the browser may be gone
}
