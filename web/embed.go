// SPDX-License-Identifier: Apache-2.0

// Package web carries the app: the files that Vite builds from web/src, embedded,
// and the HTTP handler that serves them. It compiles without Node: as long as
// nothing has been built, a placeholder page stands in.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

//go:embed placeholder
var placeholder embed.FS

// FS gives the files of the app, index.html at the root, and whether they are
// the built app. When it is false they are the placeholder page, which must
// not be released.
func FS() (files fs.FS, built bool) {
	app, err := fs.Sub(dist, "dist")
	if err == nil && isFile(app, indexPage) && isFile(app, "sw.js") {
		return app, true
	}
	page, err := fs.Sub(placeholder, "placeholder")
	if err != nil { // cannot be: the directory is embedded
		return placeholder, false
	}
	return page, false
}

func isFile(files fs.FS, name string) bool {
	info, err := fs.Stat(files, name)
	return err == nil && info.Mode().IsRegular()
}
