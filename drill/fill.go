// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"bavard/drill/node"
	"bavard/internal/cell"
	"bavard/internal/command"
	"bavard/internal/datadir"
	"bavard/internal/journal"
	"bavard/internal/view"
)

// FillConfig describes a data directory with a history.
type FillConfig struct {
	// Binary is the server, Data its data directory, which no server uses.
	Binary, Data string
	// Accounts, at least 2, are user0, user1, … with Password; each next one is
	// the peer of the one before, and the first talks to half of all messages'
	// worth when Heavy is set.
	Accounts int
	Password string
	// Messages to archive, about 300 bytes each in the journal.
	Messages int
	// Heavy makes the first account a part of every conversation.
	Heavy bool
	Seed  uint64
}

// Fill makes the accounts and archives the messages in batches as large as the
// journal takes, without a server: tens of thousands of messages a second.
func Fill(ctx context.Context, cfg FillConfig) (err error) {
	users := make([]node.User, cfg.Accounts)
	for i := range users {
		users[i] = node.User{Local: fmt.Sprintf("user%d", i), Password: cfg.Password}
	}
	if err := node.Import(ctx, cfg.Binary, cfg.Data, users); err != nil {
		return err
	}
	dir, err := datadir.Open(cfg.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	log := slog.New(slog.DiscardHandler)
	j, err := journal.OpenEtcd(ctx, journal.Options{Name: "a", Dir: dir.Journal(), SpoolDir: dir.Spool(), Log: log})
	if err != nil {
		return err
	}
	c, err := cell.Open(ctx, cell.Options{Journal: j, ViewDir: dir.View(), Logger: log, View: view.Options{Domain: "localhost"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return cfg.fill(ctx, c)
}

func (cfg *FillConfig) fill(ctx context.Context, c *cell.Cell) error {
	var (
		all   sync.WaitGroup
		once  sync.Once
		first error
	)
	fail := func(err error) { once.Do(func() { first = err }) }
	random := generator(cfg.Seed, 1)
	body := make([]byte, 200)
	for n := range cfg.Messages {
		from, to := random.IntN(cfg.Accounts), random.IntN(cfg.Accounts)
		if cfg.Heavy {
			from, to = 0, 1+random.IntN(cfg.Accounts-1)
			if n%2 == 1 {
				from, to = to, from
			}
		}
		for i := range body { // words, not noise: it compresses as text does
			body[i] = "etaoin shrdlu"[random.IntN(13)]
		}
		m := &command.Message{
			From: fmt.Sprintf("user%d@localhost/phone", from), To: fmt.Sprintf("user%d@localhost", to),
			Type: command.MessageType_MESSAGE_TYPE_CHAT, Id: fmt.Sprint(n), OriginId: fmt.Sprintf("fill-%d", n),
			Payload: fmt.Appendf(nil, `<body xmlns="jabber:client">%s</body>`, body), Dedupe: fmt.Appendf(nil, "%04x%012x", random.IntN(1<<16), n),
		}
		all.Add(1)
		err := c.Submit(ctx, &command.Command{Request: &command.Command_Message{Message: m}}, func(o command.Outcome, err error) {
			defer all.Done()
			switch {
			case err != nil:
				fail(err)
			case o.Verdict != command.Accepted:
				fail(fmt.Errorf("message %d: verdict %v", n, o.Verdict))
			}
		})
		if err != nil {
			all.Done()
			fail(err)
			break
		}
	}
	all.Wait()
	return first
}
