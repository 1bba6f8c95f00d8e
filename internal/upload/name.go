// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"encoding/base64"
	"mime"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"bavard/internal/state"
)

// Path is what the paths of all uploads begin with.
const Path = "/upload/"

// cleanName makes a name for an address of what a client calls its file: the last
// part of a path, without what could mislead a reader, a file system or a
// header. What is left of an ordinary name is the name (XEP-0363 §request @1.2.0).
func cleanName(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) {
			return -1
		}
		return r
	}, name)
	name = strings.TrimRight(strings.TrimSpace(name), ". ")
	if len(name) > state.UploadName {
		name = cutName(name)
	}
	if strings.Trim(name, ".") == "" {
		return "file"
	}
	return name
}

// cutName shortens a name in the middle, so that its ending stays.
func cutName(name string) string {
	ending := ""
	if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= 32 {
		name, ending = name[:i], name[i:]
	}
	n := state.UploadName - len(ending)
	for n > 0 && !utf8.RuneStart(name[n]) {
		n--
	}
	return strings.TrimSpace(name[:n]) + ending
}

// cleanType gives a content type in its usual form; false when it is none.
func cleanType(s string) (string, bool) {
	t, params, err := mime.ParseMediaType(s)
	if err != nil || !strings.Contains(t, "/") {
		return "", false
	}
	out := mime.FormatMediaType(t, params)
	return out, out != "" && len(out) <= state.UploadType
}

func address(base, first, name string) string {
	return strings.TrimRight(base, "/") + Path + first + "/" + url.PathEscape(name)
}

func idText(id state.UploadID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// idOf reads an id as idText writes it, and in no other way.
func idOf(text string) (id state.UploadID, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(id) || strings.ContainsAny(text, "\r\n") {
		return id, false
	}
	return state.UploadID(b), true
}
