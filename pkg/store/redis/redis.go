// SPDX-License-Identifier: Apache-2.0

// Package redis keeps a store in Redis: a single server, one behind Sentinel, or a Cluster. A commit
// is one script, so one round trip; commits that come while others are on their way go together in
// one pipeline. It needs Redis 5 or newer.
package redis

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/internal/layout"
)

// Bounds and defaults of the connections.
const (
	defaultTimeout = 5 * time.Second
	// poolSize bounds the connections: commits take maxSenders at most, and lease, loads and questions
	// come besides. As many as there are senders are kept open; what a stall has opened goes again.
	poolSize = 16
)

// Config says which Redis and which part of it to use.
type Config struct {
	// URL says where the server is; see [ParseURL] for its forms. Required.
	URL string
	// Instance names the bridge; instances in one Redis do not see each other. Required, without
	// braces.
	Instance string
	// Schema is the format of this build.
	Schema store.Schema
	// Timeout bounds each step (connect, send, wait for the answer) of a call, besides the caller's
	// deadline. 0 means 5 s.
	Timeout time.Duration
	// Durability is what a commit waits for before it is acknowledged.
	Durability Policy
}

// Store is a store in Redis.
type Store struct {
	client goredis.UniversalClient // nil behind Sentinel
	// watch and direct are set behind Sentinel: who names the master, and how to connect to it. master is
	// the client for the one that was named last; only the goroutine that asks changes it.
	watch  *sentinels
	direct goredis.Options
	master atomic.Pointer[goredis.Client]

	where  string // for errors: address and instance, no password
	keys   []string
	schema store.Schema
	format string
	limit  time.Duration

	scripts scripts
	group   group
	rounds  rounds
	policy  Policy
	// failover: another server may take the place of the one in use by itself.
	failover bool
	// dials counts the connections that were made.
	dials atomic.Uint64
	terms atomic.Pointer[terms]
	// whole is the run id of the server whose log is known to be whole.
	whole atomic.Pointer[string]

	// askMu guards asking.
	askMu sync.Mutex
	// asking is the question for the server's terms that is under way, nil when there is none.
	asking *question
}

var _ store.LeasedStore = (*Store)(nil)

// New prepares a store. It does not connect: a server that is away shows as Unavailable in the first
// call, and is used as soon as it is there.
func New(cfg Config) (*Store, error) {
	if cfg.Instance == "" || strings.ContainsAny(cfg.Instance, "{}") {
		return nil, errdefs.New(errdefs.InvalidArgument, "instance %q: expected a name without braces", cfg.Instance)
	}
	target, err := ParseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	s := &Store{
		where:  "redis " + target.String() + ", instance " + cfg.Instance,
		schema: cfg.Schema, format: strconv.Itoa(cfg.Schema.Format()), limit: cfg.Timeout, scripts: newScripts(),
		policy: cfg.Durability, failover: target.cluster || target.master != "",
	}
	for _, name := range []string{layout.Meta, layout.Documents, layout.Sealed, layout.Lease} {
		s.keys = append(s.keys, "opi-bridge:{"+cfg.Instance+"}:"+name)
	}
	d, err := newDialer(target, cfg.Timeout)
	if err != nil {
		return nil, err
	}
	s.connect(target, d.dial)
	return s, nil
}

// connect makes the clients, which connect when they are used.
func (s *Store) connect(target *Target, dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	// A command whose answer was lost may have been done: nothing is sent twice.
	// In a cluster that includes redirects, for the driver repeats lost commands in the same loop: a
	// slot that moved shows as Unavailable once, and the next call goes to its new place.
	options := &goredis.UniversalOptions{
		Addrs: target.addrs, DB: target.db, IsClusterMode: target.cluster,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			s.dials.Add(1)
			return dial(ctx, network, addr)
		},
		CredentialsProviderContext: target.credentials,
		Protocol:                   2, ClientName: "opi-bridge", DisableIdentity: true,
		MaxRetries: -1, MaxRedirects: -1, DialerRetries: 1,
		DialTimeout: s.limit, ReadTimeout: s.limit, WriteTimeout: s.limit, PoolTimeout: s.limit,
		ContextTimeoutEnabled: true, PoolSize: poolSize, MaxIdleConns: maxSenders, PipelinePoolSize: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if target.master == "" {
		s.client = goredis.NewUniversalClient(options)
		return
	}
	s.direct = *options.Simple()
	s.watch = &sentinels{addrs: target.addrs, name: target.master, options: *options.Simple()}
	s.watch.options.Dialer, s.watch.options.DB, s.watch.options.PoolSize = dial, 0, 1
	s.watch.options.CredentialsProviderContext = nil
	s.watch.options.Username, s.watch.options.Password = target.sentinelUser, target.sentinelPassword.RevealString()
}

// LogTo sends what the Redis driver has to say about connections to log, at level Debug. The driver
// has one log for the whole process, so this is for main; by default it writes to standard error.
func LogTo(log *slog.Logger) { goredis.SetLogger(driverLog{log}) }

type driverLog struct{ log *slog.Logger }

// Printf is what the driver calls.
func (d driverLog) Printf(ctx context.Context, _ string, args ...any) {
	var errs []error
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			errs = append(errs, err)
		}
	}
	d.log.DebugContext(ctx, "redis driver reports", "err", errors.Join(errs...))
}

// Load is that of store.Store.
func (s *Store) Load(ctx context.Context) ([]store.Document, error) {
	if err := s.endDoubts(ctx); err != nil {
		return nil, err
	}
	snap, err := s.snapshot(ctx)
	if err == nil && snap.format != s.format {
		if err = s.prepare(ctx); err == nil {
			snap, err = s.snapshot(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	if snap.format != s.format {
		return nil, errdefs.New(errdefs.Unavailable, "%s: the format changed to %q while it was read", s.where, snap.format)
	}
	return snap.documents, s.settle(ctx)
}

// settle waits until all that was read before is as durable as a commit. What somebody wrote and
// nobody acknowledged must not be taken for done while it can still be lost.
func (s *Store) settle(ctx context.Context) error {
	return s.do(ctx, "load", errdefs.Unavailable, func() error {
		t, err := s.current(ctx)
		if err != nil || !t.waits.any() {
			return err
		}
		_, err = s.exec(ctx, s.scripts.barrier, s.keys[:1])
		return err
	})
}

// snapshot is what the store holds at one moment.
type snapshot struct {
	format, writtenBy, revision string
	documents                   []store.Document
	astray                      []string // names of sealed secrets without a document
}

// snapshot reads everything in one script. Of a newer format it returns no documents, for it may
// not be able to read them.
func (s *Store) snapshot(ctx context.Context) (snapshot, error) {
	var answer []any
	err := s.do(ctx, "load", errdefs.Unavailable, func() (err error) {
		t, err := s.current(ctx)
		if err != nil {
			return err
		}
		answer, err = s.scripts.load.Run(ctx, t.client, s.keys[:3]).Slice()
		s.failed(ctx, t, err)
		return err
	})
	if err != nil {
		return snapshot{}, err
	}
	if len(answer) != 3 {
		return snapshot{}, errdefs.New(errdefs.Internal, "%s: load: %d parts came, expected 3", s.where, len(answer))
	}
	meta, docs, sealed := textMap(answer[0]), textMap(answer[1]), textMap(answer[2])
	out := snapshot{format: meta[layout.Format], writtenBy: meta[layout.WrittenBy], revision: meta[layout.Revision]}
	if n, err := strconv.Atoi(out.format); err == nil && n > s.schema.Format() {
		return out, nil
	}
	out.documents = make([]store.Document, 0, len(docs))
	for name, value := range docs {
		revision, body, err := layout.Decode([]byte(value))
		if err != nil {
			return snapshot{}, errdefs.Wrap(errdefs.Internal, err, "%s: document %q", s.where, name)
		}
		d := store.Document{Name: name, Revision: revision, Body: body}
		if secrets, ok := sealed[name]; ok {
			d.Sealed = []byte(secrets)
		}
		out.documents = append(out.documents, d)
	}
	for name := range sealed {
		if _, ok := docs[name]; !ok {
			out.astray = append(out.astray, name)
		}
	}
	layout.SortDocuments(out.documents)
	return out, nil
}

// textMap makes a map of the list of names and values that HGETALL gives.
func textMap(list any) map[string]string {
	items, _ := list.([]any)
	m := make(map[string]string, len(items)/2)
	for i := 0; i+1 < len(items); i += 2 {
		name, _ := items[i].(string)
		m[name], _ = items[i+1].(string)
	}
	return m
}

// Close ends all connections; commits whose answer has not come yet are OutcomeUnknown.
func (s *Store) Close() error {
	err := s.disconnect()
	s.group.senders.Wait()
	if err = cmp.Or(err, s.disconnect()); err != nil {
		return errdefs.Wrap(errdefs.Internal, err, "close %s", s.where)
	}
	return nil
}

// disconnect closes the clients there are.
func (s *Store) disconnect() error {
	var err error
	if s.client != nil {
		err = s.client.Close()
	} else if master := s.master.Load(); master != nil {
		err = master.Close()
	}
	if errors.Is(err, goredis.ErrClosed) {
		return nil
	}
	return err
}
