// SPDX-License-Identifier: Apache-2.0

// Command member is one member of an etcd cluster, for tests and drills of a
// journal on an etcd elsewhere: a server that can be killed.
package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	name := flag.String("name", "m1", "of the member")
	dir := flag.String("dir", "", "for its data")
	client := flag.String("client", "", "URL for clients")
	peer := flag.String("peer", "", "URL for other members")
	members := flag.String("cluster", "", "all members, as name=peer URL,…; this one alone if empty")
	ca := flag.String("ca", "", "PEM file of who may sign clients; none if empty")
	cert := flag.String("cert", "", "PEM file for https")
	key := flag.String("key", "", "PEM file for https")
	flag.Parse()
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.LogLevel = *name, *dir, "error"
	c, err := url.Parse(*client)
	if err != nil {
		return err
	}
	p, err := url.Parse(*peer)
	if err != nil {
		return err
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*c}, []url.URL{*c}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*p}, []url.URL{*p}
	cfg.InitialCluster = *name + "=" + p.String()
	if *members != "" {
		cfg.InitialCluster = *members
	}
	cfg.TickMs, cfg.ElectionMs = 50, 500
	if strings.HasPrefix(*client, "https:") {
		cfg.ClientTLSInfo = transport.TLSInfo{CertFile: *cert, KeyFile: *key, TrustedCAFile: *ca, ClientCertAuth: *ca != ""}
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
		fmt.Println("ready")
	case <-e.Server.StopNotify():
	}
	return <-e.Err()
}
