// SPDX-License-Identifier: Apache-2.0

package upload

import "bytes"

// inert reports whether a browser may show a file of this type by itself: images,
// sound and films, if it begins like one of them. SVG, which can act, is none.
func inert(typ string, head []byte) bool {
	begins := func(s string) bool { return bytes.HasPrefix(head, []byte(s)) }
	at := func(i int, s string) bool { return len(head) >= i && bytes.HasPrefix(head[i:], []byte(s)) }
	riff := func(s string) bool { return begins("RIFF") && at(8, s) }
	film := at(4, "ftyp") // ISO base media
	switch typ {
	case "image/jpeg":
		return begins("\xff\xd8\xff")
	case "image/png":
		return begins("\x89PNG\r\n\x1a\n")
	case "image/gif":
		return begins("GIF87a") || begins("GIF89a")
	case "image/webp":
		return riff("WEBP")
	case "image/avif":
		return film && (at(8, "avif") || at(8, "avis") || at(8, "mif1") || at(8, "msf1"))
	case "video/mp4", "video/quicktime", "video/3gpp", "video/3gpp2", "audio/mp4", "audio/x-m4a", "audio/3gpp":
		return film
	case "video/webm", "audio/webm":
		return begins("\x1a\x45\xdf\xa3")
	case "audio/ogg", "video/ogg", "audio/opus":
		return begins("OggS")
	case "audio/flac", "audio/x-flac":
		return begins("fLaC")
	case "audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave":
		return riff("WAVE")
	case "audio/aac":
		return len(head) > 1 && head[0] == 0xff && head[1]&0xf6 == 0xf0 || begins("ADIF")
	case "audio/mpeg", "audio/mp3":
		return begins("ID3") || len(head) > 1 && head[0] == 0xff && head[1]&0xe0 == 0xe0
	}
	return false
}
