// SPDX-License-Identifier: Apache-2.0

package command

import "google.golang.org/protobuf/proto"

// DefaultPubsub is how a node is configured unless its owner says otherwise
// (XEP-0163 §defaults @1.2.2): contacts may read it, and it keeps one item.
func DefaultPubsub() *PubsubConfig {
	return &PubsubConfig{
		AccessModel:          AccessModel_ACCESS_MODEL_PRESENCE.Enum(),
		MaxItems:             proto.Uint32(1),
		PersistItems:         proto.Bool(true),
		SendLast:             SendLast_SEND_LAST_ON_SUB_AND_PRESENCE.Enum(),
		DeliverPayloads:      proto.Bool(true),
		DeliverNotifications: proto.Bool(true),
		NotifyRetract:        proto.Bool(true),
		NotifyDelete:         proto.Bool(true),
		NotifyConfig:         proto.Bool(false),
		Title:                proto.String(""),
		Description:          proto.String(""),
		Type:                 proto.String(""),
		RosterGroups:         &PubsubGroups{},
		Normal:               proto.Bool(false),
	}
}
