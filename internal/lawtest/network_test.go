// SPDX-License-Identifier: Apache-2.0

package lawtest

import (
	"go/ast"
	"strings"
	"testing"
)

// What opens sockets, by import path: functions, methods' types, literals.
// immutable
var (
	listens = map[string]string{
		"net":                              "Listen ListenTCP ListenUnix ListenUDP ListenUnixgram ListenPacket ListenIP ListenMulticastUDP ListenConfig FileListener",
		"crypto/tls":                       "Listen",
		"net/http":                         "ListenAndServe ListenAndServeTLS",
		"google.golang.org/grpc":           "NewServer",
		"github.com/coreos/go-systemd/v22": "Listeners",
	}
	dials = map[string]string{
		"net":                          "Dial DialTimeout DialTCP DialUnix DialUDP DialIP Dialer Resolver LookupHost LookupAddr LookupIP LookupSRV LookupTXT LookupMX LookupCNAME",
		"crypto/tls":                   "Dial DialWithDialer Dialer",
		"net/http":                     "Get Head Post PostForm DefaultClient Client Transport DefaultTransport",
		"github.com/coder/websocket":   "Dial",
		"go.etcd.io/etcd/client/v3":    "New NewFromURL NewFromURLs",
		"google.golang.org/grpc":       "NewClient Dial DialContext",
		"os/exec":                      "Command CommandContext",
		"golang.org/x/net/proxy":       "Dial SOCKS5",
		"golang.org/x/net/websocket":   "Dial DialConfig",
		"github.com/gorilla/websocket": "Dialer DefaultDialer",
	}
)

// The table in docs/ARCHITECTURE.md names each package that opens a socket or
// runs a program, and none that does not.
func TestWhoMayListenAndDial(t *testing.T) {
	listening, dialling := map[string]string{}, map[string]string{}
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if f.uses(sel, listens) {
				listening[f.pkg] = f.at(sel)
			}
			if f.uses(sel, dials) {
				dialling[f.pkg] = f.at(sel)
			}
			return true
		})
	}
	mayListen, mayDial := table(t)
	compare(t, "listens", listening, mayListen)
	compare(t, "dials or runs programs", dialling, mayDial)
}

func (f *file) uses(sel *ast.SelectorExpr, calls map[string]string) bool {
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return false
	}
	for _, name := range strings.Fields(calls[f.imports[id.Name]]) {
		if sel.Sel.Name == name {
			return true
		}
	}
	return false
}

// table reads the rows "| `package` | listens | dials | why |" under the
// heading; an empty cell, "no" or "–" means not.
func table(t *testing.T) (listen, dial map[string]bool) {
	t.Helper()
	const heading = "## Who may listen and dial"
	_, section, ok := strings.Cut(read(t, "docs/ARCHITECTURE.md"), heading)
	if !ok {
		t.Fatalf("docs/ARCHITECTURE.md has no %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	listen, dial = map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 || !strings.Contains(cells[1], "`") {
			continue
		}
		pkg := strings.Trim(strings.TrimSpace(cells[1]), "`")
		does := func(cell string) bool {
			cell = strings.TrimSpace(cell)
			return cell != "" && cell != "no" && cell != "–" && cell != "-"
		}
		if does(cells[2]) {
			listen[pkg] = true
		}
		if does(cells[3]) {
			dial[pkg] = true
		}
	}
	return listen, dial
}

func compare(t *testing.T, what string, does map[string]string, may map[string]bool) {
	t.Helper()
	for pkg, at := range does {
		if !may[pkg] {
			t.Errorf("%s %s (%s): the table in docs/ARCHITECTURE.md does not allow it", pkg, what, at)
		}
	}
	for pkg := range may {
		if _, ok := does[pkg]; !ok {
			t.Errorf("the table in docs/ARCHITECTURE.md says that %s %s, but it does not", pkg, what)
		}
	}
}
