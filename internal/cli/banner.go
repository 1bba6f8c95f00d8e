// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rsc.io/qr"

	"bavard/internal/admin"
	"bavard/internal/config"
	"bavard/internal/server"
)

const (
	demoCircle  = "demo"
	demoExpires = 7 * 24 * time.Hour
)

// banner tells a person how to begin.
func (p *Program) banner(ctx context.Context, cfg config.Config, r server.Running, demo bool) error {
	status, err := r.Admin.Status(ctx)
	if err != nil {
		return err
	}
	var invites []admin.Invite
	if demo && status.Accounts == 0 {
		invites, err = r.Admin.NewInvites(ctx, admin.InviteOptions{
			Count: 2, Uses: 1, Expires: demoExpires, Circle: demoCircle,
		})
		if err != nil {
			return err
		}
	}
	var out strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&out, "  %-13s %s\n", label, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&out, "\nbavard %s serves %s\n\n", p.Version, cfg.Domain)
	line("App", "%s", status.App)
	for i, inv := range invites {
		if i == 0 {
			line("Try it", "%s", inv.Link)
			continue
		}
		line("", "%s", inv.Link)
		line("", "one link per person: open the second in a private window or another browser")
	}
	self := p.self(cfg)
	if status.Accounts == 0 && len(invites) == 0 {
		line("Begin", "%s invite   makes a link for the first account", self)
	} else {
		line("More people", "%s invite", self)
	}
	clients(line, cfg, r, self)
	if cfg.Cell.Several() {
		line("Node", "%s of %s", cfg.Cell.Node, strings.Join(cfg.Cell.Names(), ", "))
	}
	path, err := filepath.Abs(cfg.Data)
	if err != nil {
		path = cfg.Data
	}
	line("Data", "%s", path)
	line("Stop", "Ctrl-C; it goes on where it was when it is started again")
	out.WriteByte('\n')
	if len(invites) > 0 && trusted(cfg, r, status.App) && isTerminal(p.Stdout) {
		if err := writeQR(&out, invites[0].Link); err != nil {
			return err
		}
	}
	_, err = p.Stdout.WriteString(out.String())
	return err
}

// clients says how to connect an XMPP client.
func clients(line func(string, string, ...any), cfg config.Config, r server.Running, self string) {
	var ways []string
	for _, w := range []struct{ address, what string }{
		{r.Addresses.C2S, "STARTTLS"},
		{r.Addresses.C2STLS, "direct TLS"},
	} {
		if w.address == "" {
			continue
		}
		host, port, err := net.SplitHostPort(w.address)
		if err != nil {
			continue
		}
		if config.Loopback(w.address) {
			ways = append(ways, fmt.Sprintf("%s port %s (%s)", host, port, w.what))
		} else {
			ways = append(ways, fmt.Sprintf("port %s (%s)", port, w.what))
		}
	}
	if len(ways) == 0 {
		return
	}
	line("XMPP clients", "%s", strings.Join(ways, ", or "))
	line("", "%s user add alice   makes alice@%s", self, cfg.Domain)
	if r.CA != "" {
		line("", "they have to trust %s", r.CA)
	}
}

// self is how this program is called for the same data.
func (p *Program) self(cfg config.Config) string {
	name := "bavard"
	if strings.ContainsRune(os.Args[0], filepath.Separator) {
		name = os.Args[0] // not in PATH
	}
	if cfg.Data == config.Default().Data {
		return name
	}
	return name + " --data " + cfg.Data
}

// trusted reports whether phones will open the app's address without a
// warning: by https with a certificate that is not self-made, or through a
// proxy.
func trusted(cfg config.Config, r server.Running, app string) bool {
	return strings.HasPrefix(app, "https://") && (r.CA == "" || cfg.Listen.BehindProxy)
}

// writeQR draws text as a QR code in half blocks, dark on light whatever the
// terminal's colours are, with the quiet zone of 4 modules (ISO/IEC 18004).
func writeQR(out *strings.Builder, text string) error {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return fmt.Errorf("QR code: %w", err)
	}
	const quiet = 4
	for y := -quiet; y < code.Size+quiet; y += 2 {
		out.WriteString("  \x1b[30;107m")
		for x := -quiet; x < code.Size+quiet; x++ {
			switch up, down := code.Black(x, y), code.Black(x, y+1); {
			case up && down:
				out.WriteRune('█')
			case up:
				out.WriteRune('▀')
			case down:
				out.WriteRune('▄')
			default:
				out.WriteByte(' ')
			}
		}
		out.WriteString("\x1b[0m\n")
	}
	out.WriteByte('\n')
	return nil
}
