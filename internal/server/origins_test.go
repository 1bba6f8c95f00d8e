// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"testing"
)

// Pages of the sites in listen.origins may open the WebSocket, and those of the server's
// own; others may not, lest they try passwords.
func TestOriginsOfWebClients(t *testing.T) {
	s := startServer(t)
	s.stop()
	s.cfg.Listen.Origins = []string{"https://webchat.example.org"}
	s.cfg.PublicURL = "https://chat.example.org"
	s.start()
	for origin, want := range map[string]int{
		"":                                   http.StatusSwitchingProtocols, // no browser
		"https://webchat.example.org":        http.StatusSwitchingProtocols,
		"https://chat.example.org":           http.StatusSwitchingProtocols, // whatever a proxy made of the host
		"http://" + s.running.Addresses.HTTP: http.StatusSwitchingProtocols,
		"https://example.org":                http.StatusForbidden,
		"http://webchat.example.org":         http.StatusForbidden,
		"https://webchat.example.org:8443":   http.StatusForbidden,
		"https://a.webchat.example.org":      http.StatusForbidden,
		"null":                               http.StatusForbidden,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.running.Addresses.HTTP+"/xmpp-websocket", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "xmpp", "Origin": origin,
		} {
			if value != "" {
				req.Header.Set(name, value)
			}
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a page of %q: %s, want %d", origin, resp.Status, want)
		}
	}
}
