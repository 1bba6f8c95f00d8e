// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// A form that is filled in as it came says what it came from.
func TestFormsRoundTrip(t *testing.T) {
	for _, c := range []*command.PubsubConfig{
		command.DefaultPubsub(),
		{
			AccessModel: command.AccessModel_ACCESS_MODEL_ROSTER.Enum(), MaxItems: proto.Uint32(0), PersistItems: proto.Bool(false),
			SendLast: command.SendLast_SEND_LAST_NEVER.Enum(), DeliverPayloads: proto.Bool(false), DeliverNotifications: proto.Bool(false),
			NotifyRetract: proto.Bool(false), NotifyDelete: proto.Bool(false), NotifyConfig: proto.Bool(true), Title: proto.String("a"),
			Description: proto.String("b"), Type: proto.String("c"), Normal: proto.Bool(true),
			RosterGroups: &command.PubsubGroups{Groups: []string{"x", "y"}},
		},
	} {
		x := form("form", nodeConfig, c)
		x.Set("type", "submit")
		for _, f := range x.Elements() {
			f.Children = withoutOptions(f)
		}
		got, bad := parseConfig(x)
		if bad != nil || !proto.Equal(got, c) {
			t.Errorf("%v\nversus %v, %v", got, c, bad)
		}
	}
}

func withoutOptions(f *xmlstream.Element) []xmlstream.Node {
	var out []xmlstream.Node
	for _, n := range f.Children {
		if n.Element.Is(stanza.NSData, "value") {
			out = append(out, n)
		}
	}
	return out
}

func submitted(formType, fields string) string {
	return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>" + formType + "</value></field>" + fields + "</x>"
}

func TestForms(t *testing.T) {
	one := func(name, value string) string {
		return "<field var='pubsub#" + name + "'><value>" + value + "</value></field>"
	}
	for fields, want := range map[string]struct{ config, options bool }{
		"":                                    {true, true},
		one("max_items", "max"):               {true, true},
		one("max_items", "100000"):            {true, true},
		one("max_items", "0"):                 {false, false},
		one("max_items", "-1"):                {false, false},
		one("max_items", "many"):              {false, false},
		one("access_model", "open"):           {true, true},
		one("access_model", "OPEN"):           {false, false},
		one("access_model", "authorize"):      {false, false},
		one("persist_items", "true"):          {true, true},
		one("persist_items", "maybe"):         {false, false},
		one("publish_model", "publishers"):    {true, true},
		one("publish_model", "open"):          {false, false},
		one("unheard_of", "1"):                {true, false},
		one("title", "a") + one("title", "b"): {false, false},
		"<field var='pubsub#title'><value>a</value><value>b</value></field>": {false, false},
		"<field var='pubsub#title'/>":                                        {true, true},
	} {
		if _, bad := parseConfig(parseXML(t, submitted(nodeConfig, fields))); (bad == nil) != want.config {
			t.Errorf("configure %s: %v", fields, bad)
		} else if bad != nil && bad.Condition != stanza.NotAcceptable {
			t.Errorf("configure %s: %v", fields, bad)
		}
		options := "<pubsub xmlns='" + stanza.NSPubsub + "'><publish-options>" + submitted(optionsForm, fields) + "</publish-options></pubsub>"
		if _, bad := publishOptions(parseXML(t, options)); (bad == nil) != want.options {
			t.Errorf("options %s: %v", fields, bad)
		} else if bad != nil && !bad.App.Is(stanza.NSPubsubErrors, "precondition-not-met") {
			t.Errorf("options %s: %v", fields, bad)
		}
	}
	for _, form := range []string{
		submitted("urn:other", ""),
		"<x xmlns='jabber:x:data' type='submit'/>",
		"<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE'><value>" + nodeConfig + "</value></field></x>",
	} {
		if _, bad := parseConfig(parseXML(t, form)); bad == nil {
			t.Errorf("%s is accepted", form)
		}
	}
}
