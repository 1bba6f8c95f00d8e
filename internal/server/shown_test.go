// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bavard/internal/stanza"
)

// Conversations say what they show, in lines of their own:
//
//	# shows success: FEATURE…
//	# shows error: FEATURE…
//	# shows restart: FEATURE…
//
// A mark holds for the steps up to the next one. An ending * stands for all
// features that begin so, where error or restart are the same for all.

// shown is the mark of one block of steps.
type shown struct {
	file     string
	line     int
	kind     string
	features []string
	steps    []string
	after    bool // a restart stands before it
}

func (s shown) String() string { return fmt.Sprintf("%s:%d (%s)", s.file, s.line, s.kind) }

// shows says whether s is about the feature.
func (s shown) shows(feature string) bool {
	return slices.ContainsFunc(s.features, func(f string) bool {
		prefix, all := strings.CutSuffix(f, "*")
		return f == feature || all && strings.HasPrefix(feature, prefix)
	})
}

// lacks says what a block would have to hold for its mark to be true; "" if
// it does.
func (s shown) lacks() string {
	has := func(parts ...string) bool {
		return slices.ContainsFunc(s.steps, func(l string) bool {
			return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(l, p) })
		})
	}
	switch {
	case !slices.ContainsFunc([]string{" C: ", " login", " refused ", " sasl2 ", " long "}, func(step string) bool { return has(step) }):
		return "a step of a client"
	case s.kind == "success" && !has(" S: ") && !has(" S~ "):
		return "what the server says"
	case s.kind == "success" && slices.ContainsFunc(s.features, func(f string) bool { return strings.HasSuffix(f, "*") }):
		return "the names of the features: * is for errors and restarts"
	case s.kind == "error" && !has("type='error'") && !has(" S", "<failed ") && !has(" S", "stream:error"):
		return "an error"
	case s.kind == "restart" && !s.after:
		return "a restart before it"
	}
	return ""
}

// TestEveryFeatureIsShown holds that what is advertised, by the domain, by an
// account, by the service of rooms and a room, by uploads and by the stream, has conversations for success, error and restart.
func TestEveryFeatureIsShown(t *testing.T) {
	all := conversations(t)
	for _, s := range all {
		if what := s.lacks(); what != "" {
			t.Errorf("%s does not hold %s", s, what)
		}
	}
	for _, feature := range advertised(t) {
		for _, kind := range []string{"success", "error", "restart"} {
			if !slices.ContainsFunc(all, func(s shown) bool { return s.kind == kind && s.shows(feature) }) {
				t.Errorf("no conversation shows %s of %s: mark it by %q", kind, feature, "# shows "+kind+": "+feature)
			}
		}
	}
}

// conversations gives the marked blocks of all files.
func conversations(t *testing.T) []shown {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all []shown
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, blocks(t, file, strings.Split(string(b), "\n"))...)
	}
	return all
}

func blocks(t *testing.T, file string, lines []string) []shown {
	var all []shown
	restarted := false
	for i, l := range lines {
		mark, ok := strings.CutPrefix(l, "# shows ")
		switch {
		case ok:
			kind, features, _ := strings.Cut(mark, ": ")
			if !slices.Contains([]string{"success", "error", "restart"}, kind) || features == "" {
				t.Fatalf("%s:%d: %q is no mark", file, i+1, l)
			}
			all = append(all, shown{file: file, line: i + 1, kind: kind, features: strings.Fields(features), after: restarted})
		case l == "restart":
			restarted = true
		case len(all) > 0 && !strings.HasPrefix(l, "#"):
			last := &all[len(all)-1]
			last.steps = append(last.steps, l)
		}
	}
	return all
}

// advertised gives what a client finds: in the stream features, and by asking
// the domain, its own account, the service of rooms and a room.
func advertised(t *testing.T) []string {
	s := startServer(t)
	s.account("alice")
	d := &device{t: t, user: "alice", resource: "phone", dial: s.dial(false)}
	d.login()
	found := map[string]bool{}
	for _, f := range d.features.Elements() {
		found[f.Name.Space] = true
	}
	d.bind()
	d.send("<presence to='r@rooms.localhost/alice'><x xmlns='" + stanza.NSMUC + "'/></presence>")
	d.must() // she is in
	d.must() // the subject
	for _, to := range []string{"localhost", "alice@localhost", "rooms.localhost", "r@rooms.localhost", "upload.localhost"} {
		d.send("<iq type='get' id='d' to='" + to + "'><query xmlns='" + stanza.NSDiscoInfo + "'/></iq>")
		for _, f := range d.must().First().Elements() {
			if f.Is(stanza.NSDiscoInfo, "feature") {
				found[f.Get("var")] = true
			}
		}
	}
	if len(found) < 20 {
		t.Fatalf("only %d features: %v", len(found), found)
	}
	return slices.Sorted(maps.Keys(found))
}
