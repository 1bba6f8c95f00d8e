// SPDX-License-Identifier: Apache-2.0

package await

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		not := errors.New("not yet")
		n := 0
		err := Until(t.Context(), func(context.Context) error {
			if n++; n < 4 {
				return not
			}
			return nil
		})
		if err != nil || n != 4 {
			t.Errorf("%v after %d looks", err, n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = Until(ctx, func(context.Context) error { return not })
		if !errors.Is(err, not) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestUntilLast: what a condition says because it is cut off is not what was
// waited for.
func TestUntilLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), Every*3/2)
		defer cancel()
		not, killed := errors.New("not yet"), errors.New("killed")
		first := true
		err := Until(ctx, func(ctx context.Context) error {
			if first {
				first = false
				return not
			}
			<-ctx.Done()
			return killed
		})
		if !errors.Is(err, not) || errors.Is(err, killed) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it says %v", err)
		}
	})
}
