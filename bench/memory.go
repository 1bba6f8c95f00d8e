// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"slices"
	"sync"
	"time"
)

// settle waits until the server's memory holds still for a while, or for as
// long as patience lasts, and says which.
func (w *Watch) settle(ctx context.Context, still, patience time.Duration, what string) (settled bool, err error) {
	if w == nil || w.Server == nil {
		return false, wait(ctx, still)
	}
	const every = 250 * time.Millisecond
	n := max(2, int(still/every))
	var samples []int64
	for began := time.Now(); time.Since(began) < patience; {
		samples = append(samples, w.Server.RSS())
		if len(samples) > n {
			samples = samples[1:]
			low, high := slices.Min(samples), slices.Max(samples)
			if high-low <= max(256<<10, high/200) {
				return true, nil
			}
		}
		if len(samples)%4 == 0 {
			w.tell("%s: waiting for the server's memory to hold still, %s", what, mib(samples[len(samples)-1]))
		}
		if err := wait(ctx, every); err != nil {
			return false, err
		}
	}
	return false, nil
}

// peak watches the server's memory until stop is called, which gives its
// highest.
func (w *Watch) peak() (stop func() int64) {
	if w == nil || w.Server == nil {
		return func() int64 { return 0 }
	}
	ctx, cancel := context.WithCancel(context.Background())
	var highest int64
	var done sync.WaitGroup
	done.Go(func() {
		for {
			highest = max(highest, w.Server.RSS())
			if wait(ctx, 20*time.Millisecond) != nil {
				return
			}
		}
	})
	return func() int64 {
		cancel()
		done.Wait()
		return highest
	}
}
