// SPDX-License-Identifier: Apache-2.0

package backup_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bavard/internal/backup"
)

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func create(t testing.TB, dir string) *backup.Store {
	t.Helper()
	s, err := backup.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// add makes the state of a minute.
func add(t testing.TB, s *backup.Store, minute int, sources ...backup.Source) (m *backup.Manifest, p backup.Progress) {
	t.Helper()
	m, err := s.Add(t.Context(), about(minute), sources, func(done backup.Progress) { p = done })
	if err != nil {
		t.Fatal(err)
	}
	return m, p
}

func about(minute int) backup.About {
	return backup.About{Made: begin.Add(time.Duration(minute) * time.Minute), Version: "1", Domain: "example.org", Position: "0/7/0", Accounts: 2}
}

// contents of all files below dir.
func contents(t testing.TB, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		below, _ := filepath.Rel(dir, path)
		all = append(all, fmt.Sprintf("%s=%s", below, text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func extract(t testing.TB, s *backup.Store, name string) string {
	t.Helper()
	m, err := s.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := s.Extract(t.Context(), m, dir, func(backup.Progress) {}); err != nil {
		t.Fatal(err)
	}
	return contents(t, dir)
}

// Each state comes back as it was; what had been kept before is not copied again.
func TestStates(t *testing.T) {
	data, dir := t.TempDir(), filepath.Join(t.TempDir(), "backups")
	write(t, data, map[string]string{"view/db/1.sst": "one", "view/db/2.sst": "two", "uploads/a": "picture", "uploads/arriving/b": "half", "config": "x = 1"})
	sources := []backup.Source{
		{Path: filepath.Join(data, "view"), As: "view"},
		{Path: filepath.Join(data, "uploads"), As: "uploads", Moving: true, Skip: func(p string) bool { return p == "arriving" }},
		{Path: filepath.Join(data, "config"), As: "bavard.toml"},
		{Path: filepath.Join(data, "nothing"), As: "nothing"},
	}
	s := create(t, dir)
	first, p := add(t, s, 0, sources...)
	if p.Files != 4 || p.NewFiles != 4 || p.NewBytes != int64(len("onetwopicturex = 1")) || p.AllFiles != 4 {
		t.Errorf("first: %+v", p)
	}
	if err := os.Remove(filepath.Join(data, "view/db/1.sst")); err != nil {
		t.Fatal(err)
	}
	write(t, data, map[string]string{"view/db/3.sst": "three", "uploads/c": "picture"}) // the same picture again
	second, p := add(t, s, 1, sources...)
	if p.Files != 5 || p.NewFiles != 1 || p.NewBytes != int64(len("three")) {
		t.Errorf("second: %+v", p)
	}
	if got, want := extract(t, s, first.Name), "bavard.toml=x = 1 uploads/a=picture view/db/1.sst=one view/db/2.sst=two"; got != want {
		t.Errorf("first: %s, want %s", got, want)
	}
	const want = "bavard.toml=x = 1 uploads/a=picture uploads/c=picture view/db/2.sst=two view/db/3.sst=three"
	if got := extract(t, s, second.Name); got != want {
		t.Errorf("second: %s, want %s", got, want)
	}
	if m, err := s.Read(second.Name); err != nil || m.About != about(1) || m.Bytes() != p.AllBytes || !m.Has("bavard.toml") || m.Has("nothing") {
		t.Errorf("%+v, %v", m, err)
	}

	// Only what no other state has goes with one.
	removed, err := s.Keep(1)
	if err != nil || !slices.Equal(removed, []string{first.Name}) {
		t.Fatal(removed, err)
	}
	if names, err := s.List(); err != nil || !slices.Equal(names, []string{second.Name}) {
		t.Error(names, err)
	}
	if got := extract(t, s, second.Name); got != want {
		t.Errorf("after removing the first: %s", got)
	}
	if all := contents(t, filepath.Join(dir, "objects")); strings.Contains(all, "=one") || strings.Count(all, "=picture") != 1 {
		t.Errorf("kept: %s", all)
	}
}

// A file that was written anew under its name is taken anew.
func TestChangedFile(t *testing.T) {
	data := t.TempDir()
	s := create(t, t.TempDir())
	source := backup.Source{Path: data, As: "keys"}
	for n, text := range []string{"abc", "abd"} { // of one size
		write(t, data, map[string]string{"k": text})
		if err := os.Chtimes(filepath.Join(data, "k"), begin, begin.Add(time.Duration(n))); err != nil {
			t.Fatal(err)
		}
		m, _ := add(t, s, n, source)
		if got := extract(t, s, m.Name); got != "keys/k="+text {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// Whatever happens to what is kept, it is not restored as if it were whole.
func TestDamage(t *testing.T) {
	data := t.TempDir()
	write(t, data, map[string]string{"a": "some text", "b": "more of it"})
	for name, harm := range map[string]func(object, state string) error{
		"changed": func(object, _ string) error { return os.WriteFile(object, []byte("some tex_"), 0o600) },
		"cut":     func(object, _ string) error { return os.Truncate(object, 3) },
		"missing": func(object, _ string) error { return os.Remove(object) },
		"list cut": func(_, state string) error {
			text, err := os.ReadFile(state)
			return errors.Join(err, os.WriteFile(state, text[:len(text)-90], 0o600))
		},
		"list changed": func(_, state string) error {
			text, err := os.ReadFile(state)
			return errors.Join(err, os.WriteFile(state, []byte(strings.Replace(string(text), `"v/b"`, `"v/c"`, 1)), 0o600))
		},
		"list leads out": func(_, state string) error {
			text, err := os.ReadFile(state)
			return errors.Join(err, os.WriteFile(state, []byte(strings.Replace(string(text), `"v/b"`, `"../b"`, 1)), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := create(t, dir)
			m, _ := add(t, s, 0, backup.Source{Path: data, As: "v"})
			sum := m.Files[0].SHA256
			if err := harm(filepath.Join(dir, "objects", sum[:2], sum[2:]), filepath.Join(dir, "states", m.Name)); err != nil {
				t.Fatal(err)
			}
			read, err := s.Read(m.Name)
			if err == nil {
				err = s.Extract(t.Context(), read, t.TempDir(), func(backup.Progress) {})
			}
			if !errors.Is(err, backup.ErrDamaged) {
				t.Errorf("%v", err)
			}
			// What is missing is copied again, and a damaged list keeps nobody from making another.
			if name == "missing" || strings.HasPrefix(name, "list") {
				again, _ := add(t, s, 1, backup.Source{Path: data, As: "v"})
				if got := extract(t, s, again.Name); got != "v/a=some text v/b=more of it" {
					t.Errorf("again: %s", got)
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"letter.txt": "dear"})
	if _, err := backup.Create(dir); err == nil || !strings.Contains(err.Error(), "other files") {
		t.Errorf("a directory of other things: %v", err)
	}
	if _, err := backup.Open(dir); !errors.Is(err, backup.ErrNone) {
		t.Errorf("no backups: %v", err)
	}
	s := create(t, filepath.Join(dir, "new"))
	if _, err := backup.Create(filepath.Join(dir, "new")); !errors.Is(err, backup.ErrBusy) {
		t.Errorf("two at once: %v", err)
	}
	if _, err := s.Latest(); !errors.Is(err, backup.ErrNone) {
		t.Errorf("none made: %v", err)
	}
	for _, name := range []string{"20260301T120000Z", "../lock", "..", ""} {
		if _, err := s.Read(name); !errors.Is(err, backup.ErrNone) {
			t.Errorf("%q: %v", name, err)
		}
	}
	add(t, s, 0)
	if _, err := s.Add(t.Context(), about(0), nil, func(backup.Progress) {}); err == nil {
		t.Error("two of one time")
	}
	if removed, err := s.Keep(0); err != nil || removed != nil {
		t.Error("the last one was removed", removed, err)
	}
	write(t, filepath.Join(dir, "new"), map[string]string{"bavard-backup": "bavard backup 2\n"})
	if _, err := backup.Open(filepath.Join(dir, "new")); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("of another version: %v", err)
	}
}

// No two restores have the same epoch.
func TestEpochs(t *testing.T) {
	dir := t.TempDir()
	s := create(t, dir)
	m := &backup.Manifest{}
	for want := uint16(1); want <= 2; want++ {
		if got, err := s.NextEpoch(m); err != nil || got != want {
			t.Errorf("%d, %v, want %d", got, err, want)
		}
	}
	m.Epoch = 7
	if got, err := s.NextEpoch(m); err != nil || got != 8 {
		t.Errorf("%d, %v", got, err)
	}
	m.Epoch = 1<<16 - 1
	if got, err := s.NextEpoch(m); err == nil {
		t.Errorf("%d after the last", got)
	}
	write(t, dir, map[string]string{"epoch": "many"})
	if _, err := s.NextEpoch(m); !errors.Is(err, backup.ErrDamaged) {
		t.Error(err)
	}
}
