// SPDX-License-Identifier: Apache-2.0

package jid

import (
	"bufio"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// What we accept is what another implementation of stringprep makes of it.
func TestAgreesWithStringprep(t *testing.T) {
	f, err := os.Open("testdata/stringprep.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	accepted := 0
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		fields := strings.Fields(lines.Text())
		in := unhex(t, fields[0])
		for _, c := range []struct {
			name, want string
			normalise  func(string) (string, error)
		}{{"localpart", fields[1], normaliseLocal}, {"resourcepart", fields[2], normaliseResource}} {
			got, err := c.normalise(in)
			if err != nil {
				continue
			}
			accepted++
			if c.want == "!" || got != unhex(t, c.want) {
				t.Errorf("%s %+q: %+q, but stringprep says %s", c.name, in, got, c.want)
			}
		}
	}
	if err := lines.Err(); err != nil || accepted < 100 {
		t.Errorf("%d accepted, %v", accepted, err)
	}
}

func unhex(t *testing.T, s string) string {
	t.Helper()
	if s == "-" || s == "!" {
		return ""
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The classes that are refused because stringprep treats them otherwise, beside
// neighbours that are not.
func TestRefusedForStringprep(t *testing.T) {
	for _, c := range []struct{ accepted, refused string }{
		{"strasse@example.org", "straße@example.org"},                // folds to ss
		{"σ@example.org", "ς@example.org"},                           // folds to σ
		{"Σ@example.org", "ſ@example.org"},                           // folds to s
		{"a@example.org/ⴀ", "Ⴀ@example.org"},                         // lower case since 4.1
		{"а@example.org", "Ӏ@example.org"},                           // lower case since 5.0
		{"क@example.org", "क्\u200dष@example.org"},                   // joiner after virama: PRECIS allows it
		{"ａ@example.org", "\u2460@example.org"},                      // width is mapped by both, circles by one
		{"a@example.org/...", "a@example.org/…"},                     // NFKC
		{"a@example.org/TM", "a@example.org/™"},                      // NFKC
		{"a@example.org/😀", "a@example.org/\ufffd"},                  // prohibited
		{"a@example.org/ x", "a@example.org/\u1680x"},                // prohibited space
		{"a@example.org/אב", "a@example.org/אב 1"},                   // does not end as it begins
		{"a@example.org/א1ב", "a@example.org/אbב"},                   // mixes directions
		{"אב@example.org", "אב1@example.org"},                        // RFC 5893 allows it
		{"a@example.org/\u09cb", "a@example.org/\u09c7\u0334\u09be"}, // Corrigendum 5
		{"a@strasse.example", "a@straße.example"},                    // IDNA2008 keeps it
		{"a@xn--bcher-kva.example", "a@xn--strae-oqa.example"},       // the same as an A-label
		{"a@bücher。example", "a@\U0002f868.example"},                 // dots are mapped by both
		{"a@example.org/\U0002136a", "a@example.org/\U0002f868"},     // Corrigendum 4
	} {
		if _, err := Parse(c.accepted); err != nil {
			t.Errorf("Parse(%q): %v", c.accepted, err)
		}
		if j, err := Parse(c.refused); err == nil {
			t.Errorf("Parse(%q) = %q, want an error", c.refused, j)
		}
	}
}
