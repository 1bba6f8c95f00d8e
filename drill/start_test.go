// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"flag"
	"path/filepath"
	"testing"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
	"bavard/drill/node"
)

// startBound is far above what a start takes (docs/operations.md), so that only
// a start that reads its whole history exceeds it.
const startBound = 20 * time.Second

// immutable after flags are parsed
var historyFlag = flag.Int("drill.history", 100_000, "messages that are there when a server starts")

// TestStartWithHistory: after SIGKILL in the middle of messages a server with a long
// history lets people in soon. A million messages take minutes to make with the
// race detector: -drill.history 1000000, without it.
func TestStartWithHistory(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	messages := *historyFlag
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	const password = "a password of the drill"
	data := filepath.Join(t.TempDir(), "data")
	began := time.Now()
	if err := Fill(ctx, FillConfig{Binary: bin, Data: data, Accounts: 100, Password: password, Messages: messages, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages in %v", messages, time.Since(began).Round(time.Millisecond))
	addrs, err := node.FreePorts(1, generator(*seedFlag, 2).IntN)
	if err != nil {
		t.Fatal(err)
	}
	var tail node.Tail
	options := node.Options{Binary: bin, Data: data, C2S: addrs[0], Plain: true, Log: &tail}
	var took []time.Duration
	for range 3 {
		began := time.Now()
		n, err := node.Start(options)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Kill()
		s, err := loggedIn(ctx, client.Config{JID: "user0@localhost", Password: password, Resource: "x", Addr: options.C2S})
		if err != nil {
			t.Fatalf("%v\n%s", err, tail.String())
		}
		took = append(took, time.Since(began))
		for i := range 500 {
			if err := s.Send(ctx, client.NewMessage("user1@localhost", "under way")); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		n.Kill()
		s.Cut()
	}
	t.Logf("from start to first login: %v", took)
	for _, d := range took[1:] { // the first follows a clean end
		if d > startBound {
			t.Errorf("after SIGKILL the first login took %v", d)
		}
	}
}

func loggedIn(ctx context.Context, cfg client.Config) (s *client.Session, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*startBound)
	defer cancel()
	err = await.UntilEvery(ctx, 5*time.Millisecond, func(ctx context.Context) error {
		s, err = client.Dial(ctx, cfg)
		return err
	})
	return s, err
}
