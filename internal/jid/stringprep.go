// SPDX-License-Identifier: Apache-2.0

package jid

import "unicode"

const notAgreed = "holds a character that PRECIS (RFC 7622) and stringprep (RFC 6122) treat differently"

// Until the tables are generated, every non-ASCII character with a
// compatibility form or a folding other than lower-casing is let through.
var (
	disagreeLocal    = &unicode.RangeTable{}
	disagreeDomain   = &unicode.RangeTable{}
	disagreeResource = &unicode.RangeTable{}
)

// agreed tells whether s holds no character of the table.
func agreed(s string, table *unicode.RangeTable) bool {
	for _, r := range s {
		if unicode.Is(table, r) {
			return false
		}
	}
	return true
}
