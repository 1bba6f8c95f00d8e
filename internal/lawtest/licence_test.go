// SPDX-License-Identifier: Apache-2.0

package lawtest

import (
	"path"
	"strings"
	"testing"
)

// sourceFiles are the extensions and names of what somebody wrote as code.
const sourceFiles = " .go .proto .ts .js .mjs .svelte .css .html .sh .py .yml .yaml Makefile run "

func TestEachSourceNamesItsLicence(t *testing.T) {
	const line = "SPDX-License-Identifier: Apache-2.0"
	walk(t, func(p string) {
		kind := path.Ext(p)
		if kind == "" {
			kind = path.Base(p)
		}
		if !strings.Contains(sourceFiles, " "+kind+" ") {
			return
		}
		head := read(t, p)
		if !strings.Contains(head[:min(len(head), 600)], line) {
			t.Errorf("%s does not say %q at its head", p, line)
		}
	})
	if text := read(t, "LICENSE"); !strings.Contains(text, "Apache License") || !strings.Contains(text, "END OF TERMS AND CONDITIONS") {
		t.Error("LICENSE is not the Apache License 2.0")
	}
}
