// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"bytes"
	"path/filepath"
	"reflect"
	"testing"
)

// FuzzManifest: whatever stands in a list of files, reading it ends with an error or
// with what, written again, reads the same, and leads nowhere out of the directory.
func FuzzManifest(f *testing.F) {
	m := &Manifest{About: About{Version: "1", Domain: "example.org", Epoch: 2, Position: "2/3/0"}, Files: []File{{Path: "view/x", Size: 3, SHA256: string(bytes.Repeat([]byte("ab"), 32)), Modified: 5}}}
	var text bytes.Buffer
	if err := m.write(&text); err != nil {
		f.Fatal(err)
	}
	f.Add(text.Bytes())
	f.Add([]byte("{\"format\":1}\n{\"files\":0,\"sha256\":\"\"}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := readManifest(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(filepath.FromSlash(file.Path)) {
				t.Fatalf("%q", file.Path)
			}
		}
		var again bytes.Buffer
		if err := m.write(&again); err != nil {
			t.Fatal(err)
		}
		if n, err := readManifest(&again); err != nil || !reflect.DeepEqual(m, n) {
			t.Fatalf("%+v, %v, want %+v", n, err, m)
		}
	})
}
