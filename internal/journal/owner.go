// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ownerBytes is the length of a name that has no checksum.
const ownerBytes = 26

// ownerFile holds the name by which the journal knows this data directory.
const ownerFile = "owner"

// own makes this data directory the writer's, or errs when another one is:
// two servers that name the same etcd would take the writer's key from each
// other for ever, and a new directory would follow a journal whose beginning is gone.
func (j *etcdJournal) own(ctx context.Context) error {
	ours, err := j.name() // on disk before it is in the journal, else a crash in between would lock us out
	if err != nil {
		return err
	}
	if j.opts.elsewhere() {
		return j.claim(ctx, ours)
	}
	key := ownerPrefix + j.opts.Name
	resp, err := atStart(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return j.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, ours)).
			Else(clientv3.OpGet(key)).Commit()
	})
	if err != nil {
		return fmt.Errorf("journal: reading its owner: %w", err)
	}
	if !resp.Succeeded {
		kvs := resp.Responses[0].GetResponseRange().GetKvs()
		if len(kvs) != 1 || string(kvs[0].Value) != ours {
			if j.opts.Peers != nil {
				return fmt.Errorf("%w: node %s has been in this cell before, with other data than %s; it has forgotten what it acknowledged and must not come back under its name",
					ErrOwner, j.opts.Name, j.opts.Dir)
			}
			return fmt.Errorf("%w: journal %s is written by another one as %s; if that one is gone for good, delete the key %q in etcd",
				ErrOwner, hex.EncodeToString(j.id[:]), j.opts.Name, j.prefix()+key)
		}
	}
	return nil
}

// writeOwner writes the name and its CRC-32C, each in a line.
func writeOwner(path, name string) error {
	if err := replaceFile(path, fmt.Appendf(nil, "%s\n%08x\n", name, ownerSum(name))); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

func ownerSum(name string) uint32 { return crc32.Checksum([]byte(name), castagnoli()) }

func (j *etcdJournal) prefix() string {
	if j.opts.Remote == nil {
		return ""
	}
	return j.opts.Remote.Prefix
}

// readOwner gives "" when there is none yet. One without a checksum was written by an earlier version.
func readOwner(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("journal: %w", err)
	}
	name, sum, summed := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if checkWriter(name) != nil || summed && sum != fmt.Sprintf("%08x", ownerSum(name)) || !summed && len(name) != ownerBytes {
		return "", fmt.Errorf("%w: %s does not match its checksum", ErrRotten, path)
	}
	return name, nil
}

// checkOwner errs when a directory that has a log has lost its name.
func checkOwner(dir string) error {
	name, err := readOwner(filepath.Join(dir, ownerFile))
	if err == nil && name == "" {
		err = fmt.Errorf("%w: %s is not in %s", ErrRotten, ownerFile, dir)
	}
	return err
}
