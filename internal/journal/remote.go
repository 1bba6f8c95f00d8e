// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Remote says where an etcd cluster of the operator's own is. It serves this cell
// and nothing else: compaction is cluster-wide, so that what others keep there
// would lose its history to ours, and ours to theirs.
type Remote struct {
	// Endpoints are URLs of clients, like "https://etcd1:2379".
	Endpoints []string
	// CA is a PEM file with the authorities that are trusted; "" are the system's.
	CA string
	// Certificate and Key are PEM files with which we show who we are; "" for none.
	// They are read anew for each connection.
	Certificate, Key string
	// Username and Password are etcd's own; "" for none.
	Username, Password string
	// Prefix is put before each key, for etcd's access rules.
	Prefix string
}

// Errors about a cluster that cannot be used.
var (
	// ErrShared: others keep keys in the cluster.
	ErrShared = errors.New("journal: the etcd cluster is not bavard's own")
	// ErrEtcdVersion: the cluster's version is not one that this works with.
	ErrEtcdVersion = errors.New("journal: this version of etcd cannot be used")
)

const (
	dialTimeout = 5 * time.Second
	// An endpoint that is away is tried again after redialFirst, and ever later up to
	// redialMost: gRPC's own 2 minutes would prolong each outage by as much.
	redialFirst = 100 * time.Millisecond
	redialMost  = time.Second
	// An endpoint that is silent for that long is left for another one.
	keepAliveEvery   = 2 * time.Second
	keepAliveTimeout = 2 * time.Second
	// probeEvery is how often the cluster is asked whether it has a majority;
	// probeTimeout bounds the answer.
	probeEvery   = time.Second
	probeTimeout = time.Second
	// inspectEvery is how often sizes, versions and others' keys are looked at.
	inspectEvery = 30 * time.Second
	// statusTimeout bounds the question to one endpoint.
	statusTimeout = 3 * time.Second
)

// cluster is an etcd elsewhere.
type cluster struct {
	opts   *Remote
	log    *slog.Logger
	plain  clientv3.KV // without the prefix
	client *clientv3.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	majority bool
	bytes    int64
	version  string
	trouble  string
}

// connect finds the cluster, checks that it can be used and begins to watch it.
func connect(ctx context.Context, r *Remote, log *slog.Logger) (*cluster, error) {
	client, err := r.dial(log)
	if err != nil {
		return nil, err
	}
	c := &cluster{opts: r, log: log, client: client, plain: client.KV}
	client.KV = namespace.NewKV(client.KV, r.Prefix)
	client.Watcher = namespace.NewWatcher(client.Watcher, r.Prefix)
	if err := c.check(ctx); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	ctx, c.cancel = context.WithCancel(context.Background())
	c.wg.Go(func() { c.watch(ctx) })
	return c, nil
}

// dial makes a client, which connects by itself, again and again.
func (r *Remote) dial(log *slog.Logger) (*clientv3.Client, error) {
	security, err := r.tls()
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: r.Endpoints, TLS: security, Username: r.Username, Password: r.Password,
		DialTimeout: dialTimeout, DialKeepAliveTime: keepAliveEvery, DialKeepAliveTimeout: keepAliveTimeout,
		PermitWithoutStream: true, Logger: zapTo(log, noMatter), DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: redialFirst, Multiplier: 2, Jitter: 0.2, MaxDelay: redialMost},
			MinConnectTimeout: dialTimeout,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("journal: etcd at %s: %w", strings.Join(r.Endpoints, ", "), err)
	}
	return client, nil
}

// tls is nil when no endpoint is encrypted.
func (r *Remote) tls() (*tls.Config, error) {
	if !slices.ContainsFunc(r.Endpoints, func(e string) bool { return strings.HasPrefix(e, "https://") }) {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.CA != "" {
		pem, err := os.ReadFile(r.CA)
		if err != nil {
			return nil, fmt.Errorf("journal: etcd's authority: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("journal: %s holds no certificate", r.CA)
		}
	}
	if r.Certificate != "" {
		if _, err := tls.LoadX509KeyPair(r.Certificate, r.Key); err != nil {
			return nil, fmt.Errorf("journal: certificate for etcd: %w", err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(r.Certificate, r.Key)
			return &pair, err
		}
	}
	return cfg, nil
}

// check waits for a majority and refuses what cannot be used.
func (c *cluster) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := c.inspect(ctx)
		if err == nil {
			err = c.permitted(ctx)
		}
		if err == nil {
			err = c.alone(ctx)
		}
		switch {
		case err == nil:
			c.majority = true
			return nil
		case errors.Is(err, ErrShared), errors.Is(err, ErrEtcdVersion), denied(err):
			return err
		}
		if !sleep(ctx, 10*retryPause) {
			return fmt.Errorf("journal: etcd at %s does not answer: %w", strings.Join(c.opts.Endpoints, ", "), err)
		}
	}
}

func denied(err error) bool {
	return errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, rpctypes.ErrUserEmpty)
}

// permitted errs when our user may not compact: history would grow without end.
func (c *cluster) permitted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	_, err := c.client.Compact(ctx, 1) // there is nothing before it
	switch {
	case errors.Is(err, rpctypes.ErrCompacted), errors.Is(err, rpctypes.ErrFutureRev):
		return nil
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("journal: etcd: %w: bavard compacts, defragments and disarms alarms: give its user the role root, in a cluster of its own", err)
	case err != nil:
		return fmt.Errorf("journal: etcd: %w", err)
	}
	return nil
}

// inspect asks each endpoint what it is. It errs when none answers or one cannot
// be used.
func (c *cluster) inspect(ctx context.Context) error {
	var (
		errs    []error
		size    int64
		version string
		trouble []string
	)
	for _, endpoint := range c.opts.Endpoints {
		asking, cancel := context.WithTimeout(ctx, statusTimeout)
		s, err := c.client.Status(asking, endpoint)
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", endpoint, err))
			trouble = append(trouble, endpoint+" does not answer")
			continue
		}
		if err := usable(s.Version); err != nil {
			return fmt.Errorf("%w: %s has %s: %w", ErrEtcdVersion, endpoint, s.Version, err)
		}
		size, version = max(size, s.DbSize), s.Version
		for _, e := range s.Errors {
			trouble = append(trouble, endpoint+": "+e)
		}
	}
	if len(errs) == len(c.opts.Endpoints) {
		return errors.Join(errs...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes, c.version, c.trouble = size, version, strings.Join(trouble, "; ")
	return nil
}

// usable refuses versions that are too old, lose data, or are not known yet.
func usable(version string) error {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 3 {
		return errors.New("it is not a version")
	}
	var n [3]int
	for i, part := range parts {
		part, _, _ = strings.Cut(part, "-")
		var err error
		if n[i], err = strconv.Atoi(part); err != nil {
			return errors.New("it is not a version")
		}
	}
	switch {
	case n[0] != 3 || n[1] < 5:
		return errors.New("use 3.5.3 or newer, of the 3rd generation")
	case n[1] == 5 && n[2] < 3:
		return errors.New("3.5.0 to 3.5.2 can lose data; use 3.5.3 or newer")
	}
	return nil
}

// alone errs with ErrShared when there are keys that are not ours.
func (c *cluster) alone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	resp, err := c.plain.Txn(ctx).Then(
		clientv3.OpGet("\x00", clientv3.WithFromKey(), clientv3.WithCountOnly()),
		clientv3.OpGet(c.opts.Prefix+ourPrefix, clientv3.WithPrefix(), clientv3.WithCountOnly()),
	).Commit()
	if err != nil {
		return fmt.Errorf("journal: etcd: %w", err)
	}
	all, ours := resp.Responses[0].GetResponseRange().Count, resp.Responses[1].GetResponseRange().Count
	if all > ours {
		return fmt.Errorf("%w: it holds %d keys that are not under %q; bavard compacts the history of the whole cluster: give it a cluster of its own",
			ErrShared, all-ours, c.opts.Prefix+ourPrefix)
	}
	return nil
}

// watch keeps what is known of the cluster fresh.
func (c *cluster) watch(ctx context.Context) {
	probe, inspect := time.NewTicker(probeEvery), time.NewTicker(inspectEvery)
	defer probe.Stop()
	defer inspect.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-probe.C:
			c.probe(ctx)
		case <-inspect.C:
			if err := c.inspect(ctx); err != nil {
				c.note(err)
			} else if err := c.alone(ctx); errors.Is(err, ErrShared) {
				c.note(err)
			}
		}
	}
}

func (c *cluster) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = err.Error()
}

// probe asks for a read that needs a majority.
func (c *cluster) probe(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err := c.client.Get(asking, idKey, clientv3.WithCountOnly())
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	before := c.majority
	c.majority = err == nil
	c.mu.Unlock()
	switch {
	case before && err != nil:
		c.log.Warn("journal: etcd has no majority, or cannot be reached", "error", err)
	case !before && err == nil:
		c.log.Info("journal: etcd has a majority again")
	}
}

func (c *cluster) hasLeader() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.majority
}

func (c *cluster) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

func (c *cluster) describe() Host {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Host{Endpoints: slices.Clone(c.opts.Endpoints), Version: c.version, Trouble: c.trouble}
}

// leads is true: each node does what one is to do, which does no harm.
func (c *cluster) leads() bool { return true }

func (c *cluster) atQuota() (own bool, others []string) { return false, nil }

// putAnyway puts, and fails at the quota: what the nodes have said before it was reached lets them make room.
func (c *cluster) putAnyway(ctx context.Context, key, value string) error {
	_, err := c.client.Put(ctx, key, value)
	return err
}

func (c *cluster) disarm(ctx context.Context) error {
	_, err := c.client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	return err
}

func (c *cluster) ended() <-chan struct{} { return nil }

// defragment does one member after the other: each is silent meanwhile.
func (c *cluster) defragment(ctx context.Context) error {
	for _, endpoint := range c.opts.Endpoints {
		if _, err := c.client.Defragment(ctx, endpoint); err != nil {
			return fmt.Errorf("%s: %w", endpoint, err)
		}
	}
	return nil
}

func (c *cluster) close() {
	c.cancel()
	c.wg.Wait()
}
