// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"time"
)

// tries are the attempts to store one batch. Several may be under way: whichever is answered first settles it,
// and the store takes none of the others, since they want to replace what is there no more.
type tries struct {
	appender *appender
	batch    *batch
	value    []byte
	ctx      context.Context // of all attempts; it outlives the one that they are made for, so that a stop learns the outcome
	cancel   context.CancelFunc
	begun    int // so many
	answers  chan answer
}

// answer is what came of an attempt.
type answer struct {
	try int
	outcome
	err error
}

func newTries(ctx context.Context, a *appender, b *batch) *tries {
	t := &tries{appender: a, batch: b, value: b.encode(), answers: make(chan answer)}
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return t
}

// end gives up what is under way. It may still be stored.
func (t *tries) end() { t.cancel() }

// next begins another attempt and gives the first answer of any, or, when there is none within timeout, or
// this attempt has failed and some time passed, an error.
func (t *tries) next(timeout time.Duration) (outcome, error) {
	t.begun++
	try := t.begun
	t.appender.flying.Go(func() { t.attempt(try) })
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	err := context.DeadlineExceeded
	for {
		select {
		case a := <-t.answers:
			if a.err == nil {
				return t.settled(a.outcome), nil
			}
			if a.try == try {
				err = a.err
				timer.Reset(retryPause * time.Duration(min(t.begun, patientAfter)))
			}
		case <-timer.C:
			return outcome{}, err
		}
	}
}

func (t *tries) attempt(try int) {
	ctx, cancel := context.WithTimeout(t.ctx, attemptMost)
	defer cancel()
	o, err := t.appender.store.replace(ctx, t.batch.previous, t.value)
	select {
	case t.answers <- answer{try, o, err}:
	case <-t.ctx.Done():
	}
}

// settled knows the batch again that an earlier attempt stored: the same incarnation and counter.
func (t *tries) settled(o outcome) outcome {
	if !o.replaced {
		stored, err := decodeBatch(o.current)
		o.replaced = err == nil && stored.incarnation == t.batch.incarnation && stored.counter == t.batch.counter
	}
	return o
}
