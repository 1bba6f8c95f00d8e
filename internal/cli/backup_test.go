// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBackupAndRestore: what is kept while no server runs, and while one does, comes
// back with its configuration, into a directory of its own.
func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	data, store, conf := filepath.Join(dir, "data"), filepath.Join(dir, "store"), filepath.Join(dir, "conf.toml")
	if err := os.WriteFile(conf, []byte("domain = \"chat.example.org\"\ndata = \""+data+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", "restore", store, "--data", filepath.Join(dir, "x")).want(t, 1, "there is no backup")
	run(t, "", "user", "add", "ann", "--generate", "--config", conf).want(t, 0, "ann@chat.example.org")
	run(t, "", "backup", filepath.Join(data, "keys"), "--config", conf).want(t, 2, "another disk")
	run(t, "", "backup", dir, "--config", conf).want(t, 1, "other files")
	first := run(t, "", "backup", store, "--config", conf).want(t, 0, "accounts 1")
	run(t, "", "user", "add", "bob", "--generate", "--config", conf).want(t, 0)
	var second struct {
		State    string `json:"state"`
		Accounts int    `json:"accounts"`
		Files    int    `json:"files"`
		NewFiles int    `json:"new_files"`
	}
	if err := json.Unmarshal([]byte(run(t, "", "backup", store, "--config", conf, "--json").want(t, 0).out), &second); err != nil {
		t.Fatal(err)
	}
	if second.Accounts != 2 || second.NewFiles == 0 || second.NewFiles >= second.Files {
		t.Errorf("the second: %+v", second)
	}
	name := strings.Fields(first.out)[0]
	run(t, "", "backup", "--list", store).want(t, 0, name, second.State, "chat.example.org")

	older, newest := filepath.Join(dir, "older"), filepath.Join(dir, "newest")
	run(t, "", "restore", store, "--data", older, "--domain", "other.example.org").want(t, 1, "cannot become other.example.org")
	run(t, "", "restore", store, "--data", older, "--state", "x").want(t, 1, "there is no backup")
	run(t, "", "restore", store, "--data", older, "--state", name, "--log-out").want(t, 0, "accounts 1", "is not in it", filepath.Join(older, "bavard.toml"))
	run(t, "", "restore", store, "--data", older).want(t, 1, "into an empty one")
	run(t, "", "restore", store, "--data", newest).want(t, 0, "accounts 2")
	for path, want := range map[string]int{older: 1, newest: 2} {
		list := run(t, "", "user", "list", "--data", path, "--domain", "chat.example.org").want(t, 0)
		if got := strings.Count(list.out, "\n"); got != want {
			t.Errorf("%s has %d accounts, want %d", path, got, want)
		}
	}
	epochs := map[string]bool{}
	for _, path := range []string{older, newest} {
		text, err := os.ReadFile(filepath.Join(path, "epoch"))
		if err != nil {
			t.Fatal(err)
		}
		epochs[string(text)] = true
	}
	if len(epochs) != 2 {
		t.Errorf("two restores have the epochs %v", epochs)
	}
	// It is a server like any other: it can be backed up itself, and of older states few be kept.
	run(t, "", "backup", store, "--data", newest, "--domain", "chat.example.org", "--keep", "1").want(t, 0, name+"  removed", second.State+"  removed")
	// A damaged file is found.
	objects, err := filepath.Glob(filepath.Join(store, "objects", "*", "*"))
	if err != nil || len(objects) == 0 {
		t.Fatal(objects, err)
	}
	for _, path := range objects {
		if err := os.WriteFile(path, []byte("rotten"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damaged := filepath.Join(dir, "damaged")
	run(t, "", "restore", store, "--data", damaged).want(t, 1, "damaged")
	run(t, "", "user", "list", "--data", damaged).want(t, 1, "did not get to the end")
}
