// SPDX-License-Identifier: Apache-2.0

package xmlstream

import "strings"

// checkDeclaration verifies an XML declaration (XML 1.0 §2.8): version 1.0, and
// UTF-8 if it names an encoding (RFC 6120 §11.6).
func checkDeclaration(tok []byte) error {
	body := tok[len("<?xml") : len(tok)-len("?>")]
	last := 0
	for i := 0; ; {
		next := skipSpace(body, i)
		if next == len(body) {
			break
		}
		if next == i {
			return malformed("the XML declaration")
		}
		end, _, err := scanQName(body, next, BeforeAuth.MaxName)
		if err != nil {
			return err
		}
		from, to, err := quoted(body, end)
		if err != nil {
			return err
		}
		order, err := checkPseudoAttr(string(body[next:end]), string(body[from:to]))
		if err != nil {
			return err
		}
		if order <= last || last == 0 && order != 1 {
			return malformed("the order of the XML declaration")
		}
		last, i = order, to+1
	}
	if last == 0 {
		return malformed("an XML declaration without version")
	}
	return nil
}

// checkPseudoAttr verifies a part of the XML declaration and returns its place
// in it, from 1.
func checkPseudoAttr(name, value string) (int, error) {
	switch name {
	case "version":
		if value != "1.0" {
			return 0, malformed("an XML version other than 1.0")
		}
		return 1, nil
	case "encoding":
		if !strings.EqualFold(value, "utf-8") {
			return 0, &SyntaxError{UnsupportedEncoding, "an encoding other than UTF-8"}
		}
		return 2, nil
	case "standalone":
		if value != "yes" && value != "no" {
			return 0, malformed("standalone is neither yes nor no")
		}
		return 3, nil
	}
	return 0, malformed("an unknown part of the XML declaration")
}
