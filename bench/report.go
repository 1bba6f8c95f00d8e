// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is what a scenario found.
type Report interface {
	// Rows are the findings for a reader, label and text.
	Rows() [][2]string
	conditions() *Conditions
}

func (c *Conditions) conditions() *Conditions { return c }

// Write writes a report as a table.
func Write(w io.Writer, r Report) error {
	var out strings.Builder
	line := func(label, text string) { fmt.Fprintf(&out, "%-11s %s\n", label, text) }
	c := r.conditions()
	line(c.Scenario, fmt.Sprintf("%s at %s, domain %s, %s, %s", c.Server, c.Addr, c.Domain, c.Transport, c.Mechanism))
	for _, row := range r.Rows() {
		line(row[0], row[1])
	}
	if c.ServerRSS > 0 {
		memory := fmt.Sprintf("%.2f cores; memory at the end %s", c.ServerCores, mib(c.ServerRSS))
		if c.ServerPSS > 0 {
			memory += fmt.Sprintf(" resident, %s proportional", mib(c.ServerPSS))
		}
		line("server", memory)
	}
	line("generator", fmt.Sprintf("%.2f cores; the machine's load was %.2f before and %.2f after", c.GeneratorCores, c.LoadBefore, c.LoadAfter))
	if c.Interrupted {
		line("note", fmt.Sprintf("interrupted: the figures are of %.1f s", c.Seconds))
	}
	for _, n := range c.Notes {
		line("note", n)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// WriteJSON writes a report as one line of JSON.
func WriteJSON(w io.Writer, r Report) error {
	return json.NewEncoder(w).Encode(r)
}

// Latency sums durations up, in milliseconds, exact to an eighth; Max is exact.
type Latency struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func (h *histogram) latency() Latency {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return Latency{Count: h.total, P50: ms(min(h.at(0.5), h.max)), P99: ms(min(h.at(0.99), h.max)), Max: ms(h.max)}
}

func (l Latency) String() string {
	return fmt.Sprintf("p50 %s, p99 %s, max %s", millis(l.P50), millis(l.P99), millis(l.Max))
}

// millis writes milliseconds with as many digits as they are worth.
func millis(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.2f s", ms/1000)
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func kib(n float64) string { return fmt.Sprintf("%.1f KiB", n/1024) }

// counted writes a number with separators.
func counted(n float64) string {
	s := fmt.Sprintf("%.0f", n)
	if n < 100 {
		return fmt.Sprintf("%.1f", n)
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Note adds what a reader of the report has to know.
func Note(r Report, format string, args ...any) { r.conditions().note(format, args...) }
