// SPDX-License-Identifier: Apache-2.0

package health

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Check is one thing that must hold before the server takes work.
type Check struct {
	Name string // like "journal"
	// Test gives nil when it holds, else what is missing. It must be fast and
	// safe for concurrent use.
	Test func() error
}

// Failing gives "name: error" of each check that does not hold.
func Failing(checks []Check) []string {
	var failing []string
	for _, c := range checks {
		if err := c.Test(); err != nil {
			failing = append(failing, c.Name+": "+err.Error())
		}
	}
	return failing
}

// Live answers 200 as long as the process answers at all: /healthz.
func Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK, "ok\n")
	})
}

// Ready answers 200 when every check holds, else 503 and what is missing, one
// per line: /readyz. The ids of the warnings that hold follow, one per line; with a
// full disk say, the server is ready for all but what is new.
func Ready(warnings *Warnings, checks ...Check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status, lines := http.StatusOK, []string{"ready"}
		if failing := Failing(checks); len(failing) > 0 {
			status, lines = http.StatusServiceUnavailable, failing
		}
		for _, a := range warnings.Active() {
			lines = append(lines, "warning: "+a.ID)
		}
		plain(w, status, strings.Join(lines, "\n")+"\n")
	})
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // nobody to tell
}
