// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
	"bavard/drill/disk"
	"bavard/drill/node"
	"bavard/drill/oracle"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// Sizes of the full disk drill, in bytes.
const (
	diskBytes = 1600 << 20 // above what is kept free of files, 1,024 MiB
	// belowMark leaves room, but less than journal.min_free_mib.
	belowMark = 300 << 20
	// aboveMark is more than that, and less than what ends a refusal.
	aboveMark = 540 << 20
)

// Full lets people chat and put files while the disk of the data directory fills up: first
// below the server's own mark, then to the last byte, and each time is made empty again.
// cfg.Kills is not used. A server that ends by itself is started again, as a
// supervisor does.
func Full(ctx context.Context, cfg KillConfig, d *disk.Disk) (*Report, error) {
	cfg.defaults()
	cfg.Group = -1 // none
	f := &filling{disk: d, killing: newKilling(cfg)}
	f.uploads = newUploading(f.killing)
	f.uploads.small() // they must not fill the disk themselves
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := f.prepare(ctx); err != nil {
		return nil, err
	}
	defer func() { f.node.Kill() }()
	err := f.run(ctx)
	f.report.Server = f.tail.String()
	f.report.Trouble = f.tail.Trouble()
	f.report.Files = &f.uploads.found
	if err != nil {
		return &f.report, failed(cfg.Seed, err, f.tail.String())
	}
	return &f.report, nil
}

// filling is a full disk drill under way.
type filling struct {
	*killing
	uploads  *uploading
	disk     *disk.Disk
	restarts int // the server ended by itself
}

func (f *filling) run(ctx context.Context) error {
	stop := f.uploads.begin(ctx)
	defer stop()
	return f.carryOut(ctx, f.disturb, func(ctx context.Context) error {
		stop()
		f.kill()
		if err := f.start(ctx); err != nil {
			return err
		}
		if err := f.admitted(ctx, time.Now(), false); err != nil {
			return err
		}
		return f.uploads.lookAtFiles(ctx, f.options.Data)
	}, func(ctx context.Context) error { return f.node.Stop(ctx) })
}

func (f *filling) disturb(ctx context.Context) error {
	if err := f.flows(ctx); err != nil {
		return err
	}
	for _, way := range []way{{leave: belowMark}, {leave: aboveMark, held: true}, {}, {killed: true}, {}, {killed: true}} {
		if err := f.fill(ctx, way); err != nil {
			return fmt.Errorf("with %d MiB left: %w", way.leave>>20, err)
		}
	}
	return nil
}

// way in which the disk becomes full.
type way struct {
	leave  int64 // bytes
	killed bool  // the server is killed on the full disk, and has to start there
	held   bool  // before the server refuses anything etcd finds that it cannot write
}

// fill fills the disk, looks at what people and the operator see, and empties it.
func (f *filling) fill(ctx context.Context, w way) error {
	before, files := f.refused(), f.uploads.refused()
	if err := f.disk.Fill(w.leave); err != nil {
		return err
	}
	snapshots := filepath.Join(f.options.Data, "journal", "etcd", "member", "snap")
	if w.held {
		if err := f.disk.Shadow(snapshots); err != nil {
			return err
		}
	}
	f.cfg.Logger.Info("the disk is full", "left", w.leave>>20, "ticked", f.log.Ticked())
	if w.killed {
		f.kill()
		if err := f.start(ctx); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"a message is refused", func(context.Context) error {
			if f.refused() == before {
				return errors.New("none yet")
			}
			return nil
		}},
		{"a file is refused", func(context.Context) error {
			if f.uploads.refused() == files {
				return errors.New("none yet")
			}
			return nil
		}},
		{"the operator is warned", func(ctx context.Context) error { return f.warned(ctx, true) }},
		{"people log in and read", f.read},
	} {
		if err := f.eventually(ctx, step.do); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	if w.held {
		if err := f.disk.Unshadow(snapshots); err != nil {
			return err
		}
	}
	if w.leave == 0 {
		// Whoever fills the disk takes what the server has given up, too.
		if err := f.disk.Fill(0); err != nil {
			return err
		}
	}
	if err := f.disk.Empty(); err != nil {
		return err
	}
	f.cfg.Logger.Info("there is room again", "refused", f.refused(), "restarts", f.restarts)
	if err := f.flows(ctx); err != nil {
		return err
	}
	if said := f.tail.String(); w.held && !strings.Contains(said, "etcd cannot write on the full disk") {
		return errors.New("etcd was not held until there was room")
	}
	return f.eventually(ctx, func(ctx context.Context) error { return f.warned(ctx, false) })
}

// eventually waits for a condition and starts the server again when it has ended
// by itself.
func (f *filling) eventually(ctx context.Context, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	return await.UntilEvery(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		select {
		case <-f.node.Exited():
			f.restarts++
			if err := f.start(ctx); err != nil {
				return err
			}
			return errors.New("the server had ended and is started again")
		default:
		}
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		return condition(ctx)
	})
}

func (f *filling) start(context.Context) (err error) {
	f.node, err = node.Start(f.options)
	return err
}

// flows waits until messages are ticked.
func (f *filling) flows(ctx context.Context) error {
	if err := f.eventually(ctx, f.ticks(500)); err != nil {
		return fmt.Errorf("messages flow: %w", err)
	}
	if err := f.eventually(ctx, f.uploads.more(5)); err != nil {
		return fmt.Errorf("files flow: %w", err)
	}
	return nil
}

func (f *filling) refused() (n int) {
	for _, m := range f.log.History().Messages {
		if m.Outcome == oracle.Refused {
			n++
		}
	}
	return n
}

// warned looks at everything that an operator looks at.
func (f *filling) warned(ctx context.Context, full bool) error {
	const warning = "journal-full"
	ready, err := get(ctx, http.DefaultTransport, "http://"+f.options.HTTP+"/readyz")
	if err != nil {
		return err
	}
	metrics, err := f.metrics(ctx)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, f.options.Binary, "status", "--json", "--data", f.options.Data).Output()
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	var status struct {
		Warnings []struct {
			ID string `json:"id"`
		} `json:"warnings"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return err
	}
	inStatus := slices.ContainsFunc(status.Warnings, func(w struct {
		ID string `json:"id"`
	},
	) bool {
		return w.ID == warning
	})
	value := "0"
	if full {
		value = "1"
	}
	switch {
	case !strings.HasPrefix(ready, "ready\n"):
		return fmt.Errorf("/readyz says %q", ready)
	case strings.Contains(ready, "warning: "+warning+"\n") != full:
		return fmt.Errorf("/readyz says %q", ready)
	case inStatus != full:
		return fmt.Errorf("status says %s", out)
	case !strings.Contains(metrics, `bavard_warning{id="`+warning+`",severity="error"} `+value):
		return errors.New("/metrics says otherwise")
	}
	return nil
}

// read does what goes on while nothing new is stored: a login, the roster, the
// archive, typing notices.
func (f *filling) read(ctx context.Context) error {
	typing := make(chan struct{}, 1)
	dial := func(resource string, h client.Handler) (*client.Session, error) {
		return client.Dial(ctx, client.Config{JID: f.devices[0].account, Password: f.password, Resource: resource, Addr: f.options.C2S, Handler: h})
	}
	reader, err := dial("reads", client.Handler{Message: func(in *client.Inbound) {
		if in.Body == "" {
			select {
			case typing <- struct{}{}:
			default:
			}
		}
	}})
	if err != nil {
		return fmt.Errorf("login: %w", err)
	}
	defer reader.Cut()
	writer, err := dial("types", client.Handler{})
	if err != nil {
		return fmt.Errorf("second login: %w", err)
	}
	defer writer.Cut()
	page, err := reader.Archive(ctx, client.Query{Max: 50})
	if err != nil || len(page.Messages) == 0 {
		return fmt.Errorf("the archive: %v, %w", page, err)
	}
	roster := xmlstream.New(stanza.NSClient, "iq", "type", "get").Add(xmlstream.New(stanza.NSRoster, "query"))
	if _, err := reader.IQ(ctx, roster); err != nil {
		return fmt.Errorf("the roster: %w", err)
	}
	notice := xmlstream.New(stanza.NSClient, "message", "type", "chat", "to", reader.JID())
	if err := writer.SendStanza(ctx, notice.Add(xmlstream.New(stanza.NSChatStates, "composing"))); err != nil {
		return err
	}
	select {
	case <-typing:
		return nil
	case <-ctx.Done():
		return errors.New("a typing notice is not delivered")
	}
}
