// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"os"
	"strings"
	"time"

	"bavard/internal/call"
	"bavard/internal/route"
)

// callSecretLeast bounds what is taken for a secret, in bytes: who has seen one
// name and password can try out shorter ones.
const callSecretLeast = 16

// makeCalls gives the servers by which devices find a way to each other.
func (s *server) makeCalls() (route.Feature, error) {
	c := s.cfg.Calls
	o := call.Options{Lifetime: c.CredentialsTime.Std(), Now: time.Now}
	for _, server := range c.CallServers() {
		o.Servers = append(o.Servers, call.Server(server))
	}
	if c.SecretFile != "" {
		text, err := os.ReadFile(c.SecretFile)
		if err != nil {
			return route.Feature{}, fmt.Errorf("the secret of the TURN servers: %w", err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		if o.Secret = []byte(strings.TrimSpace(first)); len(o.Secret) < callSecretLeast {
			return route.Feature{}, fmt.Errorf("the first line of %s, the secret of the TURN servers, is shorter than %d letters: make it by `openssl rand -hex 32`", c.SecretFile, callSecretLeast)
		}
	}
	return call.Feature(o), nil
}
