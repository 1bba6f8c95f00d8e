// SPDX-License-Identifier: Apache-2.0

package health_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"bavard/internal/command"
	"bavard/internal/health"
	"bavard/internal/xmlstream"
)

func TestWarningKeepsTheTimeItBeganAndGoes(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	w := health.NewWarnings(func() time.Time { return now })
	w.Raise(health.DiskLow, "900 MiB left")
	began := now
	now = now.Add(time.Minute)
	w.Raise(health.DiskLow, "800 MiB left")
	w.Raise(health.JournalNoLeader, "")

	active := w.Active()
	if len(active) != 2 || active[0].ID != "journal-no-leader" || active[1].ID != "disk-low" {
		t.Fatalf("active: %+v; want the error first", active)
	}
	if got := active[1]; !got.Since.Equal(began) || got.Detail != "800 MiB left" || got.Hint == "" {
		t.Fatalf("disk-low: %+v", got)
	}
	w.Clear(health.DiskLow)
	w.Clear(health.JournalNoLeader)
	if active := w.Active(); len(active) != 0 {
		t.Fatalf("cleared, still active: %+v", active)
	}
}

func TestEveryKindIsInTheOperatorsGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, k := range health.Kinds() {
		if k.String() == "unknown" || seen[k.String()] {
			t.Errorf("kind %d has no id of its own: %q", k, k)
		}
		seen[k.String()] = true
		if !strings.Contains(string(guide), "`"+k.String()+"`") {
			t.Errorf("docs/operations.md does not say what %q means", k)
		}
	}
}

func TestReadyNamesWhatIsMissing(t *testing.T) {
	var fault error
	w := health.NewWarnings(time.Now)
	h := health.Ready(w,
		health.Check{Name: "journal", Test: func() error { return fault }},
		health.Check{Name: "view", Test: func() error { return nil }},
	)
	get := func() (int, string) {
		r := httptest.NewRecorder()
		h.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return r.Code, r.Body.String()
	}
	if code, text := get(); code != 200 || text != "ready\n" {
		t.Fatalf("all hold: %d %q", code, text)
	}
	fault = errors.New("no leader")
	if code, text := get(); code != 503 || text != "journal: no leader\n" {
		t.Fatalf("one fails: %d %q", code, text)
	}
	fault = nil
	w.Raise(health.JournalFull, "3 MiB left on /secret/place")
	if code, text := get(); code != 200 || text != "ready\nwarning: journal-full\n" {
		t.Fatalf("a warning: %d %q", code, text)
	}
}

func TestRegistriesAreSeparate(t *testing.T) {
	scrape := func(w *health.Warnings) string {
		r := httptest.NewRecorder()
		health.MetricsHandler(health.NewRegistry("1.2.3", w)).ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return r.Body.String()
	}
	a, b := health.NewWarnings(time.Now), health.NewWarnings(time.Now)
	a.Raise(health.Overloaded, "")
	for text, want := range map[string]string{
		scrape(a): `bavard_warning{id="overloaded",severity="warning"} 1`,
		scrape(b): `bavard_warning{id="overloaded",severity="warning"} 0`,
	} {
		if !strings.Contains(text, want) || !strings.Contains(text, `bavard_build_info{version="1.2.3"} 1`) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestLogHidesWhatPeopleWrite(t *testing.T) {
	const said = "meet me at noon"
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			var out bytes.Buffer
			log, err := health.NewLogger(&out, "debug", format)
			if err != nil {
				t.Fatal(err)
			}
			log = health.Conn(log, 42)
			log.Info("x",
				"password", said,
				"Invite-Token", said,
				"el", xmlstream.NewText("jabber:client", "body", said),
				"cmd", &command.Command{Request: &command.Command_Message{Message: &command.Message{Payload: []byte(said)}}},
				"raw", []byte(said),
				slog.Group("inner", "body", said),
				"fields", struct{ Text string }{said},
			)
			log.Info("y", "err", errors.New("broken\npipe"), "addr", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 99},
				"long", strings.Repeat("a", 5000), "took", time.Second)
			text := out.String()
			if strings.Contains(text, said) {
				t.Errorf("the log tells what was said:\n%s", text)
			}
			if n := strings.Count(text, "\n"); n != 2 {
				t.Errorf("%d lines, want 2: a value broke out of its line:\n%s", n, text)
			}
			for _, want := range []string{"conn", "42", "192.0.2.1:99"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			if len(text) > 4000 {
				t.Errorf("%d bytes: a long value was not cut", len(text))
			}
		})
	}
}

func TestLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	if _, err := health.NewLogger(nil, "loud", "text"); err == nil {
		t.Error("level loud was taken")
	}
	if _, err := health.NewLogger(nil, "info", "xml"); err == nil {
		t.Error("format xml was taken")
	}
}
