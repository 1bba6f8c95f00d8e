// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bavard/internal/cert"
	"bavard/internal/charter"
)

// Common makes what the nodes of a new cell for a domain have in common: files by
// their path in the data directory (charter.Common). What the server with the data directory
// data has already, they all get; "": there is none.
func Common(domain, data string) (files map[string][]byte, err error) {
	dir, err := os.MkdirTemp("", "bavard-cell-*") // for its owner alone
	if err != nil {
		return nil, fmt.Errorf("what the nodes have in common: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	keys := filepath.Join(dir, "keys")
	if err := errors.Join(os.Mkdir(keys, 0o700), os.Mkdir(filepath.Join(dir, "tls"), 0o700)); err != nil {
		return nil, fmt.Errorf("what the nodes have in common: %w", err)
	}
	if err := takeOver(data, dir); err != nil {
		return nil, err
	}
	if _, err := loginSecret(keys); err != nil {
		return nil, err
	}
	if _, err := vapidKey(keys); err != nil {
		return nil, err
	}
	if _, err := cert.Open(cert.Options{Domain: domain, Dir: filepath.Join(dir, "tls")}); err != nil {
		return nil, err
	}
	files = map[string][]byte{}
	for _, path := range charter.Common() {
		if files[path], err = os.ReadFile(filepath.Join(dir, filepath.FromSlash(path))); err != nil {
			return nil, fmt.Errorf("what the nodes have in common: %w", err)
		}
	}
	return files, nil
}

// takeOver copies what the server at data, if there is one, has of it.
func takeOver(data, dir string) error {
	if data == "" {
		return nil
	}
	for _, path := range charter.Common() {
		path = filepath.FromSlash(path)
		text, err := os.ReadFile(filepath.Join(data, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, path), text, 0o600)
		}
		if err != nil {
			return fmt.Errorf("what the nodes have in common: %w", err)
		}
	}
	return nil
}
