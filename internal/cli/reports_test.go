// SPDX-License-Identifier: Apache-2.0

package cli

import "testing"

// A stranger's text does nothing to the operator's terminal, and stays one line.
func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "",
		"two  words\nand\tmore":      "two words and more",
		"\x1b[31mred\x07":            "[31mred",
		"to the \u202eleft\u2028end": "to the left end",
		"Grüße, 你好":                  "Grüße, 你好",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}
