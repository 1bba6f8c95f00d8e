// SPDX-License-Identifier: Apache-2.0

package room

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // XEP-0153 names pictures by it
	"encoding/base64"
	"encoding/hex"
	"strings"

	"bavard/internal/command"
	"bavard/internal/route"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// pictureHashes are the SHA-1 of a room's picture in each format that its vCard
// has it in, none when it has no picture (XEP-0486 §disco-avatar-hash @0.1.0,
// §multiple @0.1.0).
func pictureHashes(vcard []byte) (hashes []string) {
	if len(vcard) == 0 {
		return nil
	}
	e, err := xmlstream.ParseElement(vcard, xmlstream.AfterAuth)
	if err != nil {
		return nil
	}
	for _, photo := range e.Elements() {
		if !photo.Is(stanza.NSVCard, "PHOTO") {
			continue
		}
		text := strings.Map(func(r rune) rune {
			if strings.ContainsRune(" \t\r\n", r) {
				return -1
			}
			return r
		}, photo.Child(stanza.NSVCard, "BINVAL").Text())
		if b, err := base64.StdEncoding.DecodeString(text); err == nil && len(b) > 0 {
			sum := sha1.Sum(b) //nolint:gosec // see the import
			hashes = append(hashes, hex.EncodeToString(sum[:]))
		}
	}
	return hashes
}

// configure takes a configuration, and the picture in it. The caller holds the
// shard's lock.
func (r *live) configure(c *command.RoomConfig) {
	if !bytes.Equal(r.config.GetVcard(), c.GetVcard()) {
		r.pictures = pictureHashes(c.GetVcard())
	}
	r.config = c
}

// repaint shows everybody a picture that is not that of the configuration
// before. Who entered since may have seen it.
func (r *live) repaint(old *command.RoomConfig) {
	if bytes.Equal(r.config.GetVcard(), old.GetVcard()) || first(pictureHashes(old.GetVcard())) == first(r.pictures) {
		return
	}
	for _, v := range r.visits {
		r.paint(v)
	}
}

// paint shows a device the hash of the room's picture, in a presence of the room
// itself: clients that do not ask service discovery for it look there
// (XEP-0486 §presence @0.1.0). Of none the hash is empty.
func (r *live) paint(v *visit) {
	x := xmlstream.New(stanza.NSVCardUpdate, "x").Add(xmlstream.NewText(stanza.NSVCardUpdate, "photo", first(r.pictures)))
	out := route.Serialise(xmlstream.New(stanza.NSClient, "presence", "from", r.jid.String()).Add(x))
	out.To = v.to
	r.hand(v, out)
}
