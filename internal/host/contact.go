// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bavard/internal/route"
	"bavard/internal/stanza"
)

// Contact is how to reach who runs the server, by what it is about
// (XEP-0157 §xmpp @1.1.1): URIs.
type Contact struct {
	Abuse, Admin, Feedback, Sales, Security, Status, Support []string
	// ExternalStatus are the addresses of the files that say, from elsewhere, what
	// is wrong while the server cannot be reached (XEP-0455 §external-disco
	// @0.4.0); the most independent one first.
	ExternalStatus []string
}

// Contacts tells all who ask how to reach who runs the server, as far as that
// is configured.
func Contacts(c Contact) route.Feature {
	f := route.Feature{Name: "contact addresses"}
	for _, form := range []struct {
		typ    string
		fields []route.FormField
	}{
		{stanza.NSServerInfo, []route.FormField{
			{Name: "abuse-addresses", Values: c.Abuse},
			{Name: "admin-addresses", Values: c.Admin},
			{Name: "feedback-addresses", Values: c.Feedback},
			{Name: "sales-addresses", Values: c.Sales},
			{Name: "security-addresses", Values: c.Security},
			{Name: "status-addresses", Values: c.Status},
			{Name: "support-addresses", Values: c.Support},
		}},
		{stanza.NSOutage, []route.FormField{{Name: "external-status-addresses", Values: c.ExternalStatus}}},
	} {
		if x := route.Form(form.typ, form.fields...); len(x.Children) > 1 {
			f.Forms = append(f.Forms, x)
		}
	}
	return f
}
