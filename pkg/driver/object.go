// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Type names a type of object that a data plane holds.
type Type string

// The object types.
const (
	// TypeBdev is a block device: one that the bridge makes (null, malloc, aio), one that came with
	// a remote controller, or somebody else's.
	TypeBdev Type = "bdev"
	// TypePath is one connection of a remote NVMe controller.
	TypePath Type = "path"
	// TypeSubsystem is a host-facing NVMe subsystem.
	TypeSubsystem Type = "subsystem"
	// TypeHost is the permission of one host NQN on one subsystem.
	TypeHost Type = "host"
	// TypeListener is an endpoint through which hosts reach a subsystem.
	TypeListener Type = "listener"
	// TypeNamespace is a namespace of a subsystem.
	TypeNamespace Type = "namespace"
)

// Key is the identity of an object within one data plane: what a delete needs to know.
type Key struct {
	// Type is the object's type.
	Type Type
	// ID is unique within the type; its form is the object's own business. Make keys with the
	// functions of this package only.
	ID string
}

// String returns "type/id".
func (k Key) String() string { return string(k.Type) + "/" + k.ID }

// Object is something that a data plane can hold. Objects are values: once handed to anyone they do
// not change. Objects with equal keys have the same Go type.
type Object interface {
	// Key returns the identity.
	Key() Key
	// Needs returns the keys that must exist before this object can, and while it does.
	Needs() []Key
	// Differences compares a wanted object with the observed one of the same key, and names what
	// differs ("uuid", "num_blocks"). What the wanted object leaves open (a zero optional field)
	// does not differ. Empty means that the observed object serves.
	Differences(observed Object) []string
	// Remedy says what may be done about these differences (as Differences names them).
	Remedy(differences []string) Remedy
}

// Member marks objects that belong together without an object that they all need: the paths of a
// remote controller.
type Member interface {
	Object
	// Group names what the object is a member of, unique among all groups.
	Group() string
}

// Entrance marks an object through which hosts reach another one and all that has been put into that.
// A host takes what it meets there for all there is: a Linux host forgets a disk that a subsystem
// lacks when it reconnects, and gives a subsystem up that does not know it. So when things are put
// back after a restart, an entrance comes last.
type Entrance interface {
	Object
	// LeadsTo returns the key of the object that hosts reach.
	LeadsTo() Key
	// Open says of an observed one whether hosts are served there.
	Open() bool
}

// Remedy is a way to make an observed object what is wanted.
type Remedy uint8

// The remedies.
const (
	// RemedyNone: what is there must not be touched: it holds data, or carries others, or is
	// somebody else's.
	RemedyNone Remedy = iota
	// RemedyUpdate: it can be changed in place.
	RemedyUpdate
	// RemedyReplace: it can be deleted and made again, at the cost of a moment's connection.
	RemedyReplace
	// RemedyRebuild: it can be deleted and made again with all that stands on it, as long as no entrance
	// leads to it: no host must ever see that.
	RemedyRebuild
)

// BdevKind says how a bdev is made.
type BdevKind string

// The kinds of bdev. Observed bdevs of any other origin are BdevForeign.
const (
	BdevNull    BdevKind = "null"
	BdevMalloc  BdevKind = "malloc"
	BdevAio     BdevKind = "aio"
	BdevNvme    BdevKind = "nvme"
	BdevCrypto  BdevKind = "crypto"
	BdevForeign BdevKind = "foreign"
)

// Bdev is a block device. Null, malloc, aio and crypto bdevs can be created; the others are only
// observed.
type Bdev struct {
	// Name is the bdev's name, unique in the data plane together with all aliases and uuids.
	Name string
	// Kind says how it is made.
	Kind BdevKind
	// BlockSizeBytes is the data block size without metadata. For aio 0 leaves it to the file.
	BlockSizeBytes uint32
	// Blocks is the number of blocks. For aio it follows from the file and is not compared when 0.
	Blocks uint64
	// MetadataBytes is the metadata per block (malloc only).
	MetadataBytes uint32
	// UUID is the identity, lower case with dashes. Never empty in a wanted object, but for crypto
	// bdevs, whose uuid follows from that of their base.
	UUID string
	// Filename is the file or block device behind an aio bdev.
	Filename string
	// Base and CryptoKey are the names of the bdev below and of the key of a crypto bdev.
	Base, CryptoKey string

	// Claimed is observed only: somebody (a namespace, say) has the bdev as its exclusive writer.
	Claimed bool
	// Aliases are observed only: further names.
	Aliases []string
	// Nvme is observed only: where a BdevNvme comes from, else nil.
	Nvme *NvmeOrigin
}

// NvmeOrigin tells which namespace of which remote controller a bdev is.
type NvmeOrigin struct {
	// Controller is the name the remote controller was attached under.
	Controller string
	// NSID is the namespace's id at the target.
	NSID uint32
	// UUID (with dashes), NGUID (32 hexadecimal digits) and EUI64 (16) are what the target says the
	// namespace is known by, in lower case; "" where it has none, or has not been asked yet.
	UUID, NGUID, EUI64 string
}

// OriginOf returns where a bdev of that name comes from if it came with a remote controller:
// "<controller>n<nsid>". A bdev that somebody has named in this form is taken for one, too.
func OriginOf(bdev string) (o NvmeOrigin, ok bool) {
	at := strings.LastIndexByte(bdev, 'n')
	if at < 1 {
		return o, false
	}
	nsid, err := strconv.ParseUint(bdev[at+1:], 10, 32)
	if err != nil {
		return o, false
	}
	return NvmeOrigin{Controller: bdev[:at], NSID: uint32(nsid)}, true
}

// BdevKey returns the key of the bdev with that name.
func BdevKey(name string) Key { return Key{TypeBdev, name} }

// Remedy implements [Object]: null and aio bdevs can follow a new size; anything else would lose
// what the bdev holds.
func (b *Bdev) Remedy(differences []string) Remedy {
	if (b.Kind == BdevNull || b.Kind == BdevAio) && len(differences) == 1 && differences[0] == "num_blocks" {
		return RemedyUpdate
	}
	return RemedyNone
}

// Key implements [Object].
func (b *Bdev) Key() Key { return BdevKey(b.Name) }

// Needs implements [Object]: a crypto bdev stands on another and needs its key; the others stand on
// nothing that the data plane holds.
func (b *Bdev) Needs() []Key {
	if b.Kind != BdevCrypto {
		return nil
	}
	return []Key{BdevKey(b.Base), CryptoKeyKey(b.CryptoKey)}
}

// Differences implements [Object].
func (b *Bdev) Differences(observed Object) []string {
	o, ok := observed.(*Bdev)
	if !ok {
		return []string{"type"}
	}
	var d differ
	d.check("kind", b.Kind == o.Kind)
	d.check("base_bdev_name", b.Base == o.Base)
	d.check("key_name", b.CryptoKey == o.CryptoKey)
	d.check("block_size", b.BlockSizeBytes == 0 || b.BlockSizeBytes == o.BlockSizeBytes)
	d.check("num_blocks", b.Blocks == 0 || b.Blocks == o.Blocks)
	d.check("md_size", b.MetadataBytes == o.MetadataBytes)
	d.check("uuid", b.UUID == "" || strings.EqualFold(b.UUID, o.UUID))
	d.check("filename", b.Filename == o.Filename)
	return d.found
}

// Subsystem is a host-facing NVMe subsystem.
type Subsystem struct {
	// NQN is the subsystem's NVMe qualified name.
	NQN string
	// SerialNumber is at most 20, ModelNumber at most 40 printable ASCII characters.
	SerialNumber, ModelNumber string
	// MaxNamespaces is the highest nsid; 0 leaves it to the data plane.
	MaxNamespaces uint32
	// AllowAnyHost lets every host in; otherwise the Host objects of the subsystem decide.
	AllowAnyHost bool
	// MinCntlid and MaxCntlid bound the controller ids; 0 leaves them to the data plane.
	MinCntlid, MaxCntlid uint16

	// ANAReporting is observed only: hosts are told through which listeners they may reach its
	// namespaces (asymmetric namespace access), so that a listener can keep a disk from them and still
	// be there. It is seen once the subsystem has a namespace. No subsystem of ours has it.
	ANAReporting bool
}

// SubsystemKey returns the key of the subsystem with that NQN.
func SubsystemKey(nqn string) Key { return Key{TypeSubsystem, nqn} }

// Remedy implements [Object]: who may connect can be changed in place, which controller ids hosts get
// while there are none; a subsystem that differs in anything else is another one.
func (s *Subsystem) Remedy(differences []string) Remedy {
	remedy := RemedyUpdate
	for _, d := range differences {
		switch d {
		case "allow_any_host":
		case "min_cntlid", "max_cntlid":
			remedy = RemedyRebuild
		default:
			return RemedyNone
		}
	}
	return remedy
}

// Key implements [Object].
func (s *Subsystem) Key() Key { return SubsystemKey(s.NQN) }

// Needs implements [Object].
func (s *Subsystem) Needs() []Key { return nil }

// Differences implements [Object].
func (s *Subsystem) Differences(observed Object) []string {
	o, ok := observed.(*Subsystem)
	if !ok {
		return []string{"type"}
	}
	var d differ
	d.check("serial_number", s.SerialNumber == "" || s.SerialNumber == o.SerialNumber)
	d.check("model_number", s.ModelNumber == "" || s.ModelNumber == o.ModelNumber)
	d.check("max_namespaces", s.MaxNamespaces == 0 || s.MaxNamespaces == o.MaxNamespaces)
	d.check("allow_any_host", s.AllowAnyHost == o.AllowAnyHost)
	d.check("min_cntlid", s.MinCntlid == 0 || s.MinCntlid == o.MinCntlid)
	d.check("max_cntlid", s.MaxCntlid == 0 || s.MaxCntlid == o.MaxCntlid)
	d.check("ana_reporting", s.ANAReporting == o.ANAReporting)
	return d.found
}

// Host is the permission of one host on one subsystem.
type Host struct {
	// Subsystem is the NQN of the subsystem.
	Subsystem string
	// NQN is the host's NVMe qualified name.
	NQN string
	// TLSKey is the name of the pre-shared key that the host must have, "" for none. No data plane
	// tells it of an observed host.
	TLSKey string
}

// HostKey returns the key of that permission.
func HostKey(subsystem, host string) Key { return Key{TypeHost, join(subsystem, host)} }

// Remedy implements [Object]: it is a permission only.
func (h *Host) Remedy([]string) Remedy { return RemedyReplace }

// Key implements [Object].
func (h *Host) Key() Key { return HostKey(h.Subsystem, h.NQN) }

// Needs implements [Object].
func (h *Host) Needs() []Key { return withTLSKey([]Key{SubsystemKey(h.Subsystem)}, h.TLSKey) }

// withTLSKey adds the key of a pre-shared key to needs, if there is one.
func withTLSKey(needs []Key, name string) []Key {
	if name == "" {
		return needs
	}
	return append(needs, TLSKeyKey(name))
}

// Differences implements [Object].
func (h *Host) Differences(observed Object) []string {
	if _, ok := observed.(*Host); !ok {
		return []string{"type"}
	}
	return nil
}

// Transport is a way of carrying NVMe.
type Transport string

// The transports.
const (
	TransportTCP  Transport = "TCP"
	TransportRDMA Transport = "RDMA"
	TransportPCIe Transport = "PCIE"
)

// Family is the address family of a fabrics address.
type Family string

// The address families.
const (
	FamilyIPv4 Family = "IPv4"
	FamilyIPv6 Family = "IPv6"
)

// Address is one end of an NVMe-oF connection. Compare addresses that have been through
// [Address.Canonical].
type Address struct {
	// Transport is the transport.
	Transport Transport
	// Family is empty where the transport has none.
	Family Family
	// Traddr is the transport address, an IP address for TCP and RDMA.
	Traddr string
	// Trsvcid is the transport service id, a port in decimal for TCP and RDMA.
	Trsvcid string
}

// String returns the address in the form people read: "TCP 127.0.0.1:4420".
func (a Address) String() string {
	if a.Family == FamilyIPv6 {
		return fmt.Sprintf("%s [%s]:%s", a.Transport, a.Traddr, a.Trsvcid)
	}
	return fmt.Sprintf("%s %s:%s", a.Transport, a.Traddr, a.Trsvcid)
}

// Listener is an endpoint through which hosts reach a subsystem.
type Listener struct {
	// Subsystem is the NQN of the subsystem.
	Subsystem string
	// Address is where it listens. PCIe addresses name a function, see PCI.
	Address Address
	// PCI is where the host sees a PCIe endpoint, nil on fabrics.
	PCI *PCIAddress
	// Secure asks for TLS. All listeners at one address must agree. No data plane tells it of an
	// observed listener.
	Secure bool

	// Lacks is observed only: which half of a PCIe endpoint is missing, by drivers that make it of two.
	Lacks Lack
}

// ListenerKey returns the key of that listener.
func ListenerKey(subsystem string, a Address) Key {
	a = a.Canonical()
	return Key{TypeListener, join(subsystem, string(a.Transport), string(a.Family), a.Traddr, a.Trsvcid)}
}

// Remedy implements [Object]: a half that is missing can be added, for anything else hosts connect again.
func (l *Listener) Remedy(differences []string) Remedy {
	if slices.Contains(differences, "type") {
		return RemedyReplace
	}
	return RemedyUpdate
}

// Key implements [Object].
func (l *Listener) Key() Key { return ListenerKey(l.Subsystem, l.Address) }

// Needs implements [Object].
func (l *Listener) Needs() []Key { return []Key{SubsystemKey(l.Subsystem)} }

// LeadsTo implements [Entrance].
func (l *Listener) LeadsTo() Key { return SubsystemKey(l.Subsystem) }

// Open implements [Entrance].
func (l *Listener) Open() bool { return l.Lacks != LacksBackEnd }

// Differences implements [Object].
func (l *Listener) Differences(observed Object) []string {
	o, ok := observed.(*Listener)
	if !ok {
		return []string{"type"}
	}
	var d differ
	d.check(string(o.Lacks), o.Lacks == LacksNothing)
	return d.found
}

// Namespace is a namespace of a subsystem.
type Namespace struct {
	// Subsystem is the NQN of the subsystem.
	Subsystem string
	// NSID is the namespace id that hosts see, 1 or more.
	NSID uint32
	// Bdev is the name of the bdev behind it.
	Bdev string
	// UUID (lower case with dashes), NGUID (32 hex digits) and EUI64 (16 hex digits or empty) are
	// what hosts know the disk by. UUID and NGUID are never empty in a wanted object, because hosts
	// drop a disk whose identifiers change.
	UUID, NGUID, EUI64 string
	// Shown is wanted only: how large hosts know the disk to be.
	Shown Extent
}

// NamespaceKey returns the key of that namespace.
func NamespaceKey(subsystem string, nsid uint32) Key {
	return Key{TypeNamespace, join(subsystem, fmt.Sprint(nsid))}
}

// Remedy implements [Object]: the data is the bdev's.
func (n *Namespace) Remedy([]string) Remedy { return RemedyReplace }

// Key implements [Object].
func (n *Namespace) Key() Key { return NamespaceKey(n.Subsystem, n.NSID) }

// Needs implements [Object].
func (n *Namespace) Needs() []Key { return []Key{SubsystemKey(n.Subsystem), BdevKey(n.Bdev)} }

// Differences implements [Object].
func (n *Namespace) Differences(observed Object) []string {
	o, ok := observed.(*Namespace)
	if !ok {
		return []string{"type"}
	}
	var d differ
	d.check("bdev_name", n.Bdev == o.Bdev)
	d.check("uuid", strings.EqualFold(n.UUID, o.UUID))
	d.check("nguid", strings.EqualFold(n.NGUID, o.NGUID))
	d.check("eui64", strings.EqualFold(n.EUI64, o.EUI64))
	return d.found
}

// differ collects the names of fields that differ.
type differ struct{ found []string }

func (d *differ) check(field string, same bool) {
	if !same {
		d.found = append(d.found, field)
	}
}

// join builds a key's ID. The separator occurs in no NQN, address or number.
func join(parts ...string) string { return strings.Join(parts, "|") }
