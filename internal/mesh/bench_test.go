// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"fmt"
	"testing"
)

// BenchmarkSnapshot: a node gets to know 100,000 sessions of another.
func BenchmarkSnapshot(b *testing.B) {
	const n = 100_000
	w := newWorld(b, patient)
	w.start("a")
	for i := range n {
		w.meshes["a"].Tell(online(b, fmt.Sprintf("u%d@localhost/x", i)), false)
	}
	for b.Loop() {
		w.start("b")
		w.until("all are known", func() bool { return w.meshes["b"].Stats().Sessions == n })
		w.stop("b")
	}
}
