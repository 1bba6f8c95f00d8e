// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

// Images, as far as their first bytes go.
const (
	red  = "\x89PNG\r\n\x1a\nred"
	blue = "GIF89ablue"
)

func hashOf(image string) string {
	sum := sha1.Sum([]byte(image))
	return hex.EncodeToString(sum[:])
}

func text(image string) string { return base64.StdEncoding.EncodeToString([]byte(image)) }

func dataOf(account, image string) *command.Command {
	return publish(account, stanza.NSAvatarData, hashOf(image), "<data xmlns='"+stanza.NSAvatarData+"'>"+text(image)+"</data>", nil)
}

func metadataOf(account string, infos ...string) *command.Command {
	return publish(account, stanza.NSAvatarMetadata, "current", "<metadata xmlns='"+stanza.NSAvatarMetadata+"'>"+strings.Join(infos, "")+"</metadata>", nil)
}

func info(image string) string { return "<info id='" + hashOf(image) + "'/>" }

// vcardWith sets a vCard with this picture, "" for none.
func vcardWith(account, image string) *command.Command {
	cmd := vcardSet(account, []byte("<vCard/>"))
	c := cmd.GetVcardSet()
	c.Publisher = at(account) + "/x"
	c.Picture = &command.Picture{Id: "none"}
	if image != "" {
		c.Picture = &command.Picture{Id: hashOf(image), Base64: text(image), Type: "image/png", Bytes: uint32(len(image)), Width: 1}
	}
	return cmd
}

func (c *cellOf) shows(account, image string) {
	c.t.Helper()
	want := ""
	if image != "" {
		want = hashOf(image)
	}
	if got := c.v.AvatarHash(at(account)); got.Hash != want {
		c.t.Errorf("%s has the picture %+v, want %q", account, got, want)
	}
	a, err := c.v.Avatar(at(account))
	if image == "" {
		if !errors.Is(err, state.ErrNotFound) {
			c.t.Errorf("%s has a picture: %+v, %v", account, a, err)
		}
	} else if err != nil || a.Base64 != text(image) || a.Type != state.ImageType([]byte(image)) {
		c.t.Errorf("%s has the picture %+v, %v", account, a, err)
	}
}

func kinds(events []state.Event) (out []state.EventKind) {
	for _, e := range events {
		out = append(out, e.Kind)
	}
	return out
}

// A picture is what the newest metadata name and the node of the data holds.
func TestPictureByNodes(t *testing.T) {
	c := newCell(t, "ann")
	c.accept(dataOf("ann", red))
	c.shows("ann", "")
	if c.v.AvatarHash(at("ann")).Known {
		t.Error("it is known not to have a picture that it never had")
	}
	if got := kinds(c.accept(metadataOf("ann", "<info id='x'/><info id='"+hashOf(blue)+"' url='https://example.org'/>", info(red)))); !slices.Equal(got, []state.EventKind{state.EventPubsub, state.EventAvatar}) {
		t.Errorf("events %v", got)
	}
	c.shows("ann", red)
	if got := kinds(c.accept(metadataOf("ann", info(red)))); !slices.Equal(got, []state.EventKind{state.EventPubsub}) {
		t.Errorf("the same picture again: events %v", got)
	}
	// The next picture's data push out those before; they are named later.
	c.accept(dataOf("ann", blue))
	if h := c.v.AvatarHash(at("ann")).Hash; h != hashOf(red) {
		t.Errorf("between data and metadata the hash is %q", h)
	}
	c.accept(metadataOf("ann", info(blue)))
	c.shows("ann", blue)
	c.accept(metadataOf("ann"))
	c.shows("ann", "")
	c.accept(metadataOf("ann", info(blue)))
	c.accept(retract("ann", stanza.NSAvatarData, hashOf(blue)))
	c.shows("ann", "")
	c.accept(dataOf("ann", blue)) // the metadata wait for it
	c.shows("ann", blue)
	c.accept(deleteNode("ann", stanza.NSAvatarMetadata))
	c.shows("ann", "")
	if !c.v.AvatarHash(at("ann")).Known {
		t.Error("that it had a picture is forgotten")
	}
	c.scrub()
}

func TestPicturesThatAreNone(t *testing.T) {
	c := newCell(t, "ann")
	for _, data := range []string{
		text("no image"), "not base64!", text(blue), "",
	} {
		c.accept(publish("ann", stanza.NSAvatarData, hashOf(red), "<data xmlns='"+stanza.NSAvatarData+"'>"+data+"</data>", nil))
		c.accept(metadataOf("ann", info(red)))
		c.shows("ann", "")
	}
	c.accept(publish("ann", stanza.NSAvatarData, hashOf(red), "<other xmlns='"+stanza.NSAvatarData+"'>"+text(red)+"</other>", nil))
	c.shows("ann", "")
	c.accept(publish("ann", stanza.NSAvatarMetadata, "x", "<broken", nil))
	c.accept(dataOf("ann", red))
	c.shows("ann", "")
}

// What may be shown follows the access models of both nodes.
func TestPictureFollowsAccess(t *testing.T) {
	c := newCell(t, "ann")
	model := func(node string, m command.AccessModel) {
		c.accept(configure("ann", node, &command.PubsubConfig{AccessModel: m.Enum()}))
	}
	c.accept(dataOf("ann", red))
	c.accept(metadataOf("ann", info(red)))
	if c.v.AvatarHash(at("ann")).Open {
		t.Error("open by default")
	}
	model(stanza.NSAvatarData, command.AccessModel_ACCESS_MODEL_OPEN)
	if c.v.AvatarHash(at("ann")).Open {
		t.Error("open with one node")
	}
	model(stanza.NSAvatarMetadata, command.AccessModel_ACCESS_MODEL_OPEN)
	if !c.v.AvatarHash(at("ann")).Open {
		t.Error("not open with both nodes")
	}
	for _, m := range []command.AccessModel{command.AccessModel_ACCESS_MODEL_WHITELIST, command.AccessModel_ACCESS_MODEL_ROSTER} {
		model(stanza.NSAvatarData, m)
		c.shows("ann", "")
		model(stanza.NSAvatarData, command.AccessModel_ACCESS_MODEL_OPEN)
		c.shows("ann", red)
	}
}

func TestPictureByVCard(t *testing.T) {
	c := newCell(t, "ann")
	c.accept(vcardWith("ann", ""))
	if nodes, err := c.v.PubsubNodes(at("ann")); err != nil || len(nodes) != 0 {
		t.Errorf("no picture makes nodes: %v, %v", nodes, err)
	}
	events := c.accept(vcardWith("ann", red))
	var told []string
	for _, e := range events {
		if e.Pubsub != nil {
			told = append(told, e.Pubsub.Node+" "+e.Pubsub.Item.ID+" "+string(e.Pubsub.Item.Payload))
		}
	}
	if want := []string{
		stanza.NSAvatarData + " " + hashOf(red) + " <data xmlns='urn:xmpp:avatar:data'>" + text(red) + "</data>",
		stanza.NSAvatarMetadata + " " + hashOf(red) + " <metadata xmlns='urn:xmpp:avatar:metadata'><info bytes='11' id='" + hashOf(red) + "' type='image/png' width='1'/></metadata>",
	}; !slices.Equal(told, want) {
		t.Errorf("told %q\nwant %q", told, want)
	}
	c.shows("ann", red)
	if !c.v.AvatarHash(at("ann")).Open {
		t.Error("what was in a vCard is for all")
	}
	if events := c.accept(vcardWith("ann", red)); len(events) != 0 {
		t.Errorf("the same again: events %v", kinds(events))
	}
	c.accept(vcardSet("ann", []byte("<vCard/>"))) // says nothing of pictures
	c.shows("ann", red)
	c.accept(vcardWith("ann", blue))
	c.shows("ann", blue)
	c.accept(vcardWith("ann", ""))
	c.shows("ann", "")
	if events := c.accept(vcardWith("ann", "")); len(events) != 0 {
		t.Errorf("none again: events %v", kinds(events))
	}
	checkNodes(t, c.v)
	c.scrub()
}

// Where the nodes are not for showing, the picture stays in the vCard.
func TestPictureThatNodesDoNotTake(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(createNode("ann", stanza.NSAvatarData, &command.PubsubConfig{AccessModel: command.AccessModel_ACCESS_MODEL_WHITELIST.Enum()}))
	c.accept(createNode("bob", stanza.NSAvatarMetadata, &command.PubsubConfig{PersistItems: proto.Bool(false)}))
	for _, who := range []string{"ann", "bob"} {
		c.accept(vcardWith(who, red))
		c.shows(who, "")
		if b, err := c.v.VCard(at(who)); err != nil || !strings.Contains(string(b), text(red)) {
			t.Errorf("%s: %s, %v", who, b, err)
		}
		nodes, err := c.v.PubsubNodes(at(who))
		if err != nil || len(nodes) != 1 || nodes[0].Items != 0 {
			t.Errorf("%s: %v, %v", who, nodes, err)
		}
	}
	large := vcardWith("ann", red+strings.Repeat("x", maxVCard))
	c.refused(large, stanza.PolicyViolation)
	tooLarge := vcardWith("bob", red)
	tooLarge.GetVcardSet().Picture.Base64 = strings.Repeat("A", state.PubsubPayload)
	c.refused(tooLarge, stanza.PolicyViolation)
}

// All or nothing: a picture that finds no room changes nothing.
func TestPictureWithoutRoom(t *testing.T) {
	c := newCell(t, "ann")
	var cmds []*command.Command
	for i := range state.PubsubNodes - 1 {
		cmds = append(cmds, createNode("ann", fmt.Sprint(i), nil))
	}
	c.apply(cmds...)
	c.refused(vcardWith("ann", red), stanza.ResourceConstraint)
	if _, err := c.v.VCard(at("ann")); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("the vCard is there: %v", err)
	}
	checkNodes(t, c.v)
	c.accept(deleteNode("ann", "0"))
	c.accept(vcardWith("ann", red))
	c.shows("ann", red)
	checkNodes(t, c.v)
}

// Pictures are there after a restart, and gone with their account.
func TestPicturesStayAndGo(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.apply(vcardWith("ann", red), dataOf("bob", blue), metadataOf("bob", info(blue)), remove("ann"), create("ann"))
	c.shows("ann", "")
	c.shows("bob", blue)
	c.accept(vcardWith("ann", blue))
	if err := c.v.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := c.v.Close(); err != nil {
		t.Fatal(err)
	}
	c.v = openView(t, c.fs, Options{})
	c.shows("ann", blue)
	c.shows("bob", blue)
	c.accept(remove("bob"))
	if c.v.AvatarHash(at("bob")).Known {
		t.Error("a removed account has a hash")
	}
}

// randomPicture draws what concerns pictures.
func randomPicture(r *rapid.T, account string) *command.Command {
	image := rapid.SampledFrom([]string{"", red, blue}).Draw(r, "image")
	switch rapid.IntRange(0, 3).Draw(r, "how") {
	case 0:
		return dataOf(account, image)
	case 1:
		return metadataOf(account, info(image))
	case 2:
		return deleteNode(account, rapid.SampledFrom([]string{stanza.NSAvatarData, stanza.NSAvatarMetadata}).Draw(r, "node"))
	}
	return vcardWith(account, image)
}

// checkAvatars: the hashes in memory are those of the records.
func checkAvatars(t rapid.TB, v *View) {
	for _, p := range people {
		var want state.AvatarHash
		id, err := v.accountID(v.db, at(p))
		if err == nil {
			if b, err := v.get(v.db, idKey(tableAvatar, id)); err == nil {
				rec, err := parseAvatar(b)
				if err != nil {
					t.Fatal(err)
				}
				want = rec.state()
			}
		}
		if got := v.AvatarHash(at(p)); got != want {
			t.Fatalf("%s: %+v in memory, %+v in its record", p, got, want)
		}
	}
}

func BenchmarkAvatarHash(b *testing.B) {
	c := newCell(b, "ann")
	c.accept(vcardWith("ann", red))
	account := at("ann")
	for b.Loop() {
		if c.v.AvatarHash(account).Hash == "" {
			b.Fatal("no hash")
		}
	}
}
