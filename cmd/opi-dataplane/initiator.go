// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/pflag"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

// initiatorName is what the one controller is called.
const initiatorName = "nvme"

// initiatorSettings are the flags of commands that connect to a target as a host does.
type initiatorSettings struct {
	address, subnqn, hostnqn string
	hdgst, ddgst             bool
	queues                   uint32
	wait                     time.Duration
	reconnectDelay           time.Duration
	lossTimeout              time.Duration
	json                     bool
	log                      logSettings
}

func (s *initiatorSettings) register(flags *pflag.FlagSet) {
	flags.StringVar(&s.address, "address", "", "where the target is: tcp://HOST:PORT (required)")
	flags.StringVar(&s.subnqn, "subnqn", "", "NQN of the subsystem (required)")
	flags.StringVar(&s.hostnqn, "hostnqn", "", "NQN of this host (a random one if empty)")
	flags.BoolVar(&s.hdgst, "hdgst", false, "ask for header digests")
	flags.BoolVar(&s.ddgst, "ddgst", false, "ask for data digests")
	flags.Uint32Var(&s.queues, "queues", 1, "number of I/O queues")
	flags.DurationVar(&s.wait, "wait", 0, "how long to try to connect at first")
	flags.DurationVar(&s.reconnectDelay, "reconnect-delay", time.Second,
		"pause between attempts to reconnect when the target is away; 0 fails I/O at once")
	flags.DurationVar(&s.lossTimeout, "loss-timeout", 0, "how long to reconnect before giving up; 0 is for ever")
	flags.BoolVar(&s.json, "json", false, "print JSON, an object a line")
	s.log.register(flags)
	if f := flags.Lookup("log-level"); f != nil {
		f.DefValue = "warn"
		s.log.level = "warn"
	}
}

// trid reads address and subsystem.
func (s *initiatorSettings) trid(ctx context.Context) (host.TransportID, error) {
	u, err := url.Parse(s.address)
	if err != nil || u.Scheme != "tcp" || u.Port() == "" || strings.Trim(u.Path, "/") != "" {
		return host.TransportID{}, usageError{fmt.Errorf("--address %q: write tcp://HOST:PORT", s.address)}
	}
	if s.subnqn == "" {
		return host.TransportID{}, usageError{errors.New("--subnqn is missing: the NQN of the subsystem")}
	}
	ip, err := resolve(ctx, u.Hostname())
	if err != nil {
		return host.TransportID{}, err
	}
	t := host.TransportID{
		Trtype: "TCP", Adrfam: "IPv4", Traddr: ip.String(), Trsvcid: u.Port(), Subnqn: s.subnqn,
	}
	if ip.Is6() {
		t.Adrfam = "IPv6"
	}
	return t, nil
}

// resolve returns the first address of a name.
func resolve(ctx context.Context, name string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap(), nil
	}
	ips, err := (&net.Resolver{}).LookupNetIP(ctx, "ip", name)
	if err != nil || len(ips) == 0 {
		return netip.Addr{}, fmt.Errorf("--address: look %q up: %w", name, err)
	}
	return ips[0].Unmap(), nil
}

// recovery turns the two durations into what the host knows.
func (s *initiatorSettings) recovery() host.Recovery {
	seconds := func(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
	switch {
	case s.reconnectDelay <= 0:
		return host.Recovery{}
	case s.lossTimeout <= 0:
		return host.Recovery{LossTimeoutSec: -1, ReconnectDelaySec: uint32(seconds(s.reconnectDelay))} //nolint:gosec // positive
	default:
		return host.Recovery{
			LossTimeoutSec: int32(seconds(s.lossTimeout)), ReconnectDelaySec: uint32(seconds(s.reconnectDelay)), //nolint:gosec // seconds of a duration
		}
	}
}

// initiator is a connected host.
type initiator struct {
	registry *bdev.Registry
	host     *host.Host
	remote   host.RemoteInfo
}

// connectPause is the time between attempts to connect at first.
const connectPause = 200 * time.Millisecond

// connect attaches the subsystem, and tries again for as long as --wait says.
func (s *initiatorSettings) connect(ctx context.Context) (*initiator, error) {
	log, _, err := s.log.logger(os.Stderr)
	if err != nil {
		return nil, err
	}
	trid, err := s.trid(ctx)
	if err != nil {
		return nil, err
	}
	i, err := newInitiator(log, s.queues)
	if err != nil {
		return nil, err
	}
	o := i.host.AttachDefaults()
	o.Name, o.Trid, o.HostNQN, o.HeaderDigest, o.DataDigest = initiatorName, trid, s.hostnqn, s.hdgst, s.ddgst
	o.IOQueues, o.Recovery = s.queues, s.recovery()
	for end := time.Now().Add(s.wait); ; {
		_, err = i.host.Attach(ctx, o)
		if err == nil || errors.Is(err, syscall.ERANGE) { // more namespaces than names: all are attached
			break
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("connect to %s: %w", s.address, err), i.close(ctx))
		}
		select {
		case <-ctx.Done():
		case <-time.After(connectPause):
		}
	}
	if i.remote, err = i.host.Remote(initiatorName); err != nil {
		return nil, errors.Join(fmt.Errorf("look at %s: %w", s.subnqn, err), i.close(ctx))
	}
	return i, nil
}

// newInitiator makes a host that opens up to so many I/O queues, also if there are fewer processors.
func newInitiator(log *slog.Logger, queues uint32) (*initiator, error) {
	i := &initiator{registry: bdev.NewRegistry()}
	var err error
	i.host, err = host.New(host.Config{Registry: i.registry, Log: log, HostID: uuid.New(), QueuesMax: int(queues)})
	if err != nil {
		return nil, fmt.Errorf("set up the host: %w", err)
	}
	return i, nil
}

// close disconnects, also when ctx is over.
func (i *initiator) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return errors.Join(i.host.Close(ctx), i.registry.Close(ctx))
}

// namespace returns one of the subsystem's.
func (i *initiator) namespace(nsid uint32) (host.NamespaceInfo, error) {
	var there []string
	for _, ns := range i.remote.Namespaces {
		if ns.NSID == nsid {
			return ns, nil
		}
		there = append(there, fmt.Sprint(ns.NSID))
	}
	return host.NamespaceInfo{}, fmt.Errorf("subsystem %s has no namespace %d; it has: %s",
		i.remote.Subnqn, nsid, strings.Join(append(there, "no more"), ", "))
}

// namespaceReport is a namespace in output.
type namespaceReport struct {
	NSID      uint32 `json:"nsid"`
	UUID      string `json:"uuid"`
	NGUID     string `json:"nguid"`
	EUI64     string `json:"eui64,omitempty"`
	BlockSize uint32 `json:"block_size_bytes"`
	Blocks    uint64 `json:"blocks"`
	Size      uint64 `json:"size_bytes"`
}

func newNamespaceReport(ns *host.NamespaceInfo) namespaceReport {
	r := namespaceReport{
		NSID: ns.NSID, UUID: ns.UUID.String(), NGUID: hex.EncodeToString(ns.NGUID[:]),
		BlockSize: ns.Geometry.BlockSizeBytes, Blocks: ns.Geometry.Blocks,
		Size: uint64(ns.Geometry.BlockSizeBytes) * ns.Geometry.Blocks,
	}
	if ns.EUI64 != [8]byte{} {
		r.EUI64 = hex.EncodeToString(ns.EUI64[:])
	}
	return r
}
