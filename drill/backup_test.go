// SPDX-License-Identifier: Apache-2.0

package drill

import "testing"

func backUp(t *testing.T, early bool) *BackupReport {
	t.Helper()
	r, err := Backup(t.Context(), ready(t, KillConfig{}), early)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v\n%d backups in %v; the first has %d bytes, the others %d new ones", r, r.Backups, r.Took, r.Bytes, r.NewBytes)
	if r.Missing > 0 {
		t.Errorf("%d messages had a tick when the backup began, and are not in it", r.Missing)
	}
	if r.Verdict.Ticked < 500 || r.Repeated == 0 {
		t.Error("too little happened")
	}
	if r.Verdict.Duplicated+r.Verdict.Reordered+r.Verdict.Diverged+r.Verdict.Unread > 0 {
		t.Error("what was restored is not what there was")
	}
	for _, line := range r.Trouble {
		t.Errorf("the server logged: %s", line)
	}
	return r
}

// TestBackup: what was backed up while people chat is a whole server, with which
// they go on as if nothing had happened.
func TestBackup(t *testing.T) {
	t.Parallel()
	if r := backUp(t, false); !r.Verdict.Clean() || !r.Group.Clean() {
		t.Errorf("the oracle found what must never happen: %v", &r.Group)
	}
}

// TestOldBackup is the negative control: a backup lacks what was said after it, which
// the oracle must find, and nothing that was said before.
func TestOldBackup(t *testing.T) {
	t.Parallel()
	r := backUp(t, true)
	if r.Verdict.Lost == 0 {
		t.Error("the oracle found nothing lost although a state was restored that lacks what was said since")
	}
}
