// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"bavard/internal/command"
	"bavard/internal/stanza"
	"bavard/internal/state"
)

const (
	forMessage = command.UploadPurpose_UPLOAD_PURPOSE_MESSAGE
	forProfile = command.UploadPurpose_UPLOAD_PURPOSE_PROFILE
	ephemeral  = command.UploadPurpose_UPLOAD_PURPOSE_EPHEMERAL
	permanent  = command.UploadPurpose_UPLOAD_PURPOSE_PERMANENT
)

// upload number n, whose content is its size.
func upload(account string, id uint64, n byte, size uint64, purpose command.UploadPurpose) *command.Command {
	sum := sha256.Sum256([]byte(fmt.Sprint(size)))
	return &command.Command{Request: &command.Command_UploadStore{UploadStore: &command.UploadStore{
		Id: uploadID(n), Account: at(account), AccountId: id, Name: "a.jpg", Type: "image/jpeg", Size: size, Sha256: sum[:],
		Purpose: purpose, ExpiresMs: start.Add(24 * time.Hour).UnixMilli(), Holders: []string{"a"},
		AccountBytes: 1000, AccountFiles: 150, TotalBytes: 1500,
	}}}
}

func uploadID(n byte) []byte { return append(make([]byte, 15), n) }

func uploadSweep(before time.Time) *command.Command {
	return &command.Command{Request: &command.Command_UploadSweep{UploadSweep: &command.UploadSweep{MessageBeforeMs: before.UnixMilli()}}}
}

func randomUpload(r *rapid.T, account string) *command.Command {
	switch rapid.IntRange(0, 5).Draw(r, "kind") {
	case 0:
		return uploadRemove(account, uint64(rapid.IntRange(1, 5).Draw(r, "id")), byte(rapid.IntRange(0, 7).Draw(r, "upload")))
	case 1, 2:
		return uploadSweep(start.Add(time.Duration(rapid.IntRange(0, 40).Draw(r, "days")) * 24 * time.Hour))
	}
	return upload(account, uint64(rapid.IntRange(1, 5).Draw(r, "id")), byte(rapid.IntRange(0, 7).Draw(r, "upload")),
		uint64(rapid.IntRange(0, 5).Draw(r, "size"))*100, command.UploadPurpose(rapid.IntRange(0, 3).Draw(r, "purpose")))
}

func (c *cellOf) id(account string) uint64 {
	c.t.Helper()
	a, err := c.v.Account(at(account))
	if err != nil {
		c.t.Fatal(err)
	}
	return a.ID
}

func (c *cellOf) upload(account string, n byte, size uint64, purpose command.UploadPurpose) *command.Command {
	c.t.Helper()
	return upload(account, c.id(account), n, size, purpose)
}

// has reports whether there is an upload.
func (c *cellOf) has(n byte, want bool) {
	c.t.Helper()
	u, err := c.v.Upload(state.UploadID(uploadID(n)))
	if want && err != nil || !want && !errors.Is(err, state.ErrNotFound) {
		c.t.Errorf("upload %d: %+v, %v; want it: %v", n, u, err, want)
	}
}

func (c *cellOf) usage(account string, files, bytes, allFiles, allBytes uint64) {
	c.t.Helper()
	own, all, err := c.v.UploadUsage(at(account))
	if want := (state.Usage{Files: files, Bytes: bytes}); own != want || err != nil {
		c.t.Errorf("%s has %+v, %v, want %+v", account, own, err, want)
	}
	if want := (state.Usage{Files: allFiles, Bytes: allBytes}); all != want {
		c.t.Errorf("there are %+v, want %+v", all, want)
	}
}

func TestUploadIsStoredOnce(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.has(1, false)
	c.accept(c.upload("ann", 1, 100, forMessage))
	c.has(1, true)
	u, err := c.v.Upload(state.UploadID(uploadID(1)))
	if err != nil || u.Name != "a.jpg" || u.Type != "image/jpeg" || u.Size != 100 || u.Owner != c.id("ann") || !u.Expires.IsZero() || fmt.Sprint(u.Holders) != "[a]" ||
		u.SHA256 != sha256.Sum256([]byte("100")) || u.Time.Before(start) {
		t.Errorf("%+v, %v", u, err)
	}
	if o := c.apply(c.upload("ann", 1, 100, forMessage)).Outcomes[0]; o.Verdict != command.Duplicate {
		t.Errorf("the same once more: %+v", o)
	}
	c.refused(c.upload("ann", 1, 200, forMessage), stanza.Conflict)
	c.refused(c.upload("bob", 1, 100, forMessage), stanza.Conflict)
	c.usage("ann", 1, 100, 1, 100)
	c.usage("bob", 0, 0, 1, 100)
	checkUploads(t, c.v)
}

func TestUploadIsRefused(t *testing.T) {
	c := newCell(t, "ann", "bob")
	c.accept(c.upload("ann", 1, 900, permanent))
	c.refused(c.upload("ann", 2, 101, forMessage), stanza.ResourceConstraint)
	c.accept(c.upload("ann", 2, 100, forMessage))
	c.refused(c.upload("bob", 3, 501, forMessage), stanza.ResourceConstraint) // of all together
	c.accept(c.upload("bob", 3, 500, forMessage))
	c.refused(upload("ann", c.id("ann")+77, 4, 1, forMessage), stanza.NotAuthorized)
	c.refused(upload("nobody", 1, 4, 1, forMessage), stanza.NotAuthorized)
	bad := c.upload("bob", 5, 0, forMessage)
	c.refused(bad, stanza.BadRequest)
	bad = c.upload("bob", 5, 1, forMessage)
	bad.GetUploadStore().Id = []byte("short")
	c.refused(bad, stanza.BadRequest)
	few := c.upload("bob", 6, 1, forMessage)
	few.GetUploadStore().AccountFiles = 1
	few.GetUploadStore().TotalBytes = 0
	c.refused(few, stanza.ResourceConstraint)
	checkUploads(t, c.v)
}

func uploadRemove(account string, id uint64, n byte) *command.Command {
	return &command.Command{Request: &command.Command_UploadRemove{UploadRemove: &command.UploadRemove{Id: uploadID(n), Account: at(account), AccountId: id}}}
}

// TestUploadIsRemoved: its owner lists what there is and removes one, once, and has
// the room again; nobody else can.
func TestUploadIsRemoved(t *testing.T) {
	c := newCell(t, "ann", "bob")
	for n := byte(1); n <= 5; n++ {
		c.accept(c.upload("ann", n, 100, []command.UploadPurpose{forMessage, forProfile, ephemeral, permanent}[n%4]))
	}
	c.accept(c.upload("bob", 6, 100, forMessage))
	list := func(account string, before byte, most int, want ...byte) {
		t.Helper()
		var from state.UploadID
		if before > 0 {
			from = state.UploadID(uploadID(before))
		}
		page, err := c.v.UploadsOf(at(account), from, most)
		var got []byte
		for _, u := range page {
			got = append(got, u.ID[15])
		}
		if err != nil || string(got) != string(want) {
			t.Errorf("%s has %v before %d, %v; want %v", account, got, before, err, want)
		}
	}
	list("ann", 0, 10, 5, 4, 3, 2, 1)
	list("ann", 0, 2, 5, 4)
	list("ann", 4, 2, 3, 2)
	list("ann", 1, 2)
	list("bob", 0, 10, 6)
	for _, none := range []byte{6, 7} { // bob's, nobody's
		if _, err := c.v.UploadsOf(at("ann"), state.UploadID(uploadID(none)), 1); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("before %d: %v", none, err)
		}
	}

	ann, bob := c.id("ann"), c.id("bob")
	for _, bad := range []*command.Command{
		uploadRemove("bob", bob, 1), uploadRemove("ann", bob, 1), uploadRemove("bob", ann, 1), uploadRemove("ann", ann, 7), uploadRemove("nobody", 0, 1),
	} {
		c.refused(bad, stanza.ItemNotFound)
	}
	short := uploadRemove("ann", ann, 1)
	short.GetUploadRemove().Id = []byte("short")
	c.refused(short, stanza.ItemNotFound)
	c.usage("ann", 5, 500, 6, 600)
	r := c.apply(uploadRemove("ann", ann, 3))
	if len(r.Events) != 1 || r.Events[0].Kind != state.EventUploadRemoved || r.Events[0].Upload != state.UploadID(uploadID(3)) {
		t.Errorf("%+v", r)
	}
	c.refused(uploadRemove("ann", ann, 3), stanza.ItemNotFound)
	c.has(3, false)
	list("ann", 0, 10, 5, 4, 2, 1)
	c.usage("ann", 4, 400, 5, 500)
	checkUploads(t, c.v)
}

func TestUploadsGoWhenTheirTimeIsOver(t *testing.T) {
	c := newCell(t, "ann")
	for n, p := range map[byte]command.UploadPurpose{1: forMessage, 2: forProfile, 3: ephemeral, 4: permanent} {
		c.accept(c.upload("ann", n, 100, p))
	}
	due := func(now, before time.Time, want bool) {
		t.Helper()
		if got, err := c.v.UploadsDue(now, before); got != want || err != nil {
			t.Errorf("due at %v: %v, %v", now, got, err)
		}
	}
	due(start.Add(time.Hour), time.Time{}, false)
	c.accept(uploadSweep(start.Add(-time.Hour)))
	c.usage("ann", 4, 400, 4, 400)
	due(start.Add(25*time.Hour), time.Time{}, true)
	c.now = start.Add(25 * time.Hour)
	events := c.accept(uploadSweep(time.Unix(0, 0)))
	if len(events) != 1 || events[0].Kind != state.EventUploadRemoved || events[0].Upload != state.UploadID(uploadID(3)) {
		t.Errorf("events %+v", events)
	}
	c.has(3, false)
	due(start.Add(25*time.Hour), start.Add(time.Hour), true)
	c.accept(uploadSweep(start.Add(time.Hour)))
	c.has(1, false)
	c.has(2, true)
	c.has(4, true)
	due(start.Add(100*24*time.Hour), start.Add(90*24*time.Hour), false)
	c.usage("ann", 2, 200, 2, 200)
	checkUploads(t, c.v)
}

func TestRoomForUploads(t *testing.T) {
	c := newCell(t, "ann")
	at0 := func(files, bytes uint64, keep time.Duration, want time.Time) {
		t.Helper()
		if got, err := c.v.UploadRoom(at("ann"), files, bytes, keep); err != nil || got.Sub(want).Abs() > time.Second {
			t.Errorf("%d files, %d bytes: %v, %v, want %v", files, bytes, got, err, want)
		}
	}
	at0(1, 1, time.Hour, time.Time{})
	c.accept(c.upload("ann", 1, 100, permanent))
	c.accept(c.upload("ann", 2, 100, forMessage))
	c.accept(c.upload("ann", 3, 100, ephemeral))
	at0(1, 100, 0, start.Add(24*time.Hour))
	at0(1, 100, time.Hour, start.Add(time.Hour))
	at0(1, 101, time.Hour, start.Add(24*time.Hour))
	at0(0, 201, time.Hour, time.Time{})
}

func TestUploadsGoWithTheirAccount(t *testing.T) {
	c := newCell(t, "ann", "bob")
	for n := range byte(uploadSlice + 10) {
		c.accept(c.upload("ann", n, 1, permanent))
	}
	c.accept(c.upload("bob", 200, 1, permanent))
	c.accept(remove("ann"))
	c.has(5, false) // at once
	c.accept(create("ann"))
	c.usage("ann", 0, 0, uploadSlice+11, uploadSlice+11)
	c.accept(c.upload("ann", 201, 1, permanent))
	c.usage("ann", 1, 1, uploadSlice+12, uploadSlice+12)
	checkUploads(t, c.v)
	removed := 0
	for range 2 {
		if due, err := c.v.UploadsDue(c.now, time.Time{}); !due || err != nil {
			t.Fatalf("nothing to sweep: %v", err)
		}
		removed += len(c.accept(uploadSweep(time.Unix(0, 0))))
	}
	if due, err := c.v.UploadsDue(c.now, time.Time{}); due || err != nil || removed != uploadSlice+10 {
		t.Errorf("%d removed, still due: %v, %v", removed, due, err)
	}
	c.has(200, true)
	c.has(201, true)
	c.usage("ann", 1, 1, 2, 2)
	checkUploads(t, c.v)
	c.scrub()
}

// A batch that stores, sweeps and deletes sees what it has done itself.
func TestUploadsOfOneBatch(t *testing.T) {
	c := newCell(t, "ann")
	id := c.id("ann")
	r := c.apply(
		upload("ann", id, 1, 100, ephemeral), upload("ann", id, 2, 100, forMessage), upload("ann", id, 1, 100, ephemeral),
		remove("ann"), uploadSweep(time.Unix(0, 0)), upload("ann", id, 3, 100, forMessage))
	var got []command.Verdict
	for _, o := range r.Outcomes {
		got = append(got, o.Verdict)
	}
	if want := []command.Verdict{command.Accepted, command.Accepted, command.Duplicate, command.Accepted, command.Accepted, command.Refused}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	if all, err := c.v.AllUploads(); all != (state.Usage{}) || err != nil {
		t.Errorf("%+v are left, %v", all, err)
	}
	checkUploads(t, c.v)
}

func TestUploadsAreListed(t *testing.T) {
	c := newCell(t, "ann")
	for n := range byte(5) {
		c.accept(c.upload("ann", n+1, 1, permanent))
	}
	var got []byte
	var after state.UploadID
	for {
		page, err := c.v.Uploads(after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, u := range page {
			got, after = append(got, u.ID[15]), u.ID
		}
	}
	if fmt.Sprint(got) != "[1 2 3 4 5]" {
		t.Errorf("listed %v", got)
	}
}

// TestUploadsInRandomHistories: counts and lists say the same, whatever happens.
func TestUploadsInRandomHistories(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		v := memView(r, vfs.NewMem())
		defer func() { _ = v.Close() }()
		run(r, v, splits(r, encode(t, randomHistory(r)...)))
		checkUploads(r, v)
	})
}

// checkUploads holds that the tables of uploads agree.
func checkUploads(t rapid.TB, v *View) {
	t.Helper()
	own, counted := map[uint64]state.Usage{}, map[uint64]state.Usage{}
	var all, total state.Usage
	lists := map[byte]int{}
	if err := v.each(func(key, value []byte) error {
		lists[key[0]]++
		switch {
		case key[0] == tableUpload:
			u, err := parseUpload(value)
			n := own[u.owner]
			own[u.owner] = state.Usage{Files: n.Files + 1, Bytes: n.Bytes + u.size}
			all.Files, all.Bytes = all.Files+1, all.Bytes+u.size
			return err
		case key[0] == tableUploadOf && len(key) == 1+idSize:
			lists[tableUploadOf]--
			u, err := parseUsage(value)
			id, _ := idOf(key)
			if counted[id] = u; u == (state.Usage{}) {
				delete(counted, id)
			}
			return err
		case key[0] == tableRetention && len(key) <= 2+idSize:
			lists[tableRetention]--
			if len(key) == 1 {
				u, err := parseUsage(value)
				total = u
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(own) != fmt.Sprint(counted) || all != total {
		t.Fatalf("there are %v, %v; counted %v, %v", own, all, counted, total)
	}
	if n := lists[tableUpload]; lists[tableUploadOf] != n || lists[tableRetention] != n {
		t.Errorf("%d uploads, %d of accounts, %d in the order of retention", n, lists[tableUploadOf], lists[tableRetention])
	}
}
