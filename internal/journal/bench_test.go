// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkSubmit appends commands of 300 bytes from 256 goroutines, each waiting
// for its command, with fsync on, while a tailer reads all of it.
func BenchmarkSubmit(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		j, err := OpenMemory("a", ClusterOptions{})
		if err != nil {
			b.Fatal(err)
		}
		defer closeJournal(b, j)
		benchmarkSubmit(b, j)
	})
	b.Run("etcd", func(b *testing.B) {
		dir := b.TempDir()
		j, err := OpenEtcd(context.Background(), Options{
			Name: "a", Dir: filepath.Join(dir, "journal"), SpoolDir: filepath.Join(dir, "spool"),
		})
		if err != nil {
			b.Fatal(err)
		}
		defer closeJournal(b, j)
		benchmarkSubmit(b, j)
	})
}

func benchmarkSubmit(b *testing.B, j Journal) {
	const workers = 256
	ctx := context.Background()
	tl, err := j.Tail(ctx, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer tl.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		for read := 0; read < b.N; {
			batch, err := tl.Next(ctx)
			if err != nil {
				b.Error(err)
				return
			}
			read += len(batch.Commands)
			j.Release(batch.Revision)
		}
	})
	before := j.Stats()
	waits := make([][]time.Duration, workers)
	b.ReportAllocs()
	b.ResetTimer()
	for w := range workers {
		wg.Go(func() {
			done := make(chan error, 1)
			for i := w; i < b.N; i += workers {
				begun := time.Now()
				if err := j.Submit(ctx, make([]byte, 300), func(_ uint64, _ uint32, err error) { done <- err }); err != nil {
					b.Error(err)
					return
				}
				if err := <-done; err != nil {
					b.Error(err)
					return
				}
				waits[w] = append(waits[w], time.Since(begun))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	s := j.Stats()
	all := slices.Concat(waits...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	b.ReportMetric(float64(s.Commands-before.Commands)/float64(s.Batches-before.Batches), "commands/batch")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(s.DatabaseSize>>20), "db-MiB")
}
