// SPDX-License-Identifier: Apache-2.0

package charter

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bundle is what one node gets. It holds its key: who has it is that node.
type Bundle struct {
	Cell   string // 32 hexadecimal digits
	Domain string // that the cell serves
	Node   string
	Nodes  []string  // all of the cell, this one included, sorted
	Until  time.Time // a node can be begun with it
	// First is the node that one server becomes with what it has, so that the others are let in
	// by it; "": all begin together, with nothing.
	First string
	Epoch uint16 // of that server: datadir.Dir.Epoch

	certificate, key, authority []byte // DER; the key is PKCS #8
	common                      map[string][]byte
}

// The blocks of a bundle, which is a file of PEM blocks in this order:
// what it is, the certificates of node and authority, the node's key, and the files
// in common, each with its path as a header.
const (
	kindHead        = "BAVARD CELL NODE"
	kindCertificate = "CERTIFICATE"
	kindKey         = "PRIVATE KEY"
	kindFile        = "BAVARD CELL FILE"
	headFormat      = "Format"
	bundleFormat    = "1"
	// growFormat is that of a bundle with a First: who does not know it must not begin a cell by it.
	growFormat = "2"
	// bundleMost bounds a bundle, in bytes.
	bundleMost = 64 << 10
)

// ErrBundle: it is no bundle, or it is damaged.
var ErrBundle = errors.New("this is no whole bundle of a node")

// Encode gives the bundle as a file.
func (b *Bundle) Encode() ([]byte, error) {
	id, err := hex.DecodeString(b.Cell)
	if err != nil {
		return nil, fmt.Errorf("encode a bundle: %w", err)
	}
	var out bytes.Buffer
	out.WriteString("Of node " + b.Node + " alone. Who has it can read and forge all of the cell's messages.\n")
	head := &pem.Block{Type: kindHead, Bytes: id, Headers: map[string]string{
		headFormat: bundleFormat, "Domain": b.Domain, "Node": b.Node, "Nodes": strings.Join(b.Nodes, " "), "Until": b.Until.Format(time.RFC3339),
	}}
	if b.First != "" {
		head.Headers[headFormat], head.Headers["First"], head.Headers["Epoch"] = growFormat, b.First, strconv.Itoa(int(b.Epoch))
	}
	blocks := []*pem.Block{
		head, {Type: kindCertificate, Bytes: b.certificate}, {Type: kindCertificate, Bytes: b.authority}, {Type: kindKey, Bytes: b.key},
	}
	for _, path := range Common() {
		blocks = append(blocks, &pem.Block{Type: kindFile, Headers: map[string]string{"Path": path}, Bytes: b.common[path]})
	}
	for _, block := range blocks {
		if err := pem.Encode(&out, block); err != nil {
			return nil, fmt.Errorf("encode a bundle: %w", err)
		}
	}
	return out.Bytes(), nil
}

// Decode reads a bundle and checks that its parts belong together. The error is
// ErrBundle.
func Decode(text []byte) (*Bundle, error) {
	b, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return b, nil
}

func decode(text []byte) (*Bundle, error) {
	if len(text) > bundleMost {
		return nil, fmt.Errorf("it has more than %d bytes", bundleMost)
	}
	var blocks []*pem.Block
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
	}
	kinds := []string{kindHead, kindCertificate, kindCertificate, kindKey}
	for range Common() {
		kinds = append(kinds, kindFile)
	}
	if len(blocks) != len(kinds) {
		return nil, fmt.Errorf("it has %d parts instead of %d", len(blocks), len(kinds))
	}
	for i, block := range blocks {
		if block.Type != kinds[i] {
			return nil, fmt.Errorf("part %d is %q instead of %q", i+1, block.Type, kinds[i])
		}
	}
	head := blocks[0]
	format := head.Headers[headFormat]
	if format != bundleFormat && format != growFormat {
		return nil, fmt.Errorf("it has format %q, this version reads %s and %s", format, bundleFormat, growFormat)
	}
	b := &Bundle{
		Cell: hex.EncodeToString(head.Bytes), Domain: head.Headers["Domain"], Node: head.Headers["Node"], Nodes: strings.Fields(head.Headers["Nodes"]),
		certificate: blocks[1].Bytes, authority: blocks[2].Bytes, key: blocks[3].Bytes, common: map[string][]byte{},
	}
	var err error
	if b.Until, err = time.Parse(time.RFC3339, head.Headers["Until"]); err != nil {
		return nil, errors.New("until when it can be used is no time")
	}
	if format == growFormat {
		b.First = head.Headers["First"]
		epoch, err := strconv.ParseUint(head.Headers["Epoch"], 10, 16)
		if err != nil || !slices.Contains(b.Nodes, b.First) {
			return nil, errors.New("which server becomes its first node is damaged")
		}
		b.Epoch = uint16(epoch)
	}
	for _, block := range blocks[4:] {
		b.common[block.Headers["Path"]] = block.Bytes
	}
	return b, b.check(len(head.Bytes))
}

// check errs unless the parts belong together.
func (b *Bundle) check(id int) error {
	if id != idBytes || b.Domain == "" {
		return errors.New("which cell it is of is damaged")
	}
	if err := CheckNames(b.Nodes); err != nil {
		return err
	}
	if !slices.Contains(b.Nodes, b.Node) || !slices.IsSorted(b.Nodes) {
		return fmt.Errorf("node %q is not among %v", b.Node, b.Nodes)
	}
	if err := checkCommon(b.common); err != nil {
		return err
	}
	own, err := x509.ParseCertificate(b.certificate)
	if err != nil {
		return fmt.Errorf("the node's certificate: %w", err)
	}
	ca, err := x509.ParseCertificate(b.authority)
	if err != nil {
		return fmt.Errorf("the authority's certificate: %w", err)
	}
	if err := own.CheckSignatureFrom(ca); err != nil {
		return fmt.Errorf("the node's certificate: %w", err)
	}
	if own.Subject.CommonName != b.Node || own.VerifyHostname(ServerName) != nil {
		return fmt.Errorf("the certificate is for %q", own.Subject.CommonName)
	}
	key, err := x509.ParsePKCS8PrivateKey(b.key)
	if err != nil {
		return errors.New("the node's key cannot be read")
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok || !private.PublicKey.Equal(own.PublicKey) {
		return errors.New("the node's key is not that of its certificate")
	}
	return nil
}
