// SPDX-License-Identifier: Apache-2.0

package driver

// Multipath says how several paths of one remote controller are used.
type Multipath string

// The modes, with SPDK's words.
const (
	MultipathDisable   Multipath = "disable"
	MultipathFailover  Multipath = "failover"
	MultipathMultipath Multipath = "multipath"
)

// Path is one connection of a remote NVMe controller. The first path of a name creates the
// controller in the data plane, the last one to go removes it; all paths of a controller carry the
// same options.
type Path struct {
	// Controller is the name under which the controller is attached; its namespaces become bdevs
	// named "<controller>n<nsid>".
	Controller string
	// Address is the target's.
	Address Address
	// SubsystemNQN is the target subsystem.
	SubsystemNQN string
	// HostNQN is ours; empty leaves it to the data plane.
	HostNQN string
	// SourceTraddr and SourceTrsvcid fix our end; empty leaves them to the data plane.
	SourceTraddr, SourceTrsvcid string
	// Multipath is the controller's mode.
	Multipath Multipath
	// IOQueues is the number of I/O queues; 0 leaves it to the data plane.
	IOQueues uint32
	// HeaderDigest and DataDigest turn on the CRC32C checks of NVMe/TCP.
	HeaderDigest, DataDigest bool
	// TLSKey is the name of the pre-shared key for TLS, "" for plain TCP.
	TLSKey string

	// State is observed only: "enabled", "failed", "resetting", "reconnect_is_delayed", "disabled",
	// "deleting", or "alternate" for the unused path of a failover controller.
	State string
}

// PathKey returns the key of the path: everything that tells it from the other paths of its
// controller, and that a detach needs.
func PathKey(controller string, a Address, subnqn string) Key {
	a = a.Canonical()
	return Key{TypePath, join(controller, string(a.Transport), string(a.Family), a.Traddr, a.Trsvcid, subnqn)}
}

// Remedy implements [Object]: other paths carry the I/O, or it waits.
func (p *Path) Remedy([]string) Remedy { return RemedyReplace }

// Brings implements [Remote]: an attach waits for the target.
func (p *Path) Brings() string { return p.Controller }

// Group implements [Member]: the controller.
func (p *Path) Group() string { return p.Controller }

// Key implements [Object].
func (p *Path) Key() Key { return PathKey(p.Controller, p.Address, p.SubsystemNQN) }

// Needs implements [Object].
func (p *Path) Needs() []Key { return withTLSKey(nil, p.TLSKey) }

// Differences implements [Object]. SPDK does not tell digests, queue count and multipath mode of an
// attached path, so only what it tells is compared.
func (p *Path) Differences(observed Object) []string {
	o, ok := observed.(*Path)
	if !ok {
		return []string{"type"}
	}
	var d differ
	d.check("hostnqn", p.HostNQN == "" || p.HostNQN == o.HostNQN)
	d.check("hostaddr", p.SourceTraddr == "" || p.SourceTraddr == o.SourceTraddr)
	d.check("hostsvcid", p.SourceTrsvcid == "" || p.SourceTrsvcid == o.SourceTrsvcid)
	return d.found
}
