// SPDX-License-Identifier: Apache-2.0

package vcard

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/png"
	"strings"
	"testing"

	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

func drawn(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 5, 7))); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func TestPicture(t *testing.T) {
	img := drawn(t)
	none := func() string { return "none" }
	for _, c := range []struct {
		name, photos string
		id           string // of the picture; "": it is not taken out
		kept         bool
	}{
		{"no photo", "", "none", false},
		{"an empty one", "<PHOTO/>", "none", false},
		{"an empty BINVAL", "<PHOTO><TYPE>image/png</TYPE><BINVAL/></PHOTO>", "none", false},
		{"an address", "<PHOTO><EXTVAL>https://example.org/me.png</EXTVAL></PHOTO>", "", true},
		{"garbage", "<PHOTO><BINVAL>*</BINVAL></PHOTO>", "", true},
		{"no image", "<PHOTO><BINVAL>AAAA</BINVAL></PHOTO>", "", true},
		{"an image", "<PHOTO><TYPE>image/gif</TYPE><BINVAL>" + img[:8] + "\n  " + img[8:] + "</BINVAL></PHOTO>", "image/png", false},
		{"an image after another", "<PHOTO><BINVAL>*</BINVAL></PHOTO><PHOTO><BINVAL>" + img + "</BINVAL></PHOTO>", "image/png", false},
		{"too large an image", "<PHOTO><BINVAL>" + base64.StdEncoding.EncodeToString([]byte("GIF89a"+strings.Repeat("x", state.PubsubPayload))) + "</BINVAL></PHOTO>", "", true},
	} {
		e, err := xmlstream.ParseElement([]byte("<vCard xmlns='vcard-temp'><FN>A</FN>"+c.photos+"</vCard>"), xmlstream.Limits{MaxBytes: 1 << 20, MaxDepth: 9, MaxNodes: 99, MaxAttrs: 9, MaxName: 99})
		if err != nil {
			t.Fatal(err)
		}
		p := picture(e, none)
		switch {
		case c.id == "" && p != nil, c.id != "" && p == nil, c.id == "none" && (p.Id != "none" || p.Base64 != ""):
			t.Errorf("%s: %v", c.name, p)
		case c.id == "image/png" && (p.Type != c.id || p.Base64 != img || p.Width != 5 || p.Height != 7 || len(p.Id) != 40):
			t.Errorf("%s: %v", c.name, p)
		}
		rest := string(xmlstream.AppendElement(nil, e, ""))
		if strings.Contains(rest, "PHOTO") != c.kept || !strings.Contains(rest, "<FN>A</FN>") {
			t.Errorf("%s: the vCard is now %.200s", c.name, rest)
		}
	}
}

// A picture finds its place in any vCard, and comes out again.
func TestInto(t *testing.T) {
	a := state.Avatar{Type: "image/png", Base64: drawn(t)}
	const photo = "<PHOTO><TYPE>image/png</TYPE><BINVAL>"
	for vcard, rest := range map[string]string{
		"":                            "",
		"<vCard xmlns='vcard-temp'/>": "",
		"<vCard xmlns='vcard-temp'><FN>A</FN></vCard>":                                         "<FN>A</FN>",
		"<vCard xmlns='vcard-temp' version='2.0'><HOME/></vCard>":                              "<HOME/>",
		"<vCard xmlns='vcard-temp'><PHOTO><BINVAL>*</BINVAL></PHOTO></vCard>":                  "",
		"<vCard xmlns='vcard-temp'><PHOTO/><FN>&lt;PHOTO</FN><PHOTO>x</PHOTO><N>y</N></vCard>": "<FN>&lt;PHOTO</FN><N>y</N>",
	} {
		got := a.Into([]byte(vcard))
		e, err := xmlstream.ParseElement(got, xmlstream.AfterAuth)
		if err != nil || !strings.HasSuffix(string(got), rest+photo+a.Base64+"</BINVAL></PHOTO></vCard>") {
			t.Errorf("%s: %s, %v", vcard, got, err)
			continue
		}
		if p := picture(e, func() string { return "" }); p.GetBase64() != a.Base64 {
			t.Errorf("%s: came out as %v", vcard, p)
		}
	}
}

func FuzzPicture(f *testing.F) {
	f.Add("<PHOTO><BINVAL>" + drawn(f) + "</BINVAL></PHOTO>")
	f.Add("<PHOTO><EXTVAL>x</EXTVAL></PHOTO><PHOTO/>")
	f.Fuzz(func(t *testing.T, inner string) {
		e, err := xmlstream.ParseElement([]byte("<vCard xmlns='vcard-temp'>"+inner+"</vCard>"), xmlstream.AfterAuth)
		if err != nil {
			return
		}
		p := picture(e, func() string { return "none" })
		if p.GetBase64() == "" {
			return
		}
		again, err := xmlstream.ParseElement((&state.Avatar{Type: p.Type, Base64: p.Base64}).Into(xmlstream.AppendElement(nil, e, "")), xmlstream.AfterAuth)
		if err != nil {
			t.Fatal(err)
		}
		if q := picture(again, nil); q.GetId() != p.Id {
			t.Fatalf("%v became %v", p, q)
		}
	})
}
