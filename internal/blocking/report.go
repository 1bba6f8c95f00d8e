// SPDX-License-Identifier: Apache-2.0

package blocking

import (
	"strings"
	"unicode/utf8"

	"bavard/internal/command"
	"bavard/internal/jid"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// reports reads those of a request whose addresses are good, at most one for each
// (XEP-0377 §blocking @0.4.1). A report that says no reason, and what is too much,
// does not count, and keeps nobody from being blocked.
func reports(r *route.Request) []*command.Report {
	var all []*command.Report
	seen := map[string]bool{}
	for _, item := range r.Payload.Elements() {
		e := item.Child(stanza.NSReporting, "report")
		j, err := jid.Parse(item.Get("jid"))
		if err != nil || e == nil || !item.Is(stanza.NSBlocking, "item") || seen[j.String()] || len(all) == state.ReportsAtOnce {
			continue
		}
		if c := report(e); c != nil {
			seen[j.String()] = true
			c.Jid = j.String()
			all = append(all, c)
		}
	}
	return all
}

// report reads one (XEP-0377 §payload @0.4.1), nil if it is none.
func report(e *xmlstream.Element) *command.Report {
	reason := e.Get("reason")
	if reason == "" || len(reason) > state.ReportReason {
		return nil
	}
	c := &command.Report{Reason: reason}
	for _, x := range e.Elements() {
		switch {
		case x.Is(stanza.NSReporting, "text") && c.Text == "":
			c.Text = begin(strings.TrimSpace(x.Text()), state.ReportText)
		case x.Is(stanza.NSReporting, "report-origin"):
			c.Origin = true
		case x.Is(stanza.NSReporting, "third-party"):
			c.ThirdParty = true
		case x.Is(stanza.NSSID, "stanza-id") && len(c.Messages) < state.ReportMessages:
			by, err := jid.Parse(x.Get("by"))
			if id := x.Get("id"); err == nil && id != "" && len(id) <= state.ReportID {
				c.Messages = append(c.Messages, &command.ReportedMessage{By: by.String(), Id: id})
			}
		}
	}
	return c
}

// begin cuts a text to a number of bytes, between characters.
func begin(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
