// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bavard/internal/cert"
	"bavard/internal/health"
	"bavard/internal/route"
	"bavard/internal/upload"
)

// makeUploads prepares what people share. Where there are no slots to be had, the
// component is not there, but files go on to be handed out.
func (s *server) makeUploads(key []byte) (route.Feature, error) {
	c := &s.cfg.Upload
	const mib = 1 << 20
	var err error
	o := upload.Options{
		Domain: "upload." + s.cfg.Domain, Dir: s.dir.Uploads(), Node: s.name(), Key: derived(key, "upload slots"),
		View: s.cell, Do: refusing{s.cell}.Do, Base: s.uploadBase, Free: s.dir.FreeForUploads,
		Address: func(r *http.Request) string { return s.front.Block(r) },
		Missing: func(n int) { s.warn(health.UploadsMissing, n > 0, fmt.Sprintf("%d files", n)) },
		Limits: upload.Limits{
			File: uint64(c.MaxSizeMiB) * mib, Account: uint64(c.AccountMiB) * mib, AccountFiles: uint64(c.AccountFiles), Total: uint64(c.TotalMiB) * mib,
			MinFree: 2 * uint64(s.cfg.Journal.MinFreeMiB) * mib, Messages: days(c.MessageDays), Ephemeral: days(c.EphemeralDays),
		},
		UnsafeEarly: s.o.UnsafeEarlyUploads, Logger: s.log,
	}
	if s.link != nil {
		o.Current, o.Others = s.cell.Current, s.link
	}
	s.uploads, err = upload.New(o)
	if err != nil || c.MaxSizeMiB == 0 || s.cfg.UploadBase(s.cfg.Listen.HTTPS, s.cfg.Listen.HTTP) == "" {
		return route.Feature{Name: "uploads"}, err
	}
	return s.uploads.Feature(), nil
}

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

func (s *server) uploadBase() string { return s.cfg.UploadBase(s.addrs.HTTPS, s.addrs.HTTP) }

// mediaOrigins are those beside its own that the app may take files from and put
// them to.
func (s *server) mediaOrigins() []string {
	if s.cfg.Upload.URL == "" {
		return nil
	}
	return []string{s.uploadBase()}
}

// withUploads serves uploads beside the app, or at an origin of their own, where
// there is nothing else.
func (s *server) withUploads(app *http.ServeMux) http.Handler {
	own, err := url.Parse(s.cfg.Upload.URL)
	if err != nil || own.Host == "" {
		app.Handle(upload.Path, s.uploads)
		return app
	}
	alone := http.NewServeMux()
	alone.Handle(upload.Path, s.uploads)
	alone.Handle("GET "+cert.ChallengePath, s.certs.Challenge())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "" && isOf(own, r.Host) {
			alone.ServeHTTP(w, r)
			return
		}
		app.ServeHTTP(w, r)
	})
}

// isOf reports whether a request's Host is that of an origin, whose standard port may be
// named or not.
func isOf(origin *url.URL, host string) bool {
	port := map[string]string{"https": ":443", "http": ":80"}[origin.Scheme]
	return strings.EqualFold(strings.TrimSuffix(host, port), strings.TrimSuffix(origin.Host, port))
}

// warnOfUploads tells when nobody can share files.
func (s *server) warnOfUploads() {
	if s.cfg.Upload.MaxSizeMiB == 0 {
		return
	}
	why := s.uploads.Full()
	s.warn(health.UploadsRefused, why != nil, fmt.Sprint(why))
}

// collectUploads registers the figures of uploads.
func (s *server) collectUploads(r prometheus.Registerer) {
	counter := func(name, help, result string, read func(upload.Stats) uint64) {
		o := prometheus.CounterOpts{Namespace: "bavard", Name: name, Help: help}
		if result != "" {
			o.ConstLabels = prometheus.Labels{"result": result}
		}
		r.MustRegister(prometheus.NewCounterFunc(o, func() float64 { return float64(read(s.uploads.Stats())) }))
	}
	const slots, files = "Requests for a slot to upload a file, by what came of them.", "Files that were put, by what came of them."
	counter("upload_slots_total", slots, "given", func(n upload.Stats) uint64 { return n.Slots })
	counter("upload_slots_total", slots, "refused", func(n upload.Stats) uint64 { return n.SlotsRefused })
	counter("uploads_total", files, "stored", func(n upload.Stats) uint64 { return n.Stored })
	counter("uploads_total", files, "repeated", func(n upload.Stats) uint64 { return n.Repeated })
	counter("uploads_total", files, "refused", func(n upload.Stats) uint64 { return n.Rejected })
	counter("uploads_total", files, "interrupted", func(n upload.Stats) uint64 { return n.Interrupted })
	const copies = "Files between the nodes of a cell, by what came of them."
	counter("upload_copies_total", copies, "sent", func(n upload.Stats) uint64 { return n.Replicated })
	counter("upload_copies_total", copies, "refused", func(n upload.Stats) uint64 { return n.Unreplicated })
	counter("upload_copies_total", copies, "fetched", func(n upload.Stats) uint64 { return n.Fetched })
	counter("upload_received_bytes_total", "Bytes of files that came.", "", func(n upload.Stats) uint64 { return n.Received })
	counter("upload_sent_bytes_total", "Bytes of files that were handed out.", "", func(n upload.Stats) uint64 { return n.Sent })
	gauge := func(name, help string, read func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "bavard", Name: name, Help: help}, read))
	}
	gauge("uploads_arriving", "Files that are being put.", func() float64 { return float64(s.uploads.Stats().Uploading) })
	gauge("uploads_leaving", "Files that are being got.", func() float64 { return float64(s.uploads.Stats().Downloading) })
	gauge("upload_files", "Files that are kept.", func() float64 { n, _ := s.cell.AllUploads(); return float64(n.Files) })
	gauge("upload_bytes", "Bytes of the files that are kept.", func() float64 { n, _ := s.cell.AllUploads(); return float64(n.Bytes) })
}
