// SPDX-License-Identifier: Apache-2.0

package driver

import "context"

// Capable is the further ability to say what a data plane can do.
type Capable interface {
	// Capabilities returns what can be made on the data plane as it is now. It is Unavailable while
	// there is no data plane to say so of.
	Capabilities(ctx context.Context) (Capabilities, error)
}

// Capabilities are what a driver and its data plane offer. What is not listed is refused.
type Capabilities struct {
	// Version is the data plane's own words about its version.
	Version string
	// Transports are the ways of carrying NVMe to hosts and from storage nodes.
	Transports []TransportCapability
	// Frontends are the sorts of device that hosts can be shown.
	Frontends []Frontend
	// Ciphers are the encryptions of volumes, with the lengths of their keys.
	Ciphers []CipherCapability
	// Limits are the limits of a bdev's I/O.
	Limits []LimitCapability
	// Bdevs are the kinds of bdev that can be created.
	Bdevs []BdevKind
	// TLS says whether pre-shared keys can be used for NVMe/TCP; TLSReason says why not.
	TLS       bool
	TLSReason string
}

// Readiness says how sure it is that something works.
type Readiness string

// How sure it is.
const (
	// ReadinessReady: it is in use, or nothing speaks against it.
	ReadinessReady Readiness = "ready"
	// ReadinessUntried: the data plane can tell only when it is tried.
	ReadinessUntried Readiness = "untried"
	// ReadinessMissing: it does not work; the reason says what is missing.
	ReadinessMissing Readiness = "missing"
)

// TransportCapability is a way of carrying NVMe.
type TransportCapability struct {
	// Transport is the transport.
	Transport Transport
	// Listen says whether hosts can be let in by it, Attach whether storage can be reached by it.
	Listen, Attach Readiness
	// Reason says what is missing, "" if nothing is.
	Reason string
}

// Frontend is a sort of device that hosts can be shown.
type Frontend string

// The frontends.
const (
	FrontendNvme       Frontend = "nvme"
	FrontendVirtioBlk  Frontend = "virtio-blk"
	FrontendVirtioScsi Frontend = "virtio-scsi"
)

// CipherCapability is an encryption of volumes.
type CipherCapability struct {
	// Cipher is the encryption.
	Cipher Cipher
	// KeyBits are the lengths that one half of its key can have.
	KeyBits []int
}

// LimitCapability is one limit of a bdev's I/O.
type LimitCapability struct {
	// Name is the data plane's word for it, as Limits.Differences has it.
	Name string
	// Unit is what its values count, and Step what they are multiples of.
	Unit string
	Step uint64
}
