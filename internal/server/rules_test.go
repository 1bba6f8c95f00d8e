// SPDX-License-Identifier: Apache-2.0

package server

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"bavard/internal/health"
)

// TestPrometheusRules: what the alerts are on is exported by a server, and each says what to do.
func TestPrometheusRules(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/prometheus/bavard.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	exported := exportedBy(t, startServer(t).server)
	alerts := strings.Split(string(text), "- alert: ")[1:]
	if len(alerts) < 10 {
		t.Errorf("%d alerts were read", len(alerts))
	}
	seen, metric := map[string]bool{}, regexp.MustCompile(`\bbavard_\w+`)
	parts := regexp.MustCompile(`(?s)^\w+\n {8}expr: .+ {8}labels: \{ severity: (page|ticket) \}\n {8}annotations:\n {10}summary: ".+"\n {10}action: ".+"\n`)
	for _, alert := range alerts {
		name, rest, _ := strings.Cut(alert, "\n")
		if !parts.MatchString(alert) || seen[name] {
			t.Errorf("%s is there twice, or lacks one of expr, severity, summary and action", name)
		}
		seen[name] = true
		expr, _, _ := strings.Cut(rest, "labels:")
		for _, m := range metric.FindAllString(expr, -1) {
			if !exported[strings.TrimSuffix(m, "_bucket")] {
				t.Errorf("%s is on %s, which no server exports", name, m)
			}
		}
	}
}

func exportedBy(t *testing.T, s *server) map[string]bool {
	t.Helper()
	r := health.NewRegistry("test", s.warnings)
	s.collect(r)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
	}
	return names
}
