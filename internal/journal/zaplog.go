// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// etcd repeats some messages without pause: of each, sameMessages are passed on
	// in sameWithin.
	sameMessages = 3
	sameWithin   = 10 * time.Second
)

// zapTo gives etcd a logger that hands warnings and worse to log. before is called
// where etcd ends the process, and may keep it from doing so by not returning.
func zapTo(log *slog.Logger, before func(cause string, fields []zapcore.Field)) *zap.Logger {
	core := zapcore.NewSamplerWithOptions(&slogCore{log: log.With("part", "etcd")}, sameWithin, sameMessages, 0)
	return zap.New(core, zap.ErrorOutput(zapcore.AddSync(discard{})),
		zap.WithFatalHook(lastWords{log, before, zapcore.WriteThenFatal}), zap.WithPanicHook(lastWords{log, before, zapcore.WriteThenPanic}))
}

// lastWords says why the process ends when etcd ends it, as it does when its log
// or its database cannot be written: what is in memory may then differ from what
// is on the disk, so that going on is not safe.
type lastWords struct {
	log    *slog.Logger
	before func(cause string, fields []zapcore.Field)
	then   zapcore.CheckWriteHook
}

func (l lastWords) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	l.before(e.Message, fields)
	l.log.Error("journal: etcd cannot go on and ends this process; what was acknowledged is on disk. "+
		"Its supervisor starts it again; look at the disk: if it is full, make room",
		append(attrs(fields), "cause", e.Message)...)
	l.then.OnWrite(e, fields)
}

// noMatter keeps nothing from ending.
func noMatter(string, []zapcore.Field) {}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// slogCore is a zapcore.Core over a slog.Logger.
type slogCore struct{ log *slog.Logger }

// expected tells messages that describe how the journal runs etcd on purpose, or
// that each start may bring: they are of no use to who runs a server.
func expected(message string) bool {
	for _, known := range []string{
		"Running http and grpc server on single port",  // it runs neither
		"simple token is not cryptographically signed", // nobody logs in
		// About upgrades of etcd; they end with the first entries of a new log.
		"Failed to detect schema version",
		"Failed to detect storage schema version",
		"failed to update storage version",
		// While a restarted member applies its log; etcd tries again by itself.
		"failed to publish local member to cluster through raft",
		"stopped publish because server is stopping",
		"cannot campaign at term",
	} {
		if strings.Contains(message, known) {
			return true
		}
	}
	return false
}

func (c *slogCore) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{log: c.log.With(attrs(fields)...)}
}

func (c *slogCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(e.Level) {
		return checked
	}
	return checked.AddCore(e, c)
}

// closing tells that an error is a listener's that was closed on purpose.
func closing(fields []zapcore.Field) bool {
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && errors.Is(err, net.ErrClosed) {
			return true
		}
	}
	return false
}

func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelWarn
	if e.Level >= zapcore.ErrorLevel {
		level = slog.LevelError
	}
	if expected(e.Message) || closing(fields) {
		level = slog.LevelDebug
	}
	c.log.Log(context.Background(), level, "etcd: "+e.Message, attrs(fields)...)
	return nil
}

func (c *slogCore) Sync() error { return nil }

func attrs(fields []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make([]any, 0, len(enc.Fields))
	for _, f := range fields {
		if v, ok := enc.Fields[f.Key]; ok {
			out = append(out, slog.Any(f.Key, v))
		}
	}
	return out
}
