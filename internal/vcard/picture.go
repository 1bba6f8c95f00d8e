// SPDX-License-Identifier: Apache-2.0

package vcard

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // XEP-0153 names it
	"encoding/base64"
	"encoding/hex"
	"image"
	_ "image/gif"  // sizes of pictures
	_ "image/jpeg" // sizes of pictures
	_ "image/png"  // sizes of pictures
	"strings"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// pixelsMost bounds what is believed of an image's size.
const pixelsMost = 1 << 16

// picture takes the PHOTO out of a vCard that is being set: it is kept in the
// nodes of XEP-0084 (XEP-0398 §vcard2pep @1.0.0). A vCard without one removes
// the picture. One that is no image in Base64 stays in the vCard as it is, and
// nil is returned. id makes an id for the item that says that there is none.
func picture(vcard *xmlstream.Element, id func() string) *command.Picture {
	var found *command.Picture
	photos := 0
	for _, e := range vcard.Elements() {
		if !e.Is(stanza.NSVCard, "PHOTO") {
			continue
		}
		value := e.Child(stanza.NSVCard, "BINVAL")
		if value.Text() == "" && e.Child(stanza.NSVCard, "EXTVAL") == nil {
			continue // an empty one: there is no picture
		}
		photos++
		if found == nil {
			found = decode(value.Text())
		}
	}
	switch {
	case photos == 0:
		found = &command.Picture{Id: id()}
	case found == nil:
		return nil
	}
	kept := vcard.Children[:0]
	for _, c := range vcard.Children {
		if !c.Element.Is(stanza.NSVCard, "PHOTO") {
			kept = append(kept, c)
		}
	}
	vcard.Children = kept
	return found
}

// decode reads an image in Base64; nil when it is none. White space in it means
// nothing (XEP-0153 §bizrules-image @1.1.1).
func decode(text string) *command.Picture {
	text = strings.Join(strings.Fields(text), "")
	if len(text) > state.PubsubPayload-128 {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	typ := state.ImageType(b)
	if typ == "" {
		return nil
	}
	sum := sha1.Sum(b) //nolint:gosec // see the import
	p := &command.Picture{Id: hex.EncodeToString(sum[:]), Base64: text, Type: typ, Bytes: uint32(len(b))}
	c, _, err := image.DecodeConfig(bytes.NewReader(b))
	if err == nil && c.Width > 0 && c.Height > 0 && c.Width <= pixelsMost && c.Height <= pixelsMost {
		p.Width, p.Height = uint32(c.Width), uint32(c.Height)
	}
	return p
}
