// SPDX-License-Identifier: Apache-2.0

package node

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// TestFreePorts: who looks at the same time, by the same choices, gets other ports.
func TestFreePorts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("ports are not reserved here")
		return
	}
	const times, each = 20, 9
	var mu sync.Mutex
	var all sync.WaitGroup
	given := map[string]bool{}
	for range times {
		all.Go(func() {
			addrs, err := FreePorts(each, rand.New(rand.NewPCG(1, 2)).IntN)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, addr := range addrs {
				given[addr] = true
			}
		})
	}
	all.Wait()
	if len(given) != times*each {
		t.Errorf("of %d ports %d are different", times*each, len(given))
	}
}
