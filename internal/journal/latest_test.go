// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestLatestIsShared: callers share a read, but never one that began before
// their call.
func TestLatestIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := uint64(0)
		l := newLatestReads(func(ctx context.Context) (uint64, error) {
			reads++
			n := reads
			time.Sleep(10 * time.Millisecond)
			return n, nil
		})
		defer l.stop()
		var wg sync.WaitGroup
		get := func(want uint64) {
			wg.Go(func() {
				if got, err := l.get(t.Context()); got != want || err != nil {
					t.Errorf("read %d, %v, want %d", got, err, want)
				}
			})
		}
		get(1)
		synctest.Wait()
		for range 100 { // while the first read is under way
			get(2)
		}
		time.Sleep(15 * time.Millisecond) // the second one is
		get(3)
		wg.Wait()
	})
}

func TestLatestTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		l := newLatestReads(func(ctx context.Context) (uint64, error) {
			if reads++; reads < 3 {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return 7, nil
		})
		defer l.stop()
		if got, err := l.get(t.Context()); got != 7 || err != nil {
			t.Errorf("read %d, %v", got, err)
		}
		reads = -1000
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := l.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// TestLatestOverSlowNetwork: each read takes longer than an attempt may at first.
func TestLatestOverSlowNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 1200 * time.Millisecond
		l := newLatestReads(func(ctx context.Context) (uint64, error) {
			select {
			case <-time.After(takes):
				return 7, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		})
		defer l.stop()
		for _, most := range []time.Duration{readTimeout + takes + retryPause, takes, takes} {
			begun := time.Now()
			if got, err := l.get(t.Context()); got != 7 || err != nil || time.Since(begun) > most {
				t.Errorf("read %d, %v after %v", got, err, time.Since(begun))
			}
		}
	})
}

func TestLatestEndsWithStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLatestReads(func(ctx context.Context) (uint64, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := l.get(context.Background()); !errors.Is(err, ErrClosed) {
					t.Errorf("error %v", err)
				}
			})
			time.Sleep(time.Millisecond)
		}
		l.stop()
		wg.Wait()
	})
}
