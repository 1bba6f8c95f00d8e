// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"strings"
	"testing"
	"time"

	"bavard/internal/mesh"
	"bavard/internal/view"
)

// TestFeatureLevel: a cell's level stays as long as one of its nodes is of an older version,
// and rises when none is; from then on the older version does not start any more. A
// single node raises it at its start, and a later one that knows less is refused.
func TestFeatureLevel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	level := func(at *testServer) (level uint32, heard int) {
		st, err := at.running.Admin.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range st.Journal.Others {
			if o.Version == "test" && o.Level > 0 {
				heard++
			}
		}
		return st.Level, heard
	}
	alone := startServer(t)
	if got, _ := level(alone); got != view.Level {
		t.Errorf("one node has level %d", got)
	}

	nodes := nodesOf(t)
	for _, s := range nodes {
		s.meshed = func(o *mesh.Options) { o.Silence = 30 * time.Second } // a busy machine is no silent one
	}
	older := nodes[2]
	older.level = view.Level - 1
	startAll(t, nodes...)
	stopAll(t, nodes...)
	await(ctx, t, "all hear each other", func() bool {
		_, first := level(nodes[0])
		_, last := level(older)
		return first == 2 && last == 2
	})
	nodes[0].server.raiseLevel(ctx) // as it does each second
	if got, _ := level(nodes[0]); got != view.Level-1 {
		t.Errorf("with an older node the level is %d", got)
	}
	older.stop()
	<-older.done
	older.level = 0
	startAll(t, older)
	for _, s := range nodes {
		await(ctx, t, "the level rises", func() bool { got, _ := level(s); return got == view.Level })
	}
	older.stop()
	<-older.done
	older.level = view.Level - 1
	if err := older.tryStart(); err == nil || !strings.Contains(err.Error(), "feature level 2") || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("an older version starts: %v", err)
	}
}
