// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"
)

// notify tells systemd, when it started the process (sd_notify(3)).
func notify(ctx context.Context, what string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unixgram", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(what))
	return err
}

// notifiesPerWatch is how often systemd is told in the time after which it takes a process that is silent for hung.
const notifiesPerWatch = 4

// notifyAlive tells systemd that the process works, until ctx ends, if it wants to know (sd_watchdog_enabled(3)).
// One that hangs as a whole is ended and started again. What it cannot store it knows by itself, and says so to its people.
func notifyAlive(ctx context.Context) {
	most, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || most < notifiesPerWatch || most > int64(24*time.Hour/time.Microsecond) {
		return
	}
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return // it asks another process
	}
	tick := time.NewTicker(time.Duration(most) * time.Microsecond / notifiesPerWatch)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = notify(ctx, "WATCHDOG=1") // if it is lost the next one counts
		case <-ctx.Done():
			return
		}
	}
}
