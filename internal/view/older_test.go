// SPDX-License-Identifier: Apache-2.0

package view

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"bavard/internal/command"
	"bavard/internal/state"
)

var (
	keepOlder   = flag.String("keep-older", "", "keep a view and its commands in testdata/older under this `name`")
	updateOlder = flag.Bool("update-older", false, "write anew what is read of the views in testdata/older")
)

const olderDir = "testdata/older"

// TestKeepOlder makes what later versions have to read; docs/formats says when.
func TestKeepOlder(t *testing.T) {
	if *keepOlder == "" {
		return
	}
	dir := t.TempDir()
	v, err := Open(dir, Options{FS: vfs.Default, Domain: domain})
	if err != nil {
		t.Fatal(err)
	}
	var kept []Batch
	c := &cellOf{t: t, v: v, now: start, kept: &kept}
	c.accept(cellInit())
	for _, a := range []string{"bob", "eve", "fay", "old"} {
		c.accept(create(a))
	}
	c.accept(invite("circle", 2, time.Time{}, "bob", "friends"))
	c.comesAndUsesAll()
	c.accept(message("old/x", "bob", "old1"))
	c.accept(remove("old"))
	c.accept(destroyRoom("public", "bob"))
	if err := errors.Join(v.Flush(), v.Close()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(olderDir, 0o755), pack(dir, filepath.Join(olderDir, *keepOlder)), packCommands(kept, filepath.Join(olderDir, *keepOlder))); err != nil {
		t.Fatal(err)
	}
	*updateOlder = true
}

// TestOlderViews opens views that older versions made, reads everything, and goes on
// with them.
func TestOlderViews(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(olderDir, "*.view.tar.gz"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no older views, %v", err)
	}
	for _, file := range names {
		name := strings.TrimSuffix(file, ".view.tar.gz")
		t.Run(filepath.Base(name), func(t *testing.T) {
			dir := t.TempDir()
			if err := unpack(file, dir); err != nil {
				t.Fatal(err)
			}
			v, err := Open(dir, Options{FS: vfs.Default, Domain: domain})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			asTold(t, name, allOf(t, v))
			goOn(t, v)
		})
	}
}

// TestOlderCommands applies commands of older versions: what comes out is what it was.
func TestOlderCommands(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(olderDir, "*.commands.gz"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no older commands, %v", err)
	}
	for _, file := range names {
		name := strings.TrimSuffix(file, ".commands.gz")
		t.Run(filepath.Base(name), func(t *testing.T) {
			v := openView(t, vfs.NewMem(), Options{})
			batches, err := unpackCommands(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range batches {
				if _, err := v.Apply(b); err != nil {
					t.Fatal(err)
				}
			}
			asTold(t, name, allOf(t, v))
		})
	}
}

// goOn writes to a view, deletes an account with all that it has, and looks whether
// every record is sound.
func goOn(t *testing.T, v *View) {
	c := &cellOf{t: t, v: v, revision: v.Applied().Revision, now: start.Add(time.Hour)}
	c.scrub()
	c.accept(message("gone/x", "bob", "later"))
	c.accept(says("r", "gone", "later", speaker))
	c.accept(create("new"))
	c.accept(affiliation("r", "bob", "new", command.Affiliation_AFFILIATION_MEMBER))
	c.accept(remove("gone"))
	c.sweepAll()
	c.scrub()
	checkRosters(t, v)
	checkRooms(t, v)
}

func asTold(t *testing.T, name, got string) {
	t.Helper()
	if *updateOlder {
		if err := os.WriteFile(name+".txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(lines) || line != lines[i] {
			t.Fatalf("%s.txt:%d: %s", name, i+1, line)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d bytes are told, want %d", len(got), len(want))
	}
}

// teller writes down what is read.
type teller struct {
	t testing.TB
	v *View
	b strings.Builder
}

func (o *teller) tell(what string, v any, err error) {
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		o.t.Errorf("%s: %v", what, err)
	}
	if list := reflect.ValueOf(v); list.Kind() == reflect.Slice && list.Type().Elem().Kind() != reflect.Uint8 {
		for i := range list.Len() {
			o.tell(fmt.Sprint(what, " ", i), list.Index(i).Interface(), nil)
		}
		return
	}
	fmt.Fprintf(&o.b, "%s: %s\n", what, plain(reflect.ValueOf(v)))
}

// plain shows a value by its fields that are not zero; a message of Protocol Buffers
// by its bytes, which keep.
func plain(v reflect.Value) string {
	if !v.IsValid() {
		return "none"
	}
	switch x := v.Interface().(type) {
	case proto.Message:
		if v.IsNil() {
			return "none"
		}
		b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(x)
		return fmt.Sprintf("%q", b)
	case time.Time:
		return x.UTC().Format(time.RFC3339Nano)
	case command.Position:
		return x.String()
	case []byte:
		return fmt.Sprintf("%q", x)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "none"
		}
		return plain(v.Elem())
	case reflect.Struct:
		var fields []string
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() {
				fields = append(fields, v.Type().Field(i).Name+"="+plain(f))
			}
		}
		return "{" + strings.Join(fields, " ") + "}"
	}
	return fmt.Sprintf("%q", fmt.Sprint(v.Interface()))
}

// allOf is all that can be read of a view.
func allOf(t testing.TB, v *View) string {
	o := &teller{t: t, v: v}
	accounts, err := v.Accounts("", 100)
	o.tell("account", accounts, err)
	for i := range accounts {
		o.account(accounts[i].JID)
	}
	rooms, err := v.Rooms("", 100)
	o.tell("room", rooms, err)
	for i := range rooms {
		o.room(rooms[i].JID)
	}
	uploads, err := v.Uploads(state.UploadID{}, 100)
	o.tell("upload", uploads, err)
	for _, token := range []string{"circle", "mine", "in", "own"} {
		i, err := v.Invite(sumOf(token))
		o.tell("invite "+token, i, err)
	}
	people, _, err := v.Directory("", "", 100)
	o.tell("directory", people, err)
	pushing, err := v.Pushing()
	o.tell("pushing", pushing, err)
	sum, records, err := v.Checksum()
	o.tell("checksum", fmt.Sprintf("%x %d", sum, records), err)
	for _, line := range []func() (bool, error){v.Sweeping, func() (bool, error) { return v.Blanking(start.Add(time.Hour).UnixMilli()) }} {
		is, err := line()
		o.tell("waits", is, err)
	}
	return o.b.String()
}

func (o *teller) account(who string) {
	v := o.v
	roster, version, err := v.Roster(who)
	o.tell(who+" roster "+version.String(), roster, err)
	o.entries(who+" archive", state.Query{Account: who, Max: 250})
	o.entries(who+" newest", state.Query{Account: who, Max: 250, Backward: true})
	chats, err := v.Chats(context.Background(), state.ChatsQuery{Account: who, Now: start, Position: positionOfID, Max: 50})
	o.tell(who+" chat", chats.Chats, err)
	one := func(what string, x any, err error) { o.tell(who+" "+what, x, err) }
	blocks, err := v.Blocklist(who)
	one("blocks", blocks, err)
	card, err := v.VCard(who)
	one("vcard", card, err)
	left, err := v.Left(who)
	one("left", left, err)
	one("picture", v.AvatarHash(who), nil)
	clients, err := v.Clients(who)
	one("client", clients, err)
	link, err := v.Link(who)
	one("link", link, err)
	recovery, err := v.Recovery(who)
	one("recovery", recovery, err)
	pushes, err := v.Pushes(who)
	one("push", pushes, err)
	private, err := v.Private(who, "ns", "n")
	one("private", private, err)
	cursor, err := v.OfflineCursor(who)
	one("cursor", cursor, err)
	own, _, err := v.UploadUsage(who)
	one("uploads", own, err)
	in, err := v.RoomsOf(who)
	one("member of", in, err)
	listed, err := v.Listed(who)
	one("listed as", listed, err)
	nodes, err := v.PubsubNodes(who)
	one("node", nodes, err)
	for _, n := range nodes {
		items, err := v.PubsubItems(who, n.Name, state.PubsubQuery{})
		one("item of "+n.Name, items.Items, err)
		relations, err := v.PubsubRelations(who, n.Name)
		one("relation with "+n.Name, relations, err)
	}
}

func (o *teller) room(room string) {
	v := o.v
	members, err := v.RoomMembers(room)
	o.tell(room+" member", members, err)
	for _, nick := range []string{"Gone", "Guest", "Rude"} {
		who, err := v.RoomNick(room, nick)
		o.tell(room+" nick "+nick, who, err)
	}
	guest, err := v.RoomMember(room, at("gone"))
	o.tell(room+" gone is", guest, err)
	links, err := v.RoomLinks(room)
	o.tell(room+" link", links, err)
	n, err := v.RoomNumber(room)
	o.tell(room+" messages", n, err)
	o.entries(room+" archive", state.Query{Room: room, Max: 250})
}

// entries tells what an archive has; of the many messages of conversations, few.
func (o *teller) entries(what string, q state.Query) {
	page, err := o.v.Archive(context.Background(), q)
	few := page.Entries
	if len(few) > 40 {
		few = append(few[:20:20], few[len(few)-20:]...)
	}
	o.tell(fmt.Sprint(what, " ", len(page.Entries), " ", page.Complete), few, err)
}

// pack keeps the files of a directory as name.view.tar.gz.
func pack(dir, name string) (err error) {
	f, err := os.Create(name + ".view.tar.gz")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z := gzip.NewWriter(f)
	out := tar.NewWriter(z)
	err = errors.Join(out.AddFS(os.DirFS(dir)), out.Close(), z.Close())
	return err
}

func unpack(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(to, 0o700); err != nil {
				return err
			}
			continue
		}
		b, err := io.ReadAll(in)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o700)); err != nil {
			return err
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			return err
		}
	}
}

// packCommands keeps batches as name.commands.gz: of each the revision, the number
// of commands, and each command with its length before it.
func packCommands(batches []Batch, name string) (err error) {
	var b []byte
	for _, batch := range batches {
		b = binary.AppendUvarint(binary.AppendUvarint(b, batch.Revision), uint64(len(batch.Commands)))
		for _, c := range batch.Commands {
			b = append(binary.AppendUvarint(b, uint64(len(c))), c...)
		}
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err = z.Write(b)
	return errors.Join(err, z.Close(), os.WriteFile(name+".commands.gz", out.Bytes(), 0o644))
}

func unpackCommands(file string) (batches []Batch, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	for in := bytes.NewReader(b); in.Len() > 0; {
		var batch Batch
		if batch.Revision, err = binary.ReadUvarint(in); err != nil {
			return nil, err
		}
		n, err := binary.ReadUvarint(in)
		if err != nil {
			return nil, err
		}
		for range n {
			size, err := binary.ReadUvarint(in)
			if err != nil {
				return nil, err
			}
			c := make([]byte, size)
			if _, err := io.ReadFull(in, c); err != nil {
				return nil, err
			}
			batch.Commands = append(batch.Commands, c)
		}
		batches = append(batches, batch)
	}
	return batches, nil
}
