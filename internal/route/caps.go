// SPDX-License-Identifier: Apache-2.0

package route

import (
	"slices"
	"strings"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// CapsString is what is hashed of an answer to disco#info for entity
// capabilities (XEP-0115 §ver-gen @1.6.0), forms included (XEP-0128); false for
// an answer that is ill-formed.
func CapsString(info *xmlstream.Element) (string, bool) {
	var identities, features, forms []string
	for _, e := range info.Elements() {
		switch {
		case e.Is(stanza.NSDiscoInfo, "identity"):
			identities = append(identities, strings.Join([]string{e.Get("category"), e.Get("type"), e.Lang(), e.Get("name")}, slash))
		case e.Is(stanza.NSDiscoInfo, "feature"):
			features = append(features, e.Get("var"))
		case e.Is(stanza.NSData, "x"):
			s, counts, ok := verifyForm(e)
			if !ok {
				return "", false
			}
			if counts {
				forms = append(forms, s)
			}
		}
	}
	var b strings.Builder
	for _, list := range [][]string{identities, features} {
		slices.Sort(list)
		for i, s := range list {
			if i > 0 && s == list[i-1] || strings.Contains(s, "<") {
				return "", false
			}
			b.WriteString(s + less)
		}
	}
	slices.Sort(forms)
	for i, s := range forms {
		if name, _, _ := strings.Cut(s, less); i > 0 && strings.HasPrefix(forms[i-1], name+less) {
			return "", false
		}
		b.WriteString(s)
	}
	return strings.NewReplacer(less, "<", slash, "/").Replace(b.String()), true
}

// What stands for "<" and "/" until all is sorted: no XML text holds them, and
// they sort before everything that it does.
const less, slash = "\x00", "\x01"

// verifyForm is CapsString for a form (XEP-0128); one without FORM_TYPE does
// not count.
func verifyForm(x *xmlstream.Element) (s string, counts, ok bool) {
	var formType string
	var fields []string
	for _, f := range x.Elements() {
		if !f.Is(stanza.NSData, "field") {
			continue
		}
		var values []string
		for _, v := range f.Elements() {
			if v.Is(stanza.NSData, "value") {
				if strings.Contains(v.Text(), "<") {
					return "", false, false
				}
				values = append(values, v.Text()+less)
			}
		}
		slices.Sort(values)
		name := f.Get("var")
		if name != "FORM_TYPE" {
			fields = append(fields, name+less+strings.Join(values, ""))
			continue
		}
		if values = slices.Compact(values); len(values) != 1 || formType != "" {
			return "", false, false
		}
		if f.Get("type") == "hidden" {
			formType = values[0]
		}
	}
	if formType == "" {
		return "", false, true
	}
	slices.Sort(fields)
	return formType + strings.Join(fields, ""), true, true
}
