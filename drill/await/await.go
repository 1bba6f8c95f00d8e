// SPDX-License-Identifier: Apache-2.0

// Package await waits for conditions of other processes, which nothing can
// signal to us.
package await

import (
	"context"
	"fmt"
	"time"
)

// Every is how often Until looks.
const Every = 20 * time.Millisecond

// Until calls condition until it returns nil. When ctx ends first it returns
// what condition last said.
func Until(ctx context.Context, condition func(context.Context) error) error {
	return UntilEvery(ctx, Every, condition)
}

// UntilEvery is Until with an interval of the caller's choice.
func UntilEvery(ctx context.Context, every time.Duration, condition func(context.Context) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waited until %w: %w", ctx.Err(), err)
		}
	}
}
