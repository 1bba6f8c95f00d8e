// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bavard/drill/await"
	"bavard/drill/client"
)

// fetched gets a file as a browser would.
func fetched(t *testing.T, url, typ, want string) {
	t.Helper()
	fetchedBy(t, http.DefaultClient, url, typ, want)
}

// fetchedBy is fetched by somebody of the test's choice.
func fetchedBy(t *testing.T, browser *http.Client, url, typ, want string) {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(got) != want || resp.Header.Get("Content-Type") != typ {
		t.Errorf("%s: %s, %s, %d bytes, %v; want %s, %d bytes", url, resp.Status, resp.Header.Get("Content-Type"), len(got), err, typ, len(want))
	}
}

// TestSlixmppUpload: slixmpp finds where to put files by itself, and puts one.
func TestSlixmppUpload(t *testing.T) {
	needModule(t, "slixmpp")
	needModule(t, "aiohttp")
	s := startServer(t)
	ann := s.slixmpp(t, "ann@localhost/one")
	content := strings.Repeat("salut ", 100_000)
	url := ann.do("upload", map[string]any{"name": "déjà vu.txt", "type": "text/plain", "content": content}).(string)
	if !strings.HasSuffix(url, "/d%C3%A9j%C3%A0%20vu.txt") {
		t.Errorf("address %s", url)
	}
	fetched(t, url, "text/plain", content)
}

// TestProfanityUpload: /sendfile puts a picture and sends its address, which the archive keeps;
// /url save fetches one whose address it was sent.
func TestProfanityUpload(t *testing.T) {
	need(t, "profanity", "tmux")
	s := startServer(t)
	ann, got := s.login(t, "ann")
	file := filepath.Join(t.TempDir(), "picture.png")
	content := "\x89PNG\r\n\x1a\n" + strings.Repeat("pixel", 20_000)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	bob := s.profanity(t, "bob@localhost/prof")
	bob.typeLine("/msg ann@localhost voilà")
	receive(t, got, "voilà")
	bob.typeLine("/sendfile " + file)
	var m *client.Inbound
	select {
	case m = <-got:
	case <-testContext(t).Done():
		t.Fatalf("no file arrives; Profanity shows\n%s", bob.screen(t.Context()))
	}
	if !strings.HasSuffix(m.Body, "/picture.png") || m.ArchiveID == "" {
		t.Fatalf("received %+v", m)
	}
	fetched(t, m.Body, "image/png", content)

	if err := ann.Send(testContext(t), client.NewMessage("bob@localhost", m.Body)); err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(t.TempDir(), "kept.png")
	bob.typeLine("/url save " + m.Body + " " + kept)
	err := await.UntilEvery(testContext(t), 100*time.Millisecond, func(context.Context) error {
		saved, err := os.ReadFile(kept)
		if err == nil && string(saved) != content {
			err = fmt.Errorf("it has %d bytes instead of %d", len(saved), len(content))
		}
		return err
	})
	if err != nil {
		t.Errorf("%v; Profanity shows\n%s", err, bob.screen(t.Context()))
	}
}
