// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bavard/internal/jid"
)

// Calls says which servers find a way between devices that call each other.
type Calls struct {
	// Servers are URIs of STUN and TURN servers (RFC 7064, RFC 7065); see
	// CallServers.
	Servers         []string `toml:"servers"`
	SecretFile      string   `toml:"secret_file"`      // its first line is shared with the TURN servers
	CredentialsTime Duration `toml:"credentials_time"` // how long what is made of it is good for
}

// CallServer is a STUN or TURN server.
type CallServer struct {
	Type      string // stun, stuns, turn, turns
	Host      string // a name or an address, without brackets
	Port      uint16
	Transport string // udp, tcp
}

// CallServers gives the servers of Servers.
func (c *Calls) CallServers() []CallServer {
	var all []CallServer
	for _, text := range c.Servers {
		if s, err := callServer(text); err == nil { // Validate has seen them
			all = append(all, s)
		}
	}
	return all
}

// callServersMost bounds the servers; all go to who asks.
const callServersMost = 16

func (v *validator) calls(c *Calls) {
	if len(c.Servers) > callServersMost {
		v.add("calls.servers", "are too many", fmt.Sprintf("name at most %d", callServersMost))
	}
	turn := false
	for _, text := range c.Servers {
		s, err := callServer(text)
		if err != nil {
			v.add("calls.servers", fmt.Sprintf("%q %v", text, err), `write it like "stun:stun.example.org:3478" or "turn:turn.example.org:3478?transport=udp"`)
		}
		turn = turn || strings.HasPrefix(s.Type, "turn")
	}
	switch {
	case turn && c.SecretFile == "":
		v.add("calls.secret_file", "is empty: nobody can use a TURN server without credentials", "name a file with the TURN server's static-auth-secret")
	case !turn && c.SecretFile != "":
		v.add("calls.secret_file", "has no meaning without a TURN server", "name one in calls.servers, or delete it")
	}
	v.lasts("calls.credentials_time", c.CredentialsTime, 5*time.Minute, 7*24*time.Hour)
}

// callServer reads a URI of RFC 7064 §3.1 or RFC 7065 §3.1.
func callServer(text string) (CallServer, error) {
	scheme, rest, _ := strings.Cut(text, ":")
	s := CallServer{Type: strings.ToLower(scheme), Transport: "udp"}
	port := uint64(3478)
	switch s.Type {
	case "stun", "turn":
	case "stuns", "turns":
		s.Transport, port = "tcp", 5349
	default:
		return CallServer{}, errors.New("neither stun: nor stuns: nor turn: nor turns: is at its beginning")
	}
	rest, query, some := strings.Cut(rest, "?")
	if some {
		q, err := url.ParseQuery(query)
		s.Transport = q.Get("transport")
		if err != nil || len(q) != 1 || s.Transport != "udp" && s.Transport != "tcp" {
			return CallServer{}, fmt.Errorf("has another transport than udp or tcp")
		}
	}
	host, number := rest, ""
	if end := strings.LastIndexByte(rest, ':'); end > strings.LastIndexByte(rest, ']') {
		host, number = rest[:end], rest[end+1:]
		var err error
		if port, err = strconv.ParseUint(number, 10, 16); err != nil || port == 0 {
			return CallServer{}, fmt.Errorf("has no port of 1 to 65535")
		}
	}
	s.Port, s.Host = uint16(port), strings.Trim(host, "[]")
	if ip, err := netip.ParseAddr(s.Host); err == nil {
		if ip.Is6() != strings.HasPrefix(host, "[") {
			return CallServer{}, fmt.Errorf("has an IPv6 address without brackets")
		}
		return s, nil
	}
	j, err := jid.Parse(host)
	if err != nil || host == "" || strings.ContainsAny(host, "[]:@/") || j.Domain() == "" {
		return CallServer{}, fmt.Errorf("has no host")
	}
	s.Host = j.Domain()
	return s, nil
}
