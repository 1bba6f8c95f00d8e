// SPDX-License-Identifier: Apache-2.0

package health

import (
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// maxLogValue bounds a value in the log, in bytes: what a client sent must not
// fill the disk.
const maxLogValue = 1024

// connKey is the attribute that ties the lines of one connection together.
const connKey = "conn"

// NewLogger makes a logger: level is debug, info, warn or error; format is text
// or json. Whatever it is given, it writes no stanza, no bytes and no
// secret: attributes are let through by kind and by name.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: use debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l, ReplaceAttr: redact}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("log format %q: use text or json", format)
}

// Conn gives a logger whose lines carry the number of a connection.
func Conn(l *slog.Logger, id uint64) *slog.Logger { return l.With(connKey, id) }

// redact replaces what must not be logged.
func redact(_ []string, a slog.Attr) slog.Attr {
	if secret(a.Key) {
		return slog.String(a.Key, "[redacted]")
	}
	switch a.Value.Kind() {
	case slog.KindString:
		return slog.String(a.Key, bounded(a.Value.String()))
	case slog.KindAny:
		return redactAny(a)
	default:
		return a
	}
}

// redactAny lets through errors and values that have a text of their own, but
// nothing whose fields fmt would print: stanzas, commands, bytes.
func redactAny(a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case nil, time.Time, time.Duration, slog.Level, []string, *slog.Source:
		return a
	case error:
		return slog.String(a.Key, bounded(v.Error()))
	case []byte:
		return slog.String(a.Key, fmt.Sprintf("[%d bytes]", len(v)))
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			return slog.String(a.Key, fmt.Sprintf("[%T]", v))
		}
		return slog.String(a.Key, bounded(string(text)))
	case interface {
		Network() string
		String() string
	}:
		return slog.String(a.Key, bounded(v.String())) // net.Addr
	default:
		return slog.String(a.Key, fmt.Sprintf("[%T]", v))
	}
}

// secret reports whether an attribute of that name is never written.
func secret(key string) bool {
	key = strings.ToLower(key)
	for _, s := range [...]string{"password", "passwd", "token", "secret", "credential", "cookie", "authorization", "body", "payload", "stanza", "private"} {
		if strings.Contains(key, s) {
			return true
		}
	}
	return false
}

func bounded(s string) string {
	if len(s) <= maxLogValue {
		return s
	}
	return strings.ToValidUTF8(s[:maxLogValue], "") + "…"
}
