// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	const measured = `bavard	pairs	1	{"messages_per_s":10000,"server_cpu_ms_per_message":0.05,"tick":{"p50_ms":5,"p99_ms":40},"load_before":0.5,"lost":0}
other	pairs	1	{"messages_per_s":400,"server_cpu_ms_per_message":2,"tick":{"p50_ms":5,"p99_ms":400},"load_before":0.25,"lost":3}
bavard	pairs	2	{"messages_per_s":12000,"server_cpu_ms_per_message":0.04,"tick":{"p50_ms":5,"p99_ms":30},"load_before":1.5,"lost":0,"notes":["the GENERATOR was the bottleneck"]}
other	pairs	2	{"messages_per_s":500,"server_cpu_ms_per_message":2.5,"tick":{"p50_ms":5,"p99_ms":500},"load_before":0.5,"lost":1}
bavard	pairs	3	{"messages_per_s":11000,"server_cpu_ms_per_message":0.06,"tick":{"p50_ms":5,"p99_ms":50},"load_before":1,"lost":0}
bavard	idle-starttls	1	{"pss_per_connection_bytes":20480,"server_cpu_ms_per_login":1.5,"load_before":1,"dropped":0}
`
	const want = `### pairs

| | rounds | messages/s | | server CPU, ms each | | tick p50, ms | | tick p99, ms | | load | wrong |
|---|---|---|---|---|---|---|---|---|---|---|---|
| bavard | 3 | 11000 (10000 to 12000) |  | 0.05 (0.04 to 0.06) |  | 5 (5 to 5) |  | 40.0 (30.0 to 50.0) |  | 0.5 to 1.5 | generator limited |
| other | 2 | 450 (400 to 500) | × 0.041 | 2.25 (2 to 2.5) | × 45 | 5 (5 to 5) | × 1 | 450 (400 to 500) | × 11 | 0.2 to 0.5 | 4 lost |

### idle-starttls

| | rounds | KiB per connection | | server CPU per login, ms | | load | wrong |
|---|---|---|---|---|---|---|---|
| bavard | 1 | 20.0 |  | 1.5 |  | 1.0 to 1.0 | – |

`
	file := filepath.Join(t.TempDir(), "measured.tsv")
	if err := os.WriteFile(file, []byte(measured), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run([]string{file}, &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	for _, bad := range []string{"", "a\tpairs\t1\n", "a\tpairs\t1\t{\n", "a\tnothing\t1\t{}\n"} {
		if _, err := read(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	if run(nil, &out) == nil || run([]string{file + "x"}, &out) == nil {
		t.Error("no file")
	}
}
