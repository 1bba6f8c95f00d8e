// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	const events = `{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"p_test.go:9: time=now level=WARN msg=\"a server said\"\n"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"p_test.go:1: this is why\n"}
{"Action":"fail","Package":"p","Test":"TestBad"}
{"Action":"output","Package":"p","Test":"TestSkipped","Output":"p_test.go:2: LEFT OUT: no chromium\n"}
{"Action":"skip","Package":"p","Test":"TestSkipped"}
{"Action":"fail","Package":"p","Elapsed":1.5}
go: a line that is not JSON
{"Action":"output","Package":"q","Test":"TestDies","Output":"dying words\n"}
{"Action":"fail","Package":"q"}
{"Action":"build-output","ImportPath":"r","Output":"r.go:1: syntax error\n"}
{"Action":"build-fail","ImportPath":"r"}
{"Action":"fail","Package":"r","FailedBuild":"r"}
{"Action":"pass","Package":"s","Elapsed":0.1}
{"Action":"skip","Package":"without tests"}
`
	var out bytes.Buffer
	s := &summary{out: &out, output: map[string][]string{}, failedInPackage: map[string]int{}}
	if err := s.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{"this is why", "FAIL  p\t1.5s", "a line that is not JSON", "dying words", "syntax error", "ok    s\t0.1s"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	why := strings.Join(s.why, "\n")
	for _, want := range []string{"FAIL  p TestBad\n      p_test.go:1: this is why", "FAIL  q TestDies\n      dying words", "r.go:1: syntax error"} {
		if !strings.Contains(why, want) {
			t.Errorf("no %q in\n%s", want, why)
		}
	}
	if strings.Contains(why, "a server said") || strings.Contains(why, "quiet") || strings.Contains(text, "quiet") || strings.Contains(text, "without") {
		t.Errorf("too much in\n%s", text)
	}
	if s.passed != 1 || s.failed != 3 || len(s.skipped) != 1 || !strings.Contains(s.skipped[0], "LEFT OUT: no chromium") {
		t.Errorf("%d passed, %d failed, skipped %q", s.passed, s.failed, s.skipped)
	}
}
