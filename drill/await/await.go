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
// what condition last said in time: a program that is killed because ctx ends
// says nothing about what was waited for.
func Until(ctx context.Context, condition func(context.Context) error) error {
	return UntilEvery(ctx, Every, condition)
}

// UntilEvery is Until with an interval of the caller's choice.
func UntilEvery(ctx context.Context, every time.Duration, condition func(context.Context) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var last error
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waited until %w: %w", ctx.Err(), last)
		}
	}
}
