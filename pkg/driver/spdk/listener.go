// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"net/netip"
	"strings"
	"sync"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// addListener is SPDK's method for every sort of listener.
const addListener = "nvmf_subsystem_add_listener"

// maxListeners is how many listeners SPDK lets a subsystem have.
const maxListeners = 16

func listenAddress(a driver.Address) spdkrpc.NvmfListen {
	return spdkrpc.NvmfListen{
		Trtype: string(a.Transport), Adrfam: string(family(a)), Traddr: a.Traddr, Trsvcid: a.Trsvcid,
	}
}

// family returns the address family, taken from the address if it is not given: SPDK needs it.
func family(a driver.Address) driver.Family {
	ip, err := netip.ParseAddr(a.Traddr)
	switch {
	case a.Family != "" || err != nil:
		return a.Family
	case ip.Is4():
		return driver.FamilyIPv4
	}
	return driver.FamilyIPv6
}

func (d *Driver) createListener(ctx context.Context, step *driver.Step, l *driver.Listener) error {
	if l.Address.Transport == driver.TransportPCIe {
		return d.createEndpoint(ctx, step, l)
	}
	if l.Secure && !encrypts(l.Address.Transport) {
		return errdefs.New(errdefs.FailedPrecondition,
			"listen on %s for subsystem %s: the subsystem has a pre-shared key, and %s cannot encrypt: listen on TCP, or use a subsystem without a key",
			l.Address, l.Subsystem, l.Address.Transport)
	}
	if err := d.ensureTransport(ctx, l.Address.Transport); err != nil {
		return err
	}
	sess, _ := d.now() // there is one: the transport has been looked for
	if err := d.agree(ctx, sess.portals, l); err != nil {
		return err
	}
	err := d.listen(ctx, step, l)
	if err != nil && errdefs.ClassOf(err) != errdefs.AlreadyExists {
		sess.portals.leave(l)
	}
	return err
}

func (d *Driver) listen(ctx context.Context, step *driver.Step, l *driver.Listener) error {
	err := spdkrpc.NvmfAddListener{
		NQN: l.Subsystem, ListenAddress: listenAddress(l.Address), SecureChannel: l.Secure,
	}.Do(ctx, d.client)
	if err == nil {
		return nil
	}
	if settled(err) {
		return plain(addListener, err, "listen on %s for subsystem %s", l.Address, l.Subsystem)
	}
	there, all, lookErr := d.within(ctx, l.Subsystem, l.Key(), addListener, err)
	switch {
	case lookErr != nil:
		return lookErr
	case there != nil:
		return exists(step, there, addListener, err)
	case l.Secure && anyHost(all):
		return refuse(errdefs.FailedPrecondition, addListener, err,
			"listen on %s with TLS for subsystem %s: any host may connect to that, and TLS needs a key of each host: allow hosts one by one",
			l.Address, l.Subsystem)
	}
	listeners := 0
	for _, o := range all {
		if _, ok := o.(*driver.Listener); ok {
			listeners++
		}
	}
	if listeners >= maxListeners {
		return refuse(errdefs.ResourceExhausted, addListener, err,
			"listen on %s for subsystem %s: it has %d listeners, and SPDK takes no more: delete one", l.Address, l.Subsystem, listeners)
	}
	ip, parseErr := netip.ParseAddr(l.Address.Traddr)
	if parseErr != nil || ip.Is4() != (family(l.Address) == driver.FamilyIPv4) {
		return refuse(errdefs.InvalidArgument, addListener, err,
			"listen on %s: the address must be a numeric one of family %s", l.Address, family(l.Address))
	}
	own := "one of the card's own"
	if l.Address.Transport == driver.TransportRDMA {
		own += " on a device that does RDMA"
	}
	return refuse(errdefs.FailedPrecondition, addListener, err,
		"listen on %s for subsystem %s: the address must be %s, and the port free", l.Address, l.Subsystem, own)
}

// anyHost says whether a subsystem, given with all that is in it, lets every host in.
func anyHost(all []driver.Object) bool {
	for _, o := range all {
		if s, ok := o.(*driver.Subsystem); ok {
			return s.AllowAnyHost
		}
	}
	return false
}

func (d *Driver) deleteListener(ctx context.Context, l *driver.Listener) error {
	if l.Address.Transport == driver.TransportPCIe {
		return d.deleteEndpoint(ctx, l)
	}
	err := spdkrpc.NvmfRemoveListener{NQN: l.Subsystem, ListenAddress: listenAddress(l.Address)}.Do(ctx, d.client)
	if err = d.gone(ctx, l.Subsystem, l.Key(), "nvmf_subsystem_remove_listener", err); err == nil {
		sess, _ := d.now() // there is one: it has answered
		sess.portals.leave(l)
	}
	return err
}

// transports remembers which transports exist in one SPDK process; they cannot be taken away.
type transports struct {
	turn  chan struct{} // cap 1: holds an element while somebody looks or creates
	known map[driver.Transport]bool
	lack  map[driver.Transport]string // why one could not be made

	// mu guards paths.
	mu sync.Mutex
	// paths has the transports that a path has been tried over: "" when it was attached, or what lacks.
	paths map[driver.Transport]string
}

func newTransports() *transports {
	return &transports{
		turn: make(chan struct{}, 1), known: make(map[driver.Transport]bool),
		lack: make(map[driver.Transport]string), paths: make(map[driver.Transport]string),
	}
}

// attached notes what came of an attach as far as it tells about the transport.
func (t *transports) attached(transport driver.Transport, lack string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paths[transport] = lack
}

// attach returns what is known of paths over a transport.
func (t *transports) attach(transport driver.Transport) (lack string, tried bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lack, tried = t.paths[transport]
	return lack, tried
}

// ensureTransport makes the transport if it does not exist, once however many ask.
func (d *Driver) ensureTransport(ctx context.Context, transport driver.Transport) error {
	sess, _ := d.now()
	t := sess.transports
	if t == nil {
		t = newTransports() // there has been no connection: the call will say so
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return stopped(ctx)
	}
	if t.known[transport] {
		return nil
	}
	there, err := spdkrpc.GetNvmfTransports(ctx, d.client)
	if err != nil {
		return plain("nvmf_get_transports", err, "look for transport %s", transport)
	}
	for _, one := range there {
		t.known[driver.Transport(strings.ToUpper(one.Trtype))] = true
	}
	if t.known[transport] {
		return nil
	}
	const method = "nvmf_create_transport"
	err = transportOptions(transport).Do(ctx, d.client)
	switch r := spdkrpc.Refusal(err); {
	case err == nil:
		d.log.Info("transport created", "transport", string(transport))
	case r == nil || r.Code == spdkrpc.CodeMethodNotFound:
		return plain(method, err, "create transport %s", transport)
	case strings.Contains(r.Message, "already exists"):
		// Made by somebody else a moment ago. If the text should change, the next attempt finds it.
	case r.Code == spdkrpc.CodeInvalidParams:
		t.lack[transport] = "this data plane was built without it"
		return refuse(errdefs.Unimplemented, method, err, "transport %s: this data plane was built without it", transport)
	default:
		t.lack[transport] = transportLack(transport)
		return refuse(errdefs.FailedPrecondition, method, err, "transport %s cannot be created: %s", transport, t.lack[transport])
	}
	t.known[transport] = true
	return nil
}
