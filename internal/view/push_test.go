// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

func pushRegister(account, node, endpoint, resource string) *command.Command {
	return &command.Command{Request: &command.Command_PushRegister{PushRegister: &command.PushRegister{
		Account: at(account), Node: node, Secret: "secret", Endpoint: endpoint, P256Dh: []byte("point"), Auth: []byte("auth"), Resource: resource,
	}}}
}

func pushEnable(account, jid, node, secret, resource string) *command.Command {
	return &command.Command{Request: &command.Command_PushEnable{PushEnable: &command.PushEnable{
		Account: at(account), Jid: jid, Node: node, Secret: secret, Options: []byte("<x/>"), Resource: resource,
	}}}
}

func pushDisable(account, jid, node string) *command.Command {
	return &command.Command{Request: &command.Command_PushDisable{PushDisable: &command.PushDisable{Account: at(account), Jid: jid, Node: node}}}
}

func pushForget(account, resource, endpoint string) *command.Command {
	return &command.Command{Request: &command.Command_PushForget{PushForget: &command.PushForget{
		Account: at(account), Resource: resource, Endpoint: endpoint,
	}}}
}

func randomPush(r *rapid.T, account string) *command.Command {
	node := "n" + fmt.Sprint(rapid.IntRange(0, 3).Draw(r, "node"))
	endpoint := "https://push.example/" + fmt.Sprint(rapid.IntRange(0, 2).Draw(r, "endpoint"))
	resource := "r" + fmt.Sprint(rapid.IntRange(0, 1).Draw(r, "resource"))
	switch rapid.IntRange(0, 6).Draw(r, "push") {
	case 0, 1:
		return pushRegister(account, node, endpoint, resource)
	case 2, 3:
		return pushEnable(account, rapid.SampledFrom([]string{pushJID, "elsewhere"}).Draw(r, "service"), node, "secret", resource)
	case 4:
		return pushDisable(account, pushJID, rapid.SampledFrom([]string{"", node}).Draw(r, "which"))
	case 5:
		return pushForget(account, resource, "")
	}
	return pushForget(account, "", endpoint)
}

// pushes tells where an account is notified.
func (c *cellOf) pushes(account string) string {
	c.t.Helper()
	all, err := c.v.Pushes(at(account))
	if err != nil {
		c.t.Fatal(err)
	}
	var words []string
	for _, p := range all {
		word := p.JID + " " + p.Node + " " + p.Device.Resource
		if p.Service != nil {
			word += " " + p.Service.Endpoint
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

var pushJID = state.PushComponent(domain) // immutable

// TestPushes: what is registered can be enabled by who has its secret, and goes by being disabled, with
// its device, its endpoint, and its account.
func TestPushes(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.refused(pushEnable("ann", pushJID, "n1", "secret", "phone"), stanza.ItemNotFound)
	c.accept(pushRegister("ann", "n1", "https://a/1", "phone"))
	c.refused(pushRegister("ann", "n1", "https://a/2", "phone"), stanza.Conflict)
	c.refused(pushEnable("ann", pushJID, "n1", "guess", "phone"), stanza.Forbidden)
	c.refused(pushEnable("bob", pushJID, "n1", "secret", "phone"), stanza.ItemNotFound)
	c.refused(pushEnable("nobody", pushJID, "n1", "secret", "phone"), stanza.NotAuthorized)
	if got := c.pushes("ann"); got != "" {
		t.Fatal(got)
	}
	c.accept(pushEnable("ann", pushJID, "n1", "secret", "phone"))
	c.accept(pushEnable("ann", "other", "n", "", "desk"))
	if got, want := c.pushes("ann"), "other n desk, "+pushJID+" n1 phone https://a/1"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	if accounts, err := c.v.Pushing(); err != nil || fmt.Sprint(accounts) != "["+at("ann")+"]" {
		t.Fatal(accounts, err)
	}
	// The endpoint of the browser again: another node takes its place, not enabled yet.
	c.accept(pushRegister("ann", "n2", "https://a/1", "phone"))
	if got := c.pushes("ann"); got != "other n desk" {
		t.Fatal(got)
	}
	c.accept(pushEnable("ann", pushJID, "n2", "secret", "phone"))
	c.accept(pushForget("ann", "", "https://a/1"))
	if got := c.pushes("ann"); got != "other n desk" {
		t.Fatal(got)
	}
	c.accept(pushForget("ann", "desk", ""))
	if got := c.pushes("ann"); got != "" {
		t.Fatal(got)
	}
	for i, node := range []string{"n3", "n4"} {
		c.accept(pushRegister("ann", node, fmt.Sprintf("https://b/%d", i), "phone"))
		c.accept(pushEnable("ann", pushJID, node, "secret", "phone"))
	}
	c.accept(pushDisable("ann", pushJID, "n3"))
	c.refused(pushEnable("ann", pushJID, "n3", "secret", "phone"), stanza.ItemNotFound)
	if got, want := c.pushes("ann"), pushJID+" n4 phone https://b/1"; got != want {
		t.Fatal(got)
	}
	c.accept(pushDisable("ann", pushJID, ""))
	if got := c.pushes("ann"); got != "" {
		t.Fatal(got)
	}
	// A new password logs all out but who set it; being switched off, everybody.
	for _, where := range []string{"phone", "desk"} {
		c.accept(pushRegister("ann", where, "https://c/"+where, where))
		c.accept(pushEnable("ann", pushJID, where, "secret", where))
	}
	c.accept(&command.Command{Request: &command.Command_CredentialsSet{CredentialsSet: &command.CredentialsSet{
		Jid: at("ann"), Credentials: &command.Credentials{ScramSha1: &command.ScramKeys{Iterations: 2}}, By: at("ann") + "/desk",
	}}})
	if got, want := c.pushes("ann"), pushJID+" desk desk https://c/desk"; got != want {
		t.Fatal(got)
	}
	c.accept(disable("ann", false))
	if got := c.pushes("ann"); got != "" {
		t.Fatal(got)
	}
	known := pushRegister("ann", "n6", "https://b/6", "phone")
	known.GetPushRegister().Client = []byte("client\x00x")
	c.accept(known)
	enable := pushEnable("ann", pushJID, "n6", "secret", "phone")
	enable.GetPushEnable().Client = []byte("client\x00x")
	c.accept(enable)
	c.accept(&command.Command{Request: &command.Command_PushForget{PushForget: &command.PushForget{Account: at("ann"), Client: []byte("client\x00x")}}})
	if got := c.pushes("ann"); got != "" {
		t.Fatal(got)
	}
	c.refused(pushForget("ann", "", ""), stanza.BadRequest)
	c.accept(pushRegister("ann", "n5", "https://b/5", "phone"))
	c.accept(pushEnable("ann", pushJID, "n5", "secret", "phone"))
	c.accept(remove("ann"))
	c.accept(createWith("ann", "Ann", ""))
	if got := c.pushes("ann"); got != "" {
		t.Fatal("a deleted account left", got)
	}
	if accounts, err := c.v.Pushing(); err != nil || len(accounts) != 0 {
		t.Fatal(accounts, err)
	}
}

// TestPushesBound: the oldest registration makes room, what is enabled does not.
func TestPushesBound(t *testing.T) {
	c := newCell(t, "ann")
	for i := range state.PushesMost + 1 {
		c.now = c.now.Add(time.Second)
		c.accept(pushRegister("ann", fmt.Sprint("n", i), fmt.Sprint("https://a/", i), "phone"))
		if i < state.PushesMost {
			c.accept(pushEnable("ann", pushJID, fmt.Sprint("n", i), "secret", "phone"))
		}
	}
	if all, err := c.v.Pushes(at("ann")); err != nil || len(all) != state.PushesMost-1 || strings.Contains(c.pushes("ann"), " n0 ") {
		t.Fatal(len(all), err)
	}
	c.accept(pushEnable("ann", pushJID, fmt.Sprint("n", state.PushesMost), "secret", "phone"))
	c.refused(pushEnable("ann", "other", "n", "", "phone"), stanza.ResourceConstraint)
	c.refused(pushRegister("ann", "x", strings.Repeat("x", state.PushEndpoint+1), "phone"), stanza.PolicyViolation)
	c.refused(pushRegister("ann", "x", "", "phone"), stanza.BadRequest)
	c.refused(pushEnable("ann", "", "n", "", "phone"), stanza.BadRequest)
}
