// SPDX-License-Identifier: Apache-2.0

package host

import (
	"slices"
	"strings"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// checkStrings refuses what does not fit, with SPDK's words.
func checkStrings(o *AttachOptions) error {
	switch {
	case o.MaxBdevs == 0:
		return refuse(errdefs.InvalidArgument, syscall.EINVAL, "max_bdevs cannot be zero")
	case len(o.Trid.Traddr) > traddrMax:
		return refuse(errdefs.InvalidArgument, syscall.EINVAL, "traddr too long: %s", o.Trid.Traddr)
	case o.Trid.Adrfam != "" && o.Trid.Adrfam != "IPv4" && o.Trid.Adrfam != "IPv6" && !otherFamily(o.Trid.Adrfam):
		return refuse(errdefs.InvalidArgument, syscall.EINVAL, "Failed to parse adrfam: %s", o.Trid.Adrfam)
	case len(o.Trid.Trsvcid) > trsvcidMax:
		return refuse(errdefs.InvalidArgument, syscall.EINVAL, "trsvcid too long: %s", o.Trid.Trsvcid)
	case len(o.Trid.Subnqn) > nqnMax:
		return refuse(errdefs.InvalidArgument, syscall.EINVAL, "subnqn too long: %s", o.Trid.Subnqn)
	case len(o.HostNQN) > nqnMax:
		return refuse(errdefs.InvalidArgument, syscall.EINVAL, "hostnqn too long: %s", o.HostNQN)
	case len(o.HostAddr) > traddrMax:
		return refuse(errdefs.InvalidArgument, syscall.EINVAL, "hostaddr too long: %s", o.HostAddr)
	case len(o.HostSvcID) > trsvcidMax:
		return refuse(errdefs.InvalidArgument, syscall.EINVAL, "hostsvcid too long: %s", o.HostSvcID)
	}
	return nil
}

// otherFamily says whether SPDK knows an address family that TCP cannot use.
func otherFamily(adrfam string) bool {
	return slices.ContainsFunc([]string{"IB", "FC", "Intra_host"}, func(s string) bool { return strings.EqualFold(s, adrfam) })
}

// admit checks a wish against what is there, and returns the settings of the connection. The caller
// holds mu.
func (h *Host) admit(o *AttachOptions) (settings, error) {
	if c := h.find(o.Name); c != nil {
		if err := c.admit(o); err != nil {
			return settings{}, err
		}
	}
	if o.IOQueues == 0 || o.IOQueues > 65536 {
		return settings{}, refuse(errdefs.InvalidArgument, syscall.EINVAL, "num_io_queues out of bounds, min: 1 max: 65536")
	}
	for _, c := range h.controllers {
		for _, p := range c.paths {
			if p.is(o) {
				return settings{}, errdefs.Wrap(errdefs.AlreadyExists, syscall.EEXIST,
					"NVMe controller %q has the address %s port %s already", c.name, o.Trid.Traddr, o.Trid.Trsvcid)
			}
		}
	}
	if o.Name == "" || len(o.Name) > nameMax {
		return settings{}, invalid("the name of an NVMe controller has 1 to %d bytes", nameMax)
	}
	if err := o.Recovery.validate(); err != nil {
		return settings{}, err
	}
	if err := o.Multipath.validate(); err != nil {
		return settings{}, err
	}
	if c := h.find(o.Name); c != nil && c.multipath != (o.Mode == ModeMultipath) {
		return settings{}, invalid("NVMe controller %q is of another multipath mode", o.Name)
	}
	if o.Trid.Trtype != "TCP" {
		return settings{}, errdefs.Wrap(errdefs.Unimplemented, syscall.ENODEV, "transport type %q is not known here", o.Trid.Trtype)
	}
	connectTimeout := o.ConnectTimeout
	if connectTimeout == 0 {
		connectTimeout = h.cfg.AnswerTimeout
	}
	return settings{
		log:  h.log.With("controller", o.Name, "traddr", o.Trid.Traddr, "trsvcid", o.Trid.Trsvcid),
		trid: o.Trid, hostaddr: o.HostAddr, hostsvcid: o.HostSvcID, hostnqn: o.HostNQN, hostid: h.cfg.HostID,
		hdgst: o.HeaderDigest, ddgst: o.DataDigest, noFlowControl: o.NoSQFlowControl,
		queues:    min(int(o.IOQueues), h.cfg.QueuesMax),
		keepAlive: h.options.KeepAliveTimeout, dialTimeout: h.options.ConnectTimeout, ackTimeout: h.options.AckTimeout,
		connectTimeout: connectTimeout, commandTimeout: h.cfg.AnswerTimeout,
	}, nil
}

// admit checks a wish against the controller of the same name; the caller holds Host.mu.
func (c *controller) admit(o *AttachOptions) error {
	if o.Mode == ModeDisable {
		return refuse(errdefs.AlreadyExists, syscall.EALREADY,
			"A controller named %s already exists and multipath is disabled", o.Name)
	}
	if len(c.paths) == 0 {
		return nil
	}
	first := c.paths[0]
	first.mu.Lock()
	set := first.set
	first.mu.Unlock()
	switch {
	case set.trid.Traddr == o.Trid.Traddr && set.trid.Trsvcid == o.Trid.Trsvcid &&
		set.hostaddr == o.HostAddr && set.hostsvcid == o.HostSvcID:
		return refuse(errdefs.AlreadyExists, syscall.EALREADY,
			"A controller named %s already exists with the specified network path", o.Name)
	case set.trid.Subnqn != o.Trid.Subnqn:
		return refuse(errdefs.InvalidArgument, syscall.EINVAL,
			"A controller named %s already exists, but uses a different subnqn (%s)", o.Name, set.trid.Subnqn)
	case set.hostnqn != o.HostNQN:
		return refuse(errdefs.InvalidArgument, syscall.EINVAL,
			"A controller named %s already exists, but uses a different hostnqn (%s)", o.Name, set.hostnqn)
	}
	return nil
}

// is says whether the path uses that address, subsystem and host NQN now.
func (p *path) is(o *AttachOptions) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set.trid == o.Trid && p.set.hostnqn == o.HostNQN
}
