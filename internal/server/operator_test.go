// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"time"

	"bavard/internal/account"
	"bavard/internal/admin"
	"bavard/internal/state"
)

// admin does what the operator would.
func (c *conversation) admin(args []string) {
	c.t.Helper()
	ctx, b := context.Background(), c.s.running.Admin
	var err error
	switch what, who := args[0], args[1]; what {
	case "enable", "disable":
		_, err = b.SetEnabled(ctx, who, what == "enable")
	case "delete":
		_, err = b.DeleteUser(ctx, who)
	case "add":
		_, err = b.AddUser(ctx, userNamed(who))
	case "passwd":
		_, err = b.SetPassword(ctx, who, "another password")
	case "invite":
		err = c.invite(who, args[2])
	case "revoke":
		_, err = b.RevokeInvite(ctx, state.InviteID(account.HashToken(c.fill(who))))
	default:
		err = fmt.Errorf("no such step: admin %s", what)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// invite makes an invite to a room, for one, and has its token under the room's
// name.
func (c *conversation) invite(room, expires string) error {
	ttl, err := time.ParseDuration(expires)
	if err != nil {
		return err
	}
	made, err := c.s.running.Admin.NewInvites(context.Background(), admin.InviteOptions{Count: 1, Uses: 1, Expires: ttl, Room: room})
	if err == nil {
		c.values["{"+room+"}"] = made[0].Token
	}
	return err
}
