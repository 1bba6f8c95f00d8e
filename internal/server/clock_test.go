// SPDX-License-Identifier: Apache-2.0

package server

import (
	"testing"
	"time"
)

// A clock is brought to within a second of that of most, and left alone when it is.
func TestCorrection(t *testing.T) {
	for apart, want := range map[time.Duration]time.Duration{
		0: 0, time.Second: 0, -time.Second: 0, time.Hour: time.Hour - time.Second, -time.Hour: time.Second - time.Hour, 1500 * time.Millisecond: 500 * time.Millisecond,
	} {
		if got := correction(apart); got != want {
			t.Errorf("%v: %v, want %v", apart, got, want)
		}
	}
}
