// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

func made(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	big := bytes.Repeat([]byte("0123456789abcdef"), partMost/8)
	err := write(&out, fstest.MapFS{
		"initialised": {Data: []byte("yes")}, "db/000001.sst": {Data: big}, "db/empty": {},
	}, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestStream: what is sent arrives, and nothing that was changed or cut does.
func TestStream(t *testing.T) {
	whole := made(t)
	dir := filepath.Join(t.TempDir(), "view")
	got := 0
	if err := read(bytes.NewReader(whole), dir, func(n int) { got += n }); err != nil {
		t.Fatal(err)
	}
	sst, err := os.ReadFile(filepath.Join(dir, "db", "000001.sst"))
	if err != nil || len(sst) != 2*partMost || got != 2*partMost+3 {
		t.Errorf("%d bytes of %d, %v", len(sst), got, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "db", "empty")); err != nil {
		t.Error(err)
	}
	for _, n := range []int{0, 3, len(head), 40, len(whole) / 2, len(whole) - 1} {
		if err := read(bytes.NewReader(whole[:n]), filepath.Join(t.TempDir(), "v"), func(int) {}); !errors.Is(err, errStream) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for _, i := range []int{2, len(head), len(head) + 2, len(head) + 5, 200, len(whole) / 2, len(whole) - 1} {
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		if err := read(bytes.NewReader(bad), filepath.Join(t.TempDir(), "v"), func(int) {}); err == nil {
			t.Errorf("a bit flipped at %d is not noticed", i)
		}
	}
	if err := read(bytes.NewReader(append(bytes.Clone(whole), 0)), filepath.Join(t.TempDir(), "v"), func(int) {}); !errors.Is(err, errStream) {
		t.Errorf("something behind the end: %v", err)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"initialised": true, "db/MANIFEST-000001": true, "db/marker.format-version.000001.013": true,
		"": false, ".": false, "..": false, "../x": false, "/x": false, "a/b/c": false, "db/../../x": false, "a b": false, "db/": false, "db//x": false, "a\\b": false,
	} {
		if goodName(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(head))
	f.Add([]byte(head + "F\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x00E\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		parent := t.TempDir()
		_ = read(bytes.NewReader(in), filepath.Join(parent, "view"), func(int) {})
		entries, err := os.ReadDir(parent)
		if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != "view" {
			t.Errorf("something is beside the view: %v %v", entries, err)
		}
	})
}
