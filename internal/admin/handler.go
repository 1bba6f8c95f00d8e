// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bavard/internal/health"
)

// maxBody bounds a request that is not an import, in bytes.
const maxBody = 64 << 10

const ndjsonType = "application/x-ndjson"

// drainTime bounds how long the rest of a failed import is read for.
const drainTime = 5 * time.Second

// importMessage is one line of the answer to an import.
type importMessage struct {
	Event *ImportEvent `json:"event,omitempty"`
	Done  *Progress    `json:"done,omitempty"` // last, with Error if it had to stop
	Error *Error       `json:"error,omitempty"`
}

type addedUser struct {
	Address string `json:"address"`
}

// Handler serves b and the metrics in r:
//
//	POST /v1/users         User → {"address": …}
//	POST /v1/users/import  lines → one JSON object per line, as they come
//	GET  /v1/users?after=  Listing, at most 1,000 accounts
//	PUT  /v1/users/NAME/password  {"password": …} → {"address": …}
//	POST /v1/users/NAME/disable, /enable → {"address": …}
//	DELETE /v1/users/NAME  → {"address": …}
//	POST /v1/invites       InviteOptions → [Invite]
//	GET  /v1/invites?from= InviteListing, at most 1,000 invites
//	DELETE /v1/invites/ID  → ListedInvite
//	GET  /v1/reports?before= ReportListing, at most 100 reports
//	DELETE /v1/reports/NUMBER → {}
//	POST /v1/checkpoint    Checkpoint; DELETE → {}
//	POST /v1/drain         DrainOptions → one JSON object per line, as it goes; DELETE → {}
//	POST /v1/page          PageLink
//	GET  /v1/status        Status
//	GET  /metrics
//
// It asks for no password: who can open the socket may do all of it.
func Handler(b Backend, r *prometheus.Registry, log *slog.Logger) http.Handler {
	h := &handler{b, log}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/users", h.addUser)
	mux.HandleFunc("POST /v1/users/import", h.importUsers)
	h.users(mux)
	h.invites(mux)
	h.reports(mux)
	h.checkpoints(mux)
	h.drains(mux)
	h.nodes(mux)
	h.pages(mux)
	mux.HandleFunc("GET /v1/status", h.status)
	mux.Handle("GET /metrics", health.MetricsHandler(r))
	return mux
}

type handler struct {
	b   Backend
	log *slog.Logger
}

func (h *handler) addUser(w http.ResponseWriter, r *http.Request) {
	var u User
	if !decode(w, r, &u) {
		return
	}
	address, err := h.b.AddUser(r.Context(), u)
	if err == nil {
		h.log.Info("account made", "by", "operator", "account", address)
	}
	answer(w, addedUser{address}, err)
}

func (h *handler) status(w http.ResponseWriter, r *http.Request) {
	s, err := h.b.Status(r.Context())
	answer(w, s, err)
}

func (h *handler) importUsers(w http.ResponseWriter, r *http.Request) {
	format := TSV
	if r.Header.Get("Content-Type") == ndjsonType {
		format = NDJSON
	}
	control := http.NewResponseController(w)
	if err := control.EnableFullDuplex(); err != nil {
		answer(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", ndjsonType)
	out := json.NewEncoder(w)
	send := func(m importMessage) {
		// Who has gone away is found by reading the request.
		_ = out.Encode(m)
		_ = control.Flush()
	}
	done, err := h.b.Import(r.Context(), r.Body, format, func(e ImportEvent) { send(importMessage{Event: &e}) })
	last := importMessage{Done: &done}
	if err != nil {
		last.Error = asError(err)
	}
	h.log.Info("users imported", "added", done.Added, "existing", done.Existing, "bad", done.Bad, "err", err)
	send(last)
	if err != nil {
		// Closing while the client still sends could cost it the answer, so the
		// rest is read until it has the answer and hangs up.
		_ = control.SetReadDeadline(time.Now().Add(drainTime))
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		answer(w, nil, &Error{Code: CodeInvalid, Text: "the request cannot be read", Hint: "are the server and this program of the same version?"})
		return false
	}
	return true
}

func answer(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	if err != nil {
		e := asError(err)
		v = e
		switch e.Code {
		case CodeUnknown:
			status = http.StatusNotFound
		case CodeExists:
			status = http.StatusConflict
		case CodeInvalid:
			status = http.StatusBadRequest
		default:
			status = http.StatusInternalServerError
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // nobody to tell
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) && err.Error() == e.Error() {
		return e
	}
	if errors.As(err, &e) { // wrapped with the place
		return &Error{Code: e.Code, Text: err.Error()}
	}
	return &Error{Code: CodeFailed, Text: err.Error()}
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, io.EOF) }
