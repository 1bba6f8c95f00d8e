// SPDX-License-Identifier: Apache-2.0

// Command table writes docs/compliance.md from spec/index.txt. Run it at the
// root of the repository: go run ./spec/table
package main

import (
	"fmt"
	"os"

	"bavard/spec"
)

func main() {
	index, err := spec.Index()
	if err == nil {
		err = os.WriteFile("docs/compliance.md", []byte(spec.Compliance(index)), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "spec/table:", err)
		os.Exit(1)
	}
}
