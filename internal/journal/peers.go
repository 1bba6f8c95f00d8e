// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// Peers are the nodes of a cell whose etcds replicate to each other. They speak
// TLS and each shows a certificate of the cell's own authority: whoever has one
// is a member.
type Peers struct {
	// Members are all nodes by name, this one included, each with the "host:port"
	// at which the others reach its etcd: those with which the cell begins, or may grow.
	// Who is a member today etcd knows itself.
	Members map[string]string
	// Listen is the "address:port" that this node's etcd listens on for the others;
	// its own of Members if "", which must then be a numeric address.
	Listen string
	// CA, Certificate and Key are PEM files, read anew for each connection.
	CA, Certificate, Key string
	// ServerName is a name that each node's certificate has, wherever the node is;
	// "": the certificate has to have the host of its address.
	ServerName string
	// Begin permits a start without data: the cell begins here and now on all its
	// nodes. Without it such a start is refused with ErrWiped: a node that has lost
	// its disk must not come back under its old name, because it has forgotten what
	// it had acknowledged and how it had voted.
	Begin bool
	// Rejoin asks the other nodes to let this one take part anew, when it would be
	// refused with ErrWiped or ErrBehind otherwise: see Readmitter, of which it gives
	// the members with their addresses. What the caller keeps that is not to be trusted
	// (Rejoining.Behind) it removes once that is granted. nil: the start is refused.
	Rejoin func(ctx context.Context, ask Rejoining) (members map[string]string, err error) `json:"-"`
}

// Errors about a cell of several nodes.
var (
	// ErrWiped: the node has no data, and it was not said that the cell begins.
	ErrWiped = errors.New("journal: this node of the cell has no data")
	// ErrBehind: the node's log has lost what it had acknowledged. It must not
	// vote any more: it has to be wiped and to join anew.
	ErrBehind = errors.New("journal: the log of this node has lost its end")
)

// others lists the nodes but name, with their addresses.
func (p *Peers) others(name string) string {
	var all []string
	for _, member := range slices.Sorted(maps.Keys(p.Members)) {
		if member != name {
			all = append(all, member+"="+p.Members[member])
		}
	}
	return strings.Join(all, ", ")
}

// check errs when the members cannot form a cell with this node, called name; elsewhere: on an etcd that
// none of them runs.
func (p *Peers) check(name string, elsewhere bool) error {
	switch own, ok := p.Members[name]; {
	case len(p.Members) < 2:
		return errors.New("journal: a cell of several nodes has at least two")
	case !ok:
		return fmt.Errorf("journal: node %q is not among the cell's: %s", name, strings.Join(slices.Sorted(maps.Keys(p.Members)), ", "))
	case p.Listen == "" && !elsewhere:
		if host, _, err := net.SplitHostPort(own); err != nil || net.ParseIP(host) == nil {
			return fmt.Errorf("journal: say at which address node %q listens: %q is not numeric", name, own)
		}
	}
	seen := map[string]string{}
	for _, member := range slices.Sorted(maps.Keys(p.Members)) {
		address := p.Members[member]
		if err := checkWriter(member); err != nil {
			return err
		}
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			return fmt.Errorf("journal: the address of node %q is %q, want host:port", member, address)
		}
		if other, twice := seen[address]; twice {
			return fmt.Errorf("journal: nodes %q and %q have the same address %s", other, member, address)
		}
		seen[address] = member
	}
	if !elsewhere && (p.CA == "" || p.Certificate == "" || p.Key == "") {
		return errors.New("journal: a cell of several nodes needs its authority, and this node a certificate and a key")
	}
	return nil
}

// configure makes cfg one member of the cell.
func (p *Peers) configure(cfg *embed.Config, name string, admitted map[string]string) {
	own, listen := p.Members[name], p.Listen
	if listen == "" {
		listen = own
	}
	cfg.ListenPeerUrls = []url.URL{{Scheme: "https", Host: listen}}
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "https", Host: own}}
	begin := p.Members
	if admitted != nil {
		begin, cfg.ClusterState = admitted, embed.ClusterStateFlagExisting
	}
	var members []string
	for _, member := range slices.Sorted(maps.Keys(begin)) {
		members = append(members, member+"="+peerScheme+begin[member])
	}
	cfg.InitialCluster = strings.Join(members, ",")
	cfg.PeerTLSInfo = transport.TLSInfo{
		CertFile: p.Certificate, KeyFile: p.Key, TrustedCAFile: p.CA, ClientCertAuth: true,
		ServerName: p.ServerName, SkipClientSANVerify: p.ServerName != "", // which would ask the DNS for it
	}
}
