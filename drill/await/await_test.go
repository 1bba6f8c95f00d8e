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
