// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Cell says which of several nodes this is; without Node there is but this one.
type Cell struct {
	Node string `toml:"node"` // this one's name
	// Nodes are all, as "name=host" or "name=host:port": where the others reach its
	// journal.
	Nodes []string `toml:"nodes"`
	Bind  string   `toml:"bind"` // of this node's journal; "" is its own of Nodes
	// MeshPort is where nodes tell each other who is online, the same on all; 0 is the
	// port after each one's of its journal.
	MeshPort int `toml:"mesh_port"`
	// Addresses are where clients reach the app at each node, which host-meta lists.
	Addresses []string `toml:"addresses"`
}

// cellPort is where nodes reach each other unless another is said: etcd's own.
const cellPort = "2380"

// Several reports whether this is one of several nodes.
func (c *Cell) Several() bool { return c.Node != "" || len(c.Nodes) > 0 }

// Members gives host:port of each node by its name.
func (c *Cell) Members() map[string]string {
	all := map[string]string{}
	for _, text := range c.Nodes {
		if name, address, err := cellNode(text); err == nil { // Validate has seen them
			all[name] = address
		}
	}
	return all
}

// Names of all nodes.
func (c *Cell) Names() []string {
	var all []string
	for _, text := range c.Nodes {
		name, _, _ := strings.Cut(text, "=")
		all = append(all, name)
	}
	return all
}

// Binds gives the address:port that this node's journal listens on: a numeric one.
// A name may lead to a proxy's or a forwarder's address, so that all are taken.
func (c *Cell) Binds() string {
	if c.Bind != "" {
		return wildcard(c.Bind)
	}
	host, port, err := net.SplitHostPort(c.Members()[c.Node])
	if err != nil || net.ParseIP(host) != nil {
		return net.JoinHostPort(host, port)
	}
	return net.JoinHostPort("0.0.0.0", port) // all addresses, those of IPv6 too (package net)
}

// Meshes gives host:port of the mesh of each node by its name.
func (c *Cell) Meshes() map[string]string {
	all := c.Members()
	for name, address := range all {
		all[name] = c.mesh(address)
	}
	return all
}

// MeshBinds gives the address:port that this node's mesh listens on.
func (c *Cell) MeshBinds() string { return c.mesh(c.Binds()) }

// Handovers gives, by the names of the nodes, the host:port where they hand views over: the port
// after the mesh's.
func (c *Cell) Handovers() map[string]string {
	all := c.Meshes()
	for name, address := range all {
		all[name] = portAfter(address)
	}
	return all
}

// HandoverBinds gives the address:port that this node listens on for that.
func (c *Cell) HandoverBinds() string { return portAfter(c.MeshBinds()) }

// mesh is the address of the mesh beside a journal's.
func (c *Cell) mesh(journal string) string {
	return otherPort(journal, func(port int) int {
		if c.MeshPort != 0 {
			return c.MeshPort
		}
		return port + 1
	})
}

func portAfter(address string) string {
	return otherPort(address, func(port int) int { return port + 1 })
}

// otherPort gives an address another port; one that cannot be read stays, and has been
// told of as such.
func otherPort(address string, other func(port int) int) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return address
	}
	return net.JoinHostPort(host, strconv.Itoa(other(n)))
}

// wildcard writes ":2380" as an address.
func wildcard(address string) string {
	if port, ok := strings.CutPrefix(address, ":"); ok {
		return net.JoinHostPort("0.0.0.0", port)
	}
	return address
}

// cellNode reads "name=host" or "name=host:port".
func cellNode(text string) (name, address string, err error) {
	name, address, ok := strings.Cut(text, "=")
	if !ok || name == "" || address == "" || strings.ContainsAny(text, " \t,/") {
		return "", "", fmt.Errorf("%q names no node and its host", text)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), cellPort
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", "", fmt.Errorf("%q names no host", text)
		}
	}
	if host == "" || port == "" || port == "0" || !goodPort(port) {
		return "", "", fmt.Errorf("%q names no host and port", text)
	}
	return name, net.JoinHostPort(host, port), nil
}

func (v *validator) cell(c *Config) {
	cell := &c.Cell
	for i, a := range cell.Addresses {
		v.origin("cell.addresses", a)
		cell.Addresses[i] = strings.TrimRight(a, "/")
	}
	if !cell.Several() {
		if cell.Bind != "" || cell.MeshPort != 0 || len(cell.Addresses) > 0 {
			v.add("cell.node", "is empty, and other keys of the cell are not", "name this node and all nodes, or delete them")
		}
		return
	}
	const hint = "write each like b=node2.example.org, or b=10.0.0.2:2380"
	seen := map[string]string{}
	for _, text := range cell.Nodes {
		name, address, err := cellNode(text)
		switch {
		case err != nil:
			v.add("cell.nodes", err.Error(), hint)
		case seen[name] != "":
			v.add("cell.nodes", fmt.Sprintf("has node %q twice", name), hint)
		case taken(seen, address):
			v.add("cell.nodes", fmt.Sprintf("has the address %s twice", address), hint)
		}
		if err == nil {
			seen[name] = address
		}
	}
	if n := len(cell.Nodes); n != 3 && n != 5 && n != 7 {
		v.add("cell.nodes", fmt.Sprintf("has %d nodes", n), "a cell has three, five or seven, so that a majority is left when one is lost")
	}
	v.meshes(cell, seen)
	if seen[cell.Node] == "" {
		v.add("cell.node", fmt.Sprintf("%q is not among the nodes", cell.Node), "it is one of the names in cell.nodes")
	}
	if v.address("cell.bind", cell.Bind) {
		if host, _, _ := net.SplitHostPort(wildcard(cell.Bind)); net.ParseIP(host) == nil {
			v.add("cell.bind", fmt.Sprintf("%q is not numeric", cell.Bind), "write it like 10.0.0.1:2380, or :2380 for every interface")
		}
	}
	if c.TLS.ACME.Directory != "" {
		v.add("tls.acme.directory", "is set for a node of several: what the authority asks reaches any of them",
			"obtain the certificate by another program and name it in tls.certificate, on each node")
	}
}

// meshes looks whether the meshes of the nodes have ports of their own.
func (v *validator) meshes(cell *Cell, journals map[string]string) {
	v.between("cell.mesh_port", cell.MeshPort, 0, 65535)
	seen := maps.Clone(journals)
	for _, name := range slices.Sorted(maps.Keys(journals)) {
		address := cell.mesh(journals[name])
		if _, port, _ := net.SplitHostPort(address); !goodPort(port) || taken(seen, address) {
			v.add("cell.nodes", fmt.Sprintf("leave no port for the mesh of node %q: %s", name, address),
				"the port after each node's own is for the mesh, unless cell.mesh_port names another: leave that free")
		}
		seen["mesh of "+name] = address
		address = portAfter(address)
		if _, port, _ := net.SplitHostPort(address); !goodPort(port) || taken(seen, address) {
			v.add("cell.nodes", fmt.Sprintf("leave no port for node %q to hand a view over: %s", name, address),
				"the port after the mesh's is for that: leave it free")
		}
		seen["view of "+name] = address
	}
}

func taken(seen map[string]string, address string) bool {
	for _, a := range seen {
		if a == address {
			return true
		}
	}
	return false
}
