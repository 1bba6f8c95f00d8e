// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bavard/internal/datadir"
)

// renewBefore is how long before its end a certificate should have been
// renewed at the latest; a short one at a sixth of its life.
const renewBefore = 14 * 24 * time.Hour

// certificate looks at the files, configured or obtained by ACME.
func (e *examination) certificate() {
	const about = "certificate"
	c := e.Config.TLS
	if c.ACME.Directory != "" {
		e.acme()
		return
	}
	if c.Certificate == "" || c.Key == "" {
		if Public(e.Config.Domain) {
			e.add(Warning, about, "set tls.acme, or tls.certificate and tls.key",
				"self-made: every client has to be told to trust %s", filepath.Join(e.Config.Data, "tls", "ca.crt"))
		} else {
			e.add(OK, about, "", "self-made, for trying things out")
		}
		return
	}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.add(Unchecked, about, "run this as root or as the server's user", "%v", err)
		return
	case errors.Is(err, fs.ErrNotExist):
		e.add(Problem, about, "correct tls.certificate and tls.key, or have it issued", "%v", err)
		return
	case err != nil:
		e.add(Problem, about, "both files have to be PEM and of the same issue", "%s and %s do not go together: %s",
			c.Certificate, c.Key, strings.TrimPrefix(err.Error(), "tls: "))
		return
	}
	e.readable(c.Key)
	e.chain(about, pair.Certificate)
}

// acme looks at what the server has obtained.
func (e *examination) acme() {
	const about = "certificate"
	directory := e.Config.TLS.ACME.Directory
	dir, err := datadir.ACMEDir(filepath.Join(e.Config.Data, "tls"), directory)
	if err != nil {
		e.add(Problem, about, "correct tls.acme.directory", "%v", err)
		return
	}
	file := filepath.Join(dir, datadir.ACMECertificate)
	pair, err := tls.LoadX509KeyPair(file, file)
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.add(Unchecked, about, "run this as root or as the server's user", "%v", err)
	case errors.Is(err, fs.ErrNotExist) && e.running:
		e.add(Problem, about, "`bavard status` says what hinders it", "%s has not issued one yet", directory)
	case errors.Is(err, fs.ErrNotExist):
		e.add(OK, about, "", "%s will be asked for one when the server runs", directory)
	case err != nil:
		e.add(Problem, about, "remove it and start the server: it obtains another", "%s: %s", file, strings.TrimPrefix(err.Error(), "tls: "))
	default:
		e.readable(file)
		e.chain(about, pair.Certificate)
	}
}

// chain judges a chain of certificates as a client of the domain would; the
// first is the server's own.
func (e *examination) chain(about string, raw [][]byte) {
	var all []*x509.Certificate
	for _, der := range raw {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			e.add(Problem, about, "have it issued anew", "it cannot be read: %v", err)
			return
		}
		all = append(all, c)
	}
	leaf, between, now := all[0], x509.NewCertPool(), e.Now()
	for _, c := range all[1:] {
		between.AddCert(c)
	}
	left := leaf.NotAfter.Sub(now)
	until := leaf.NotAfter.Format("2 January 2006")
	good := true
	bad := func(level Level, hint, format string, args ...any) {
		good = false
		e.add(level, about, hint, format, args...)
	}
	if err := leaf.VerifyHostname(e.Config.Domain); err != nil {
		bad(Problem, "have one issued that names "+e.Config.Domain, "it is for %s, not for %s", strings.Join(leaf.DNSNames, ", "), e.Config.Domain)
	}
	switch {
	case left <= 0:
		bad(Problem, "renew it", "it ended on %s", until)
	case now.Before(leaf.NotBefore):
		bad(Problem, "look at the clock", "it begins on %s", leaf.NotBefore.Format("2 January 2006"))
	case left < min(renewBefore, leaf.NotAfter.Sub(leaf.NotBefore)/6):
		bad(Warning, "renew it: see why that has not happened by itself", "it ends on %s", until)
	}
	// Time and names have been judged.
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: e.Roots, Intermediates: between, CurrentTime: leaf.NotBefore.Add(time.Second),
	})
	if err != nil {
		hint := "tls.certificate has to hold the whole chain (fullchain.pem, not cert.pem)"
		if len(all) > 1 {
			hint = "have it issued by an authority that devices know, or tell them to trust it"
		}
		bad(Problem, hint, "clients will not trust it: %s", strings.TrimPrefix(err.Error(), "x509: "))
	}
	if good {
		e.add(OK, about, "", "for %s, by %s, until %s", strings.Join(leaf.DNSNames, ", "), leaf.Issuer.CommonName, until)
	}
}

// readable looks whether the user of the data can read a file, when that is
// not who runs this, and whether everybody can.
func (e *examination) readable(file string) {
	info, err := os.Stat(file)
	if err != nil {
		return // it was read just now
	}
	if info.Mode().Perm()&0o004 != 0 {
		e.add(Warning, "certificate", "chmod o-r "+file, "everybody on this machine can read the key %s", file)
	}
	dir, err := os.Stat(e.Config.Data)
	if err != nil || os.Geteuid() != 0 {
		return
	}
	uid := ownerOf(dir)
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil || uid == 0 {
		return
	}
	groups, _ := u.GroupIds() // none: then only the user's own rights count
	if where, ok := may(file, uid, groups); !ok {
		e.add(Problem, "certificate", "allow it, or have the renewer copy both files to where "+u.Username+" can read them", "%s cannot read %s: see the mode of %s", u.Username, file, where)
	}
}

// may reports whether a user can read a file by the modes of it and of the
// directories above; if not, where it ends.
func may(file string, uid int, groups []string) (where string, ok bool) {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return file, false
	}
	for want := uint32(4); ; want = 1 {
		info, err := os.Stat(path)
		if err != nil {
			return path, false
		}
		stat, known := info.Sys().(*syscall.Stat_t)
		if !known {
			return "", true
		}
		mode := uint32(info.Mode().Perm())
		switch {
		case int(stat.Uid) == uid:
			mode >>= 6
		case slices.Contains(groups, strconv.Itoa(int(stat.Gid))):
			mode >>= 3
		}
		if mode&want == 0 {
			return path, false
		}
		up := filepath.Dir(path)
		if up == path {
			return "", true
		}
		path = up
	}
}
