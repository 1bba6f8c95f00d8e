// SPDX-License-Identifier: Apache-2.0

package charter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bavard/internal/datadir"
)

// Files in the directory of a member, which is "cell" in the data directory.
const (
	memberFile      = "node.json"
	certificateFile = "node.crt"
	keyFile         = "node.key"
	authorityFile   = "ca.crt"
	// newFile is there until the node has begun: with it the node may start
	// without data.
	newFile = "new"
)

const memberFormat = 1

// Member is what a data directory says about its node.
type Member struct {
	Format int      `json:"format"`
	Cell   string   `json:"cell"`
	Domain string   `json:"domain"`
	Node   string   `json:"node"`
	Nodes  []string `json:"nodes"`

	dir string
}

// Errors of members.
var (
	// ErrNoMember: the data directory is not that of a node of several.
	ErrNoMember = errors.New("this data directory is not that of a node of a cell")
	// ErrUsed: there is something in the data directory already.
	ErrUsed = errors.New("the data directory is in use already")
	// ErrOtherServer: the data directory is not that of the server that the bundle makes a node.
	ErrOtherServer = errors.New("the bundle makes another server the first node of a cell")
	// ErrOver: the bundle's time is over.
	ErrOver = errors.New("the bundle cannot be used any more")
)

// Join makes the data directory at data, which is locked by the caller, that of the bundle's node, which
// begins. There must be nothing in it yet, unless the node is the bundle's First: then it has to be that of the
// server for which the bundle was made. What is written last is what makes it one, so an attempt that was cut
// short can be repeated.
func Join(data string, b *Bundle, now time.Time) error {
	if now.After(b.Until) {
		return fmt.Errorf("%w: its time was over on %s; make the cell's bundles anew", ErrOver, b.Until.Format(time.DateOnly))
	}
	switch b.First {
	case "":
		return joinEmpty(data, b, []file{{"cell/" + newFile, []byte("\n")}})
	case b.Node:
		return joinServer(data, b)
	}
	return joinEmpty(data, b, nil) // the others let it in
}

// JoinAgain is Join for a node that has been in the cell before and has lost its data
// directory: it does not begin, but has to be let in by the others, so it matters not how
// old the bundle is.
func JoinAgain(data string, b *Bundle) error { return joinEmpty(data, b, nil) }

type file struct {
	path string
	text []byte
}

// joinEmpty is for a directory in which there is nothing yet.
func joinEmpty(data string, b *Bundle, more []file) error {
	for _, taken := range []string{"cell/" + memberFile, "journal", "view", "spool"} {
		if err := free(data, taken, "A node begins with an empty one; one server becomes the first node of a cell by `bavard cell init --first`"); err != nil {
			return err
		}
	}
	if b.Epoch > 0 {
		more = append(more, file{datadir.EpochName, []byte(datadir.EpochText(b.Epoch))})
	}
	for _, path := range Common() {
		more = append(more, file{path, b.common[path]})
	}
	return join(data, b, more)
}

// joinServer is for the directory of one server, which keeps what it has.
func joinServer(data string, b *Bundle) error {
	if err := free(data, "cell/"+memberFile, "It is that of a node already"); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(data, "journal", "owner")); err != nil {
		return fmt.Errorf("%w: %s has no journal: start the server on it once, alone: %w", ErrOtherServer, data, err)
	}
	var missing []file
	for _, path := range Common() {
		text, err := os.ReadFile(filepath.Join(data, filepath.FromSlash(path)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, file{path, b.common[path]})
		case err != nil:
			return fmt.Errorf("join a cell: %w", err)
		case !bytes.Equal(text, b.common[path]):
			return fmt.Errorf("%w: %s is not what it was when the bundle was made, or that was for another server: make the bundles anew, with --data of this one", ErrOtherServer, path)
		}
	}
	return join(data, b, missing)
}

// free errs when there is something at a path in the data directory.
func free(data, path, hint string) error {
	taken := filepath.Join(data, filepath.FromSlash(path))
	if _, err := os.Lstat(taken); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%w: there is %s. %s", ErrUsed, taken, hint), err)
	}
	return nil
}

// join writes the certificates, more, and last which node it is.
func join(data string, b *Bundle, more []file) error {
	text, err := json.MarshalIndent(Member{Format: memberFormat, Cell: b.Cell, Domain: b.Domain, Node: b.Node, Nodes: b.Nodes}, "", "  ")
	if err != nil {
		return fmt.Errorf("join a cell: %w", err)
	}
	files := []file{
		{"cell/" + authorityFile, encodePEM(kindCertificate, b.authority)},
		{"cell/" + certificateFile, encodePEM(kindCertificate, b.certificate)},
		{"cell/" + keyFile, encodePEM(kindKey, b.key)},
	}
	for _, f := range append(append(files, more...), file{"cell/" + memberFile, append(text, '\n')}) {
		path := filepath.Join(data, filepath.FromSlash(f.path))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("join a cell: %w", err)
		}
		if err := datadir.WriteFile(path, f.text, 0o600); err != nil {
			return fmt.Errorf("join a cell: %w", err)
		}
	}
	return nil
}

// Read says which node the data directory at data is. The error is ErrNoMember
// when it is none.
func Read(data string) (*Member, error) {
	m := &Member{dir: filepath.Join(data, "cell")}
	text, err := os.ReadFile(filepath.Join(m.dir, memberFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoMember, data)
	}
	if err != nil {
		return nil, fmt.Errorf("which node this is: %w", err)
	}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("which node this is: %s: %w", filepath.Join(m.dir, memberFile), err)
	}
	if m.Format != memberFormat || CheckNames(m.Nodes) != nil || !slices.Contains(m.Nodes, m.Node) {
		return nil, fmt.Errorf("which node this is: %s cannot be read by this version", filepath.Join(m.dir, memberFile))
	}
	return m, nil
}

// Is errs unless the directory is that of node, in a cell of nodes for a domain.
func (m *Member) Is(domain, node string, nodes []string) error {
	if m.Domain != domain {
		return fmt.Errorf("the cell was made for %q, not for %q", m.Domain, domain)
	}
	if m.Node != node {
		return fmt.Errorf("the data directory is that of node %q, not of %q", m.Node, node)
	}
	if nodes = slices.Sorted(slices.Values(nodes)); !slices.Equal(m.Nodes, nodes) {
		return fmt.Errorf("the cell was made of the nodes %s, not of %s", strings.Join(m.Nodes, ", "), strings.Join(nodes, ", "))
	}
	return nil
}

// New reports whether the node has not begun yet.
func (m *Member) New() bool {
	_, err := os.Lstat(filepath.Join(m.dir, newFile))
	return err == nil
}

// Begun notes that the node has begun: from now on it does not start without its
// data.
func (m *Member) Begun() error {
	err := os.Remove(filepath.Join(m.dir, newFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = datadir.Sync(m.dir)
	}
	if err != nil {
		return fmt.Errorf("note that the node has begun: %w", err)
	}
	return nil
}

// CA, Certificate and Key are PEM files.
func (m *Member) CA() string { return filepath.Join(m.dir, authorityFile) }

// Certificate of the node.
func (m *Member) Certificate() string { return filepath.Join(m.dir, certificateFile) }

// Key of the node's certificate.
func (m *Member) Key() string { return filepath.Join(m.dir, keyFile) }
