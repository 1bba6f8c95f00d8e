// SPDX-License-Identifier: Apache-2.0

// Command refresh updates spec/anchors.txt, and the versions and titles of
// XEPs in spec/index.txt, from a checkout of https://github.com/xsf/xeps. Run it
// at the root of the repository: go run ./spec/refresh DIRECTORY. Afterwards the
// test of spec names each citation to look at again.
package main

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	revision = regexp.MustCompile(`<revision>\s*<version>\s*([^<\s]+)\s*</version>`)
	title    = regexp.MustCompile(`(?s)<title>(.*?)</title>`)
	anchor   = regexp.MustCompile(`<section[0-9][^>]*?\banchor\s*=\s*["']([^"']+)["']`)
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./spec/refresh DIRECTORY")
		os.Exit(2)
	}
	if err := refresh(os.Args[1], "spec"); err != nil {
		fmt.Fprintln(os.Stderr, "spec/refresh:", err)
		os.Exit(1)
	}
}

func refresh(xeps, dir string) error {
	index, err := os.ReadFile(filepath.Join(dir, "index.txt"))
	if err != nil {
		return err
	}
	var anchors []string
	lines := strings.Split(string(index), "\n")
	for i, line := range lines {
		f := strings.Split(line, "\t")
		if !strings.HasPrefix(line, "XEP-") || len(f) < 4 {
			continue
		}
		x, err := read(filepath.Join(xeps, strings.ToLower(f[0])+".xml"))
		if err != nil {
			return err
		}
		f[1], f[3] = x.version, x.title
		lines[i] = strings.Join(f, "\t")
		anchors = append(anchors, strings.Join(append([]string{f[0]}, x.anchors...), " "))
	}
	slices.Sort(anchors)
	head := "# The anchors of the sections of each XEP in index.txt, in the version that it\n# names. Made by `go run ./spec/refresh`.\n"
	if err := os.WriteFile(filepath.Join(dir, "anchors.txt"), []byte(head+strings.Join(anchors, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "index.txt"), []byte(strings.Join(lines, "\n")), 0o644)
}

type xep struct {
	version, title string
	anchors        []string
}

// read takes from a XEP's source what the index needs. The newest revision
// comes first in it.
func read(path string) (xep, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return xep{}, err
	}
	v, t := revision.FindSubmatch(b), title.FindSubmatch(b)
	if v == nil || t == nil {
		return xep{}, fmt.Errorf("%s: no version or no title", path)
	}
	x := xep{version: string(v[1]), title: strings.Join(strings.Fields(html.UnescapeString(string(t[1]))), " ")}
	for _, m := range anchor.FindAllSubmatch(b, -1) {
		if a := string(m[1]); !slices.Contains(x.anchors, a) {
			x.anchors = append(x.anchors, a)
		}
	}
	return x, nil
}
