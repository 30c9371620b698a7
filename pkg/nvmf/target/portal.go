// SPDX-License-Identifier: Apache-2.0

package target

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// acceptPause keeps a failing accept from spinning.
const acceptPause = 20 * time.Millisecond

// portalKey names a socket. The port is the real one.
type portalKey netip.AddrPort

// portal is a listening socket that subsystems share. references is guarded by Target.mu.
type portal struct {
	at         netip.AddrPort
	key        portalKey
	references int
	socket     *net.TCPListener
	secure     bool // its connections begin with TLS
	once       sync.Once
	done       chan struct{} // closed when the accepting goroutine has ended
}

// acquirePortal returns the socket at an address, bound if it is the first use, which decides whether
// it has TLS. t.mu is held: binding is quick, and two first uses at once must not both bind.
func (t *Target) acquirePortal(ctx context.Context, at netip.AddrPort, secure bool) (*portal, error) {
	if p := t.portals[portalKey(at)]; p != nil {
		if secure && !p.secure {
			return nil, errdefs.New(errdefs.FailedPrecondition, "listen on %s with TLS: others listen there without", at)
		}
		p.references++
		return p, nil
	}
	network := "tcp4"
	if at.Addr().Is6() {
		network = "tcp6"
	}
	lc := net.ListenConfig{Control: t.transport.control}
	l, err := lc.Listen(ctx, network, at.String())
	if err != nil {
		return nil, errdefs.Wrap(errdefs.FailedPrecondition, err, "listen on %s", at)
	}
	socket, ok := l.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(errdefs.New(errdefs.Internal, "listen on %s: not a TCP socket", at), l.Close())
	}
	if bound, ok := socket.Addr().(*net.TCPAddr); ok {
		at = netip.AddrPortFrom(at.Addr(), bound.AddrPort().Port())
	}
	p := &portal{at: at, key: portalKey(at), references: 1, socket: socket, secure: secure, done: make(chan struct{})}
	t.portals[p.key] = p
	opts := t.transport
	t.connections.Go(func() { t.accept(p, opts) })
	return p, nil
}

// releasePortal gives back one use, and says whether it was the last: then stop it, without t.mu.
func (t *Target) releasePortal(p *portal) bool {
	p.references--
	if p.references > 0 {
		return false
	}
	delete(t.portals, p.key)
	p.once.Do(func() { _ = p.socket.Close() }) // at once, so that the next use can bind
	for q := range t.unassociated {
		if q.portal == p {
			q.fail("listener removed")
		}
	}
	return true
}

// stop closes the socket and returns when nothing more is accepted.
func (p *portal) stop() {
	p.once.Do(func() { _ = p.socket.Close() })
	<-p.done
}

// accept takes connections until the socket is closed.
func (t *Target) accept(p *portal, opts *TransportOptions) {
	defer close(p.done)
	for {
		conn, err := p.socket.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, perhaps: the next one may be luckier, after a while.
			t.log.Warn("connection not accepted", "address", p.at.String(), "err", err)
			<-time.After(acceptPause)
			continue
		}
		if err := opts.accepted(conn); err != nil {
			t.log.Warn("connection not as the transport wants it", "address", p.at.String(), "err", err)
		}
		t.serve(conn, p)
	}
}
