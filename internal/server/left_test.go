// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"testing"
	"time"
)

func TestDeparturesAreNotedOnceAMinute(t *testing.T) {
	var d departures
	now := time.Now()
	if !d.note("a", now) || d.note("a", now.Add(59*time.Second)) || !d.note("b", now) || !d.note("a", now.Add(time.Minute)) {
		t.Error("noted too often or not at all")
	}
	for i := range departuresMost + 1 {
		d.note(fmt.Sprint(i), now)
	}
	if len(d.at) > departuresMost {
		t.Errorf("%d accounts are remembered", len(d.at))
	}
}
