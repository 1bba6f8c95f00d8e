// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"strconv"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Types of forms.
const (
	nodeConfig  = stanza.NSPubsub + "#node_config"
	metaData    = stanza.NSPubsub + "#meta-data"
	optionsForm = stanza.NSPubsub + "#publish-options"
)

// field of a node's configuration (XEP-0060 §registrar-formtypes-config @1.30.0).
type field struct {
	name, typ, label string
	options          []string
	// set takes the values of a form; false when they make no sense.
	set func(*command.PubsubConfig, []string) bool
	get func(*command.PubsubConfig) []string
}

// fields in the order of the form. immutable
var fields = [...]field{
	{
		"pubsub#title", "text-single", "Name of the node", nil,
		text(func(c *command.PubsubConfig, s string) { c.Title = &s }),
		func(c *command.PubsubConfig) []string { return []string{c.GetTitle()} },
	},
	{
		"pubsub#description", "text-single", "What it is", nil,
		text(func(c *command.PubsubConfig, s string) { c.Description = &s }),
		func(c *command.PubsubConfig) []string { return []string{c.GetDescription()} },
	},
	{
		"pubsub#type", "text-single", "Namespace of its items", nil,
		text(func(c *command.PubsubConfig, s string) { c.Type = &s }),
		func(c *command.PubsubConfig) []string { return []string{c.GetType()} },
	},
	{
		"pubsub#access_model", "list-single", "Who may read it", accessModels[:],
		func(c *command.PubsubConfig, v []string) bool {
			return choice(accessModels[:], v, func(i int) { c.AccessModel = command.AccessModel(i).Enum() })
		},
		func(c *command.PubsubConfig) []string {
			return []string{name(accessModels[:], int(c.GetAccessModel()))}
		},
	},
	{
		"pubsub#roster_groups_allowed", "list-multi", "Groups of contacts that may read it, with the access model roster", nil,
		func(c *command.PubsubConfig, v []string) bool {
			c.RosterGroups = &command.PubsubGroups{Groups: v}
			return len(v) <= state.PubsubGroups
		},
		func(c *command.PubsubConfig) []string { return c.GetRosterGroups().GetGroups() },
	},
	flag("pubsub#persist_items", "Keep items",
		func(c *command.PubsubConfig, b *bool) { c.PersistItems = b }, (*command.PubsubConfig).GetPersistItems),
	{
		"pubsub#max_items", "text-single", "How many items to keep; max for as many as the server keeps", nil,
		setMaxItems,
		func(c *command.PubsubConfig) []string {
			if n := c.GetMaxItems(); n != 0 {
				return []string{strconv.FormatUint(uint64(n), 10)}
			}
			return []string{"max"}
		},
	},
	{
		"pubsub#send_last_published_item", "list-single", "When to send the last item", sendLast[:],
		func(c *command.PubsubConfig, v []string) bool {
			return choice(sendLast[:], v, func(i int) { c.SendLast = command.SendLast(i).Enum() })
		},
		func(c *command.PubsubConfig) []string { return []string{name(sendLast[:], int(c.GetSendLast()))} },
	},
	flag("pubsub#deliver_notifications", "Notify",
		func(c *command.PubsubConfig, b *bool) { c.DeliverNotifications = b }, (*command.PubsubConfig).GetDeliverNotifications),
	flag("pubsub#deliver_payloads", "Notify with the item, not only its id",
		func(c *command.PubsubConfig, b *bool) { c.DeliverPayloads = b }, (*command.PubsubConfig).GetDeliverPayloads),
	flag("pubsub#notify_retract", "Notify when items are removed",
		func(c *command.PubsubConfig, b *bool) { c.NotifyRetract = b }, (*command.PubsubConfig).GetNotifyRetract),
	flag("pubsub#notify_delete", "Notify when the node is removed",
		func(c *command.PubsubConfig, b *bool) { c.NotifyDelete = b }, (*command.PubsubConfig).GetNotifyDelete),
	flag("pubsub#notify_config", "Notify when the node is configured",
		func(c *command.PubsubConfig, b *bool) { c.NotifyConfig = b }, (*command.PubsubConfig).GetNotifyConfig),
	{
		"pubsub#notification_type", "list-single", "Type of the messages that notify", messageTypes[:],
		func(c *command.PubsubConfig, v []string) bool {
			return choice(messageTypes[:], v, func(i int) { c.Normal = proto.Bool(i == 1) })
		},
		func(c *command.PubsubConfig) []string {
			if c.GetNormal() {
				return messageTypes[1:]
			}
			return messageTypes[:1]
		},
	},
}

// Names by number. immutable
var (
	accessModels = [...]string{"presence", "open", "roster", "whitelist"}
	sendLast     = [...]string{"on_sub_and_presence", "on_sub", "never"}
	messageTypes = [...]string{"headline", "normal"}
)

// fixed are fields that have the one value which describes what this server
// does; another value cannot be had. immutable
var fixed = map[string][]string{
	"pubsub#publish_model":           {"publishers"},
	"pubsub#publish_node_full":       {"retract-oldest", "discard-oldest"},
	"pubsub#presence_based_delivery": {"1", "true"},
	"pubsub#purge_offline":           {"0", "false"},
	"pubsub#notify_sub":              {"0", "false"},
	"pubsub#subscribe":               {"1", "true"},
	"pubsub#tempsub":                 {"0", "false"},
	"pubsub#item_expire":             {"max"},
	"pubsub#node_type":               {"leaf"},
	"pubsub#collection":              {""},
}

func text(set func(*command.PubsubConfig, string)) func(*command.PubsubConfig, []string) bool {
	return func(c *command.PubsubConfig, v []string) bool {
		s, ok := single(v)
		set(c, s)
		return ok && len(s) <= state.PubsubText
	}
}

func flag(name, label string, set func(*command.PubsubConfig, *bool), get func(*command.PubsubConfig) bool) field {
	return field{
		name, "boolean", label, nil,
		func(c *command.PubsubConfig, v []string) bool {
			s, ok := single(v)
			b, known := boolean(s)
			set(c, &b)
			return ok && known
		},
		func(c *command.PubsubConfig) []string {
			if get(c) {
				return []string{"1"}
			}
			return []string{"0"}
		},
	}
}

// single gives the one value of a field; none is an empty one.
func single(v []string) (string, bool) {
	if len(v) == 0 {
		return "", true
	}
	return v[0], len(v) == 1
}

func choice(names, v []string, set func(int)) bool {
	for i, n := range names {
		if len(v) == 1 && v[0] == n {
			set(i)
			return true
		}
	}
	return false
}

func name(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return ""
	}
	return names[i]
}

// setMaxItems takes a number, or max. A greater number than the server keeps is
// that number.
func setMaxItems(c *command.PubsubConfig, v []string) bool {
	s, ok := single(v)
	if s == "max" {
		c.MaxItems = proto.Uint32(0)
		return ok
	}
	n, err := strconv.ParseUint(s, 10, 31)
	c.MaxItems = proto.Uint32(uint32(min(n, state.PubsubItems)))
	return ok && err == nil && n > 0
}

// parse reads a submitted form of this type into a configuration. With strict
// a field that is not known is an error, else it is passed over.
func parse(form *xmlstream.Element, formType string, strict bool) (*command.PubsubConfig, string) {
	if form.Get("type") != "submit" {
		return nil, "the form is not submitted"
	}
	c, seen := &command.PubsubConfig{}, map[string]bool{}
	for _, f := range form.Elements() {
		if !f.Is(stanza.NSData, "field") {
			continue
		}
		v, values := f.Get("var"), []string(nil)
		for _, e := range f.Elements() {
			if e.Is(stanza.NSData, "value") {
				values = append(values, e.Text())
			}
		}
		switch known, ok := assign(c, v, values); {
		case seen[v]:
			return nil, "the field " + v + " is there twice"
		case v == "FORM_TYPE":
			if s, ok := single(values); !ok || s != formType {
				return nil, "the FORM_TYPE is not " + formType
			}
		case known && !ok:
			return nil, "the field " + v + " cannot have this value"
		case !known && strict:
			return nil, "the field " + v + " is not known here"
		}
		seen[v] = true
	}
	if !seen["FORM_TYPE"] {
		return nil, "the FORM_TYPE is not " + formType
	}
	return c, ""
}

// assign sets a field; known tells whether there is such a field.
func assign(c *command.PubsubConfig, name string, values []string) (known, ok bool) {
	for i := range fields {
		if fields[i].name == name {
			return true, fields[i].set(c, values)
		}
	}
	if allowed, there := fixed[name]; there {
		s, ok := single(values)
		return true, ok && choice(allowed, []string{s}, func(int) {})
	}
	return false, false
}

// parseConfig reads a form for creating or configuring
// (XEP-0060 §owner-configure-submit @1.30.0).
func parseConfig(form *xmlstream.Element) (*command.PubsubConfig, *stanza.Error) {
	c, wrong := parse(form, nodeConfig, false)
	if wrong != "" {
		return nil, stanza.Err(stanza.Modify, stanza.NotAcceptable, wrong)
	}
	return c, nil
}

// publishOptions reads the preconditions of a publication, nil when there are
// none; unknown ones are not met
// (XEP-0060 §publisher-publish-options @1.30.0).
func publishOptions(pubsub *xmlstream.Element) (*command.PubsubConfig, *stanza.Error) {
	options := pubsub.Child(stanza.NSPubsub, "publish-options")
	if options == nil {
		return nil, nil
	}
	form := options.Child(stanza.NSData, "x")
	if form == nil {
		return nil, stanza.Err(stanza.Modify, stanza.BadRequest, "publish-options hold a form")
	}
	c, wrong := parse(form, optionsForm, true)
	if wrong != "" {
		return nil, stanza.PubsubErr(stanza.Cancel, stanza.Conflict, "precondition-not-met", wrong)
	}
	return c, nil
}

// form gives the configuration as a form to fill in
// (XEP-0060 §owner-configure-success @1.30.0), or as a result.
func form(typ, formType string, c *command.PubsubConfig) *xmlstream.Element {
	x := xmlstream.New(stanza.NSData, "x", "type", typ)
	x.Add(xmlstream.New(stanza.NSData, "field", "type", "hidden", "var", "FORM_TYPE").
		Add(xmlstream.NewText(stanza.NSData, "value", formType)))
	for i := range fields {
		f := &fields[i]
		e := xmlstream.New(stanza.NSData, "field", "type", f.typ, "var", f.name)
		if typ == "form" {
			e.Set("label", f.label)
		}
		for _, v := range f.get(c) {
			if v != "" || f.typ != "text-single" {
				e.Add(xmlstream.NewText(stanza.NSData, "value", v))
			}
		}
		if typ == "form" {
			for _, o := range f.options {
				e.Add(xmlstream.New(stanza.NSData, "option").Add(xmlstream.NewText(stanza.NSData, "value", o)))
			}
		}
		x.Add(e)
	}
	return x
}
