// SPDX-License-Identifier: Apache-2.0

package view

import (
	"strings"
	"testing"

	"bavard/internal/command"
)

// The nine states of RFC 6121 Appendix A.1.
var defined = map[string]subscription{
	"None":                    0,
	"None + Pending Out":      pendingOut,
	"None + Pending In":       pendingIn,
	"None + Pending Out+In":   pendingOut | pendingIn,
	"To":                      subTo,
	"To + Pending In":         subTo | pendingIn,
	"From":                    subFrom,
	"From + Pending Out":      subFrom | pendingOut,
	"Both":                    subTo | subFrom,
	"None, approved":          approved,
	"None + Pending Out, app": approved | pendingOut,
	"To, approved":            approved | subTo,
}

// Tables of RFC 6121 Appendix A.2 and A.3; "." is no state change, then
// whether it is routed or delivered, and "reply" for the automatic answer.
// Rows of approved states follow §3.4.
var tables = map[string]string{
	"outbound subscribe": `
		None                    | None + Pending Out      | yes
		None + Pending Out      | .                       | yes
		None + Pending In       | None + Pending Out+In   | yes
		None + Pending Out+In   | .                       | yes
		To                      | .                       | yes
		To + Pending In         | .                       | yes
		From                    | From + Pending Out      | yes
		From + Pending Out      | .                       | yes
		Both                    | .                       | yes
		None, approved          | None + Pending Out, app | yes
		None + Pending Out, app | .                       | yes
		To, approved            | .                       | yes`,
	"outbound unsubscribe": `
		None                    | .                       | yes
		None + Pending Out      | None                    | yes
		None + Pending In       | .                       | yes
		None + Pending Out+In   | None + Pending In       | yes
		To                      | None                    | yes
		To + Pending In         | None + Pending In       | yes
		From                    | .                       | yes
		From + Pending Out      | From                    | yes
		Both                    | From                    | yes
		None, approved          | .                       | yes
		None + Pending Out, app | None, approved          | yes
		To, approved            | None, approved          | yes`,
	"outbound subscribed": `
		None                    | None, approved          | no
		None + Pending Out      | None + Pending Out, app | no
		None + Pending In       | From                    | yes
		None + Pending Out+In   | From + Pending Out      | yes
		To                      | To, approved            | no
		To + Pending In         | Both                    | yes
		From                    | .                       | no
		From + Pending Out      | .                       | no
		Both                    | .                       | no
		None, approved          | .                       | no
		None + Pending Out, app | .                       | no
		To, approved            | .                       | no`,
	"outbound unsubscribed": `
		None                    | .                       | no
		None + Pending Out      | .                       | no
		None + Pending In       | None                    | yes
		None + Pending Out+In   | None + Pending Out      | yes
		To                      | .                       | no
		To + Pending In         | To                      | yes
		From                    | None                    | yes
		From + Pending Out      | None + Pending Out      | yes
		Both                    | To                      | yes
		None, approved          | None                    | no
		None + Pending Out, app | None + Pending Out      | no
		To, approved            | To                      | no`,
	"inbound subscribe": `
		None                    | None + Pending In       | yes
		None + Pending Out      | None + Pending Out+In   | yes
		None + Pending In       | .                       | no
		None + Pending Out+In   | .                       | no
		To                      | To + Pending In         | yes
		To + Pending In         | .                       | no
		From                    | .                       | no reply
		From + Pending Out      | .                       | no reply
		Both                    | .                       | no reply
		None, approved          | From                    | no reply
		None + Pending Out, app | From + Pending Out      | no reply
		To, approved            | Both                    | no reply`,
	"inbound unsubscribe": `
		None                    | .                       | no
		None + Pending Out      | .                       | no
		None + Pending In       | None                    | yes
		None + Pending Out+In   | None + Pending Out      | yes
		To                      | .                       | no
		To + Pending In         | To                      | yes
		From                    | None                    | yes
		From + Pending Out      | None + Pending Out      | yes
		Both                    | To                      | yes
		None, approved          | .                       | no
		None + Pending Out, app | .                       | no
		To, approved            | .                       | no`,
	"inbound subscribed": `
		None                    | .                       | no
		None + Pending Out      | To                      | yes
		None + Pending In       | .                       | no
		None + Pending Out+In   | To + Pending In         | yes
		To                      | .                       | no
		To + Pending In         | .                       | no
		From                    | .                       | no
		From + Pending Out      | Both                    | yes
		Both                    | .                       | no
		None, approved          | .                       | no
		None + Pending Out, app | To, approved            | yes
		To, approved            | .                       | no`,
	"inbound unsubscribed": `
		None                    | .                       | no
		None + Pending Out      | None                    | yes
		None + Pending In       | .                       | no
		None + Pending Out+In   | None + Pending In       | yes
		To                      | None                    | yes
		To + Pending In         | None + Pending In       | yes
		From                    | .                       | no
		From + Pending Out      | From                    | yes
		Both                    | From                    | yes
		None, approved          | .                       | no
		None + Pending Out, app | None, approved          | yes
		To, approved            | None, approved          | yes`,
}

func TestSubscriptionTables(t *testing.T) {
	types := map[string]command.SubscriptionType{
		"subscribe":    command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBE,
		"subscribed":   command.SubscriptionType_SUBSCRIPTION_TYPE_SUBSCRIBED,
		"unsubscribe":  command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBE,
		"unsubscribed": command.SubscriptionType_SUBSCRIPTION_TYPE_UNSUBSCRIBED,
	}
	directions := map[string]direction{"inbound": inbound, "outbound": outbound}
	if len(tables) != len(types)*len(directions) {
		t.Fatalf("%d tables", len(tables))
	}
	for title, table := range tables {
		way, typ, _ := strings.Cut(title, " ")
		rows := strings.Split(strings.TrimSpace(table), "\n")
		if len(rows) != len(defined) {
			t.Fatalf("%s has %d rows", title, len(rows))
		}
		for _, row := range rows {
			f := strings.Split(row, "|")
			from, to, rest := strings.TrimSpace(f[0]), strings.TrimSpace(f[1]), strings.TrimSpace(f[2])
			if to == "." {
				to = from
			}
			before, ok := defined[from]
			after, ok2 := defined[to]
			if !ok || !ok2 {
				t.Fatalf("%s: row %q", title, row)
			}
			want := step{next: after, deliver: strings.HasPrefix(rest, "yes"), reply: strings.HasSuffix(rest, "reply")}
			if got := subscribe(before, types[typ], directions[way]); got != want {
				t.Errorf("%s in %q: got %+v, want %+v", title, from, got, want)
			}
		}
	}
}
