// SPDX-License-Identifier: Apache-2.0

package state

import (
	"slices"

	"bavard/internal/command"
	"bavard/internal/stanza"
)

// MayRead says why somebody other than the owner may not read a node, nil when
// they may (XEP-0060 §accessmodels @1.30.0, §affiliations). contact is what they
// are in the owner's roster, nil if nothing.
func MayRead(c *command.PubsubConfig, a command.NodeAffiliation, contact *RosterItem) *stanza.Error {
	switch a {
	case command.NodeAffiliation_NODE_AFFILIATION_OUTCAST:
		return stanza.Err(stanza.Auth, stanza.Forbidden, "")
	case command.NodeAffiliation_NODE_AFFILIATION_MEMBER:
		return nil
	}
	switch c.GetAccessModel() {
	case command.AccessModel_ACCESS_MODEL_OPEN:
		return nil
	case command.AccessModel_ACCESS_MODEL_PRESENCE:
		if contact != nil && (contact.Subscription == "from" || contact.Subscription == "both") {
			return nil
		}
		return stanza.PubsubErr(stanza.Auth, stanza.NotAuthorized, "presence-subscription-required", "")
	case command.AccessModel_ACCESS_MODEL_ROSTER:
		if contact != nil && contact.Listed && slices.ContainsFunc(contact.Groups, func(g string) bool {
			return slices.Contains(c.GetRosterGroups().GetGroups(), g)
		}) {
			return nil
		}
		return stanza.PubsubErr(stanza.Auth, stanza.NotAuthorized, "not-in-roster-group", "")
	}
	return stanza.PubsubErr(stanza.Cancel, stanza.NotAllowed, "closed-node", "")
}
