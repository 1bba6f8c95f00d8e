// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"bavard/drill/disk"
)

// TestFullDisk: a disk that fills up, slowly or at once and to the last byte,
// loses nothing that was ticked and no file that was taken; what is new is refused, what is
// there can be read, the operator is warned, and it is over when there is room.
func TestFullDisk(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	d, err := disk.Mount(t.TempDir(), diskBytes)
	if errors.Is(err, disk.ErrCannotMount) {
		t.Skipf("LEFT OUT: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.Unmount()
	cfg := KillConfig{Binary: bin, Dir: d.Path(), Seed: *seedFlag, CutMean: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	r, err := Full(ctx, cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	t.Log(r.Files)
	if f := r.Files; f.Lost > 0 || f.Changed > 0 || f.Left > 0 {
		t.Error("files that were taken are not there, or others are")
	}
	if !r.Verdict.Clean() {
		t.Error("the oracle found what must never happen")
	}
	if r.Verdict.Ticked < 1500 || r.Verdict.Refused == 0 {
		t.Error("too little happened")
	}
	if r.Stalls > 0 {
		t.Errorf("%d requests were left unanswered by a living server", r.Stalls)
	}
}
