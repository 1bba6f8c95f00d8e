// SPDX-License-Identifier: Apache-2.0

package drill

import (
	"context"
	"errors"
	"testing"
	"time"

	"bavard/drill/client"
	"bavard/internal/stanza"
)

// TestReturning: who reads an archive comes back after the server was killed, and asks again; what the server answers, also
// that it will not, is taken as it is.
func TestReturning(t *testing.T) {
	t.Parallel()
	cfg := ready(t, KillConfig{Group: -1})
	cfg.defaults()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	d := newKilling(cfg)
	if err := d.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { d.node.Kill() }()
	r := &returning{config: client.Config{JID: d.devices[0].account, Password: d.password, Resource: "reader", Addr: d.options.C2S}}
	defer r.cut()
	for range 2 {
		if page, err := r.page(ctx, client.Query{Max: 10}); err != nil || !page.Complete {
			t.Fatalf("%+v, %v", page, err)
		}
		var refused *stanza.Error
		if _, err := r.page(ctx, client.Query{After: "nothing", Max: 10}); !errors.As(err, &refused) || refused.Condition != stanza.ItemNotFound {
			t.Fatal(err)
		}
		if err := d.restart(ctx, 0); err != nil {
			t.Fatal(err)
		}
	}
}
