// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"testing"

	"bavard/drill"
	"bavard/drill/oracle"
)

func TestEjabberdSettings(t *testing.T) {
	var e ejabberd
	text, err := e.settings(&drill.PeerSeat{C2S: "127.0.0.1:12000", HTTP: "127.0.0.1:12004"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"port: 12000\n", "port: 12004\n", "ejabberd_http_ws\n", "mod_mam:\n    default: always\n", "mod_stream_mgmt:\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, wrong := range []string{"@", "certfiles", "starttls"} {
		if strings.Contains(text, wrong) {
			t.Errorf("%q in\n%s", wrong, text)
		}
	}
	if _, err := e.settings(&drill.PeerSeat{C2S: "nowhere"}); err == nil {
		t.Error("no port was taken for one")
	}
	if n := strings.Count(schema(), ":\n  storage_type: disc_copies\n"); n != 6 {
		t.Errorf("%d tables in\n%s", n, schema())
	}
}

func TestKillTable(t *testing.T) {
	turn := func(kills, lost int) *drill.Report {
		return &drill.Report{Kills: kills, Verdict: oracle.Verdict{Ticked: 100, Lost: lost, Duplicated: 2}}
	}
	got := killTable(map[string][]*drill.Report{"ejabberd, 2 nodes": {turn(3, 1), turn(4, 0)}})
	want := "| ejabberd, 2 nodes | 2 | 7 | 200 | 1 | 0 | 4 | 0 | 0 | 0s | 0s / 0s / 0s |\n"
	if !strings.HasSuffix(got, "|\n"+want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, wrong := range [][]string{{"kill", "--rounds", "0"}, {"kill", "more"}, {"kill", "--duration", "0s"}} {
		if run(wrong, io.Discard) == nil {
			t.Errorf("%v is taken", wrong)
		}
	}
}
