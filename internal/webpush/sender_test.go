// SPDX-License-Identifier: Apache-2.0

package webpush

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a Transport that does what a test says.
type fake struct {
	mu     sync.Mutex
	begun  time.Time
	log    []string // what was sent, with seconds since the beginning
	answer func(s Subscription, n Note) Answer
	busy   map[string]int
	most   int
}

func (f *fake) Send(ctx context.Context, s Subscription, n Note) Answer {
	f.mu.Lock()
	f.log = append(f.log, fmt.Sprintf("%s %s %d", s.Endpoint[len("https://"):], n.Text, int(time.Since(f.begun).Seconds())))
	f.busy[s.Endpoint]++
	f.most = max(f.most, f.busy[s.Endpoint])
	f.mu.Unlock()
	a := f.answer(s, n)
	f.mu.Lock()
	f.busy[s.Endpoint]--
	f.mu.Unlock()
	return a
}

func (f *fake) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.log
	f.log = nil
	return log
}

func withSender(t *testing.T, do func(t *testing.T, s *Sender, f *fake, gone func() []string)) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{begun: time.Now(), busy: map[string]int{}, answer: func(Subscription, Note) Answer { return Answer{Result: Sent} }}
		var mu sync.Mutex
		var gone []string
		s := NewSender(SenderOptions{Transport: f, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Gone: func(account string, s Subscription) {
			mu.Lock()
			defer mu.Unlock()
			gone = append(gone, account+" "+s.Endpoint)
		}})
		defer s.Close()
		do(t, s, f, func() []string {
			mu.Lock()
			defer mu.Unlock()
			return gone
		})
	})
}

func note(text string) Note { return Note{Text: []byte(text), Life: time.Hour} }

func to(name string) Subscription { return Subscription{Endpoint: "https://" + name} }

// after lets fake time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// TestSenderCoalesces: the first at once, then one for all that comes within
// seconds; a call does not wait.
func TestSenderCoalesces(t *testing.T) {
	withSender(t, func(t *testing.T, s *Sender, f *fake, _ func() []string) {
		for i := range 40 {
			s.Send("ann", to("a"), note(fmt.Sprint(i)))
			after(100 * time.Millisecond)
		}
		after(10 * time.Second)
		if got := fmt.Sprint(f.taken()); got != "[a 0 0 a 39 5]" {
			t.Errorf("sent %s", got)
		}
		s.Send("ann", to("a"), note("m1"))
		after(time.Second)
		s.Send("ann", to("a"), note("m2"))
		call := note("call")
		call.Urgent = true
		s.Send("ann", to("a"), call)
		s.Send("ann", to("a"), note("m3"))
		after(time.Minute)
		if got := fmt.Sprint(f.taken()); got != "[a m1 14 a call 15]" {
			t.Errorf("sent %s", got)
		}
		if st := s.Stats(); st.Waiting != 0 || st.Sent != 4 {
			t.Errorf("%+v", st)
		}
		s.mu.Lock()
		left := len(s.targets) + len(s.hosts) + len(s.due)
		s.mu.Unlock()
		if left != 0 {
			t.Errorf("%d things are remembered for nothing", left)
		}
	})
}

// TestSenderRetries: 429 and errors are tried again with growing pauses, not before the service
// allows it, and not for ever.
func TestSenderRetries(t *testing.T) {
	withSender(t, func(t *testing.T, s *Sender, f *fake, _ func() []string) {
		n := 0
		f.answer = func(Subscription, Note) Answer {
			if n++; n == 1 {
				return Answer{Result: Later, After: 100 * time.Second, Err: errors.New("429")}
			}
			return Answer{Result: Sent}
		}
		s.Send("ann", to("a"), note("m"))
		after(50 * time.Second)
		s.Send("ann", to("a"), note("newer")) // does not hurry it
		after(200 * time.Second)
		if got := fmt.Sprint(f.taken()); got != "[a m 0 a newer 100]" {
			t.Errorf("sent %s", got)
		}
		f.answer = func(Subscription, Note) Answer { return Answer{Result: Later, Err: errors.New("500")} }
		s.Send("ann", to("a"), note("m"))
		after(3 * time.Hour)
		if got := f.taken(); len(got) < 5 || len(got) > triesMost {
			t.Errorf("tried %d times: %v", len(got), got)
		}
		if st := s.Stats(); st.Waiting != 0 || st.Failed != 1 {
			t.Errorf("%+v", st)
		}
		f.answer = func(Subscription, Note) Answer { return Answer{Result: Refused, Err: errors.New("400")} }
		s.Send("ann", to("a"), note("m"))
		after(time.Hour)
		if got := f.taken(); len(got) != 1 {
			t.Errorf("what is refused is sent %d times", len(got))
		}
	})
}

// TestSenderGone: a subscription that is no more is told of once.
func TestSenderGone(t *testing.T) {
	withSender(t, func(t *testing.T, s *Sender, f *fake, gone func() []string) {
		f.answer = func(s Subscription, _ Note) Answer {
			if s.Endpoint == "https://dead" {
				return Answer{Result: Gone, Err: errors.New("410")}
			}
			return Answer{Result: Sent}
		}
		s.Send("ann", to("dead"), note("m"))
		s.Send("bob", to("alive"), note("m"))
		after(time.Hour)
		if got := fmt.Sprint(gone()); got != "[ann https://dead]" {
			t.Error(got)
		}
		if st := s.Stats(); st.Gone != 1 || st.Sent != 1 || st.Waiting != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestSenderHangs: a push service that hangs, then one that cannot be reached, delays neither
// others nor who sends, and takes bounded memory.
func TestSenderHangs(t *testing.T) {
	withSender(t, func(t *testing.T, s *Sender, f *fake, _ func() []string) {
		f.answer = func(s Subscription, _ Note) Answer {
			if s.Endpoint != "https://good/x" {
				<-time.After(sendWithin)
				return Answer{Result: Later, Unreached: true, Err: errors.New("timeout")}
			}
			return Answer{Result: Sent}
		}
		begun := time.Now()
		before := runtime.NumGoroutine()
		for i := range 3 * subscribersMost {
			s.Send(fmt.Sprint(i), to("bad/x"), note("m"))
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("sending takes %s", took)
		}
		st := s.Stats()
		if st.Waiting > subscribersMost || st.Dropped < 2*subscribersMost {
			t.Errorf("%+v", st)
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > workers+1 {
			t.Errorf("%d goroutines", n)
		}
		if f.most != perHost {
			t.Errorf("%d at a time with one push service", f.most)
		}
		f.taken()
		after(2 * time.Hour) // notes expire
		if got := len(f.taken()); got > 200 {
			t.Errorf("a service that is away was tried %d times", got)
		}
		if st := s.Stats(); st.Waiting != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestSenderOthers: those of a service that works are not behind one that hangs.
func TestSenderOthers(t *testing.T) {
	withSender(t, func(t *testing.T, s *Sender, f *fake, _ func() []string) {
		f.answer = func(s Subscription, _ Note) Answer {
			if s.Endpoint == "https://bad/x" {
				<-time.After(sendWithin)
				return Answer{Result: Later, Unreached: true, Err: errors.New("timeout")}
			}
			return Answer{Result: Sent}
		}
		for i := range 100 {
			s.Send(fmt.Sprint(i), to("bad/x"), note("m"))
		}
		synctest.Wait()
		f.taken()
		for i := range 100 {
			s.Send(fmt.Sprint(i), to("good/x"), note("m"))
		}
		synctest.Wait()
		if got := f.taken(); len(got) != 100 {
			t.Errorf("%d of 100 are sent at once", len(got))
		}
		if s.Trouble() != "" {
			t.Error("pushes go out, and there is trouble")
		}
		after(40 * time.Minute)
		if s.Trouble() == "" {
			t.Error("nothing goes out, and there is no trouble")
		}
	})
}
