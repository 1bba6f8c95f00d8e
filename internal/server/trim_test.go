// SPDX-License-Identifier: Apache-2.0

package server

import "testing"

// TestTrimDue: memory is given back when that is worth a collection, and not
// while it is in use.
func TestTrimDue(t *testing.T) {
	const m = 1 << 20
	for _, c := range []struct {
		name        string
		before, now usage
		due         bool
	}{
		{"a fresh server", usage{10 * m, 8 * m, 4 * m, 3 * m}, usage{11 * m, 9 * m, 4 * m, 3 * m}, false},
		{"after a storm: garbage", usage{900 * m, 90 * m, 50 * m, 10 * m}, usage{902 * m, 92 * m, 50 * m, 10 * m}, true},
		{"after a storm: free", usage{900 * m, 50 * m, 50 * m, 40 * m}, usage{901 * m, 51 * m, 50 * m, 40 * m}, true},
		{"under load", usage{900 * m, 70 * m, 50 * m, 20 * m}, usage{1900 * m, 90 * m, 50 * m, 10 * m}, false},
		{"little next to what is in use", usage{900 * m, 410 * m, 400 * m, 20 * m}, usage{901 * m, 411 * m, 400 * m, 20 * m}, false},
		{"just given back", usage{900 * m, 50 * m, 50 * m, m}, usage{901 * m, 51 * m, 50 * m, m}, false},
	} {
		if got := trimDue(c.before, c.now); got != c.due {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if u := readUsage(); u.allocated == 0 || u.objects == 0 {
		t.Errorf("nothing is measured: %+v", u)
	}
}
