// SPDX-License-Identifier: Apache-2.0

package nvme

// Feature identifiers (base figure 317).
const (
	FeatureArbitration         uint8 = 0x01
	FeaturePowerManagement     uint8 = 0x02
	FeatureTemperature         uint8 = 0x04
	FeatureErrorRecovery       uint8 = 0x05
	FeatureWriteCache          uint8 = 0x06
	FeatureNumberOfQueues      uint8 = 0x07
	FeatureInterruptCoalescing uint8 = 0x08
	FeatureInterruptVector     uint8 = 0x09
	FeatureWriteAtomicity      uint8 = 0x0A
	FeatureAsyncEvents         uint8 = 0x0B
	FeatureKeepAlive           uint8 = 0x0F
	FeatureHostBehavior        uint8 = 0x16
	FeatureHostID              uint8 = 0x81
)

// FID is the feature identifier of Get and Set Features, in CDW10 (base 5.15, 5.27).
func (e SQE) FID() uint8 { return uint8(e.CDW(10) & 0xFF) }

// SV asks Set Features to save the value.
func (e SQE) SV() bool { return e.CDW(10)>>31 != 0 }

// SetFeature fills in Set Features with its value.
func (e SQE) SetFeature(fid uint8, value uint32) {
	e.SetOPC(AdminSetFeatures)
	e.SetCDW(10, uint32(fid))
	e.SetCDW(11, value)
}

// NumberOfQueues packs the numbers of submission and completion queues, which count from 1 here
// and from 0 on the wire (base 5.27.1.5).
func NumberOfQueues(sq, cq uint16) uint32 { return uint32(sq-1) | uint32(cq-1)<<16 }

// SplitNumberOfQueues is the reverse of NumberOfQueues. 65536 queues, which nobody may ask for,
// come back as 65536.
func SplitNumberOfQueues(v uint32) (sq, cq uint32) { return v&0xFFFF + 1, v>>16 + 1 }

// Bits of feature FeatureAsyncEvents (base 5.27.1.8).
const (
	AsyncEventNamespace    uint32 = 1 << 8
	AsyncEventANA          uint32 = 1 << 11
	AsyncEventDiscoveryLog uint32 = 1 << 31
)

// AsyncEvent is dword 0 of the answer to an Asynchronous Event Request (base 5.2).
type AsyncEvent uint32

// The notices (base figure 146): type 2, what happened, and the log page that says more.
const (
	EventNamespaceChanged = AsyncEvent(2 | 0x00<<8 | uint32(LogChangedNS)<<16)
	EventANAChanged       = AsyncEvent(2 | 0x03<<8 | uint32(LogANA)<<16)
	EventDiscoveryChanged = AsyncEvent(2 | 0xF0<<8 | uint32(LogDiscovery)<<16)
)

// Type is the type of the event; 2 is a notice.
func (a AsyncEvent) Type() uint8 { return uint8(a & 7) }

// Info says what happened.
func (a AsyncEvent) Info() uint8 { return uint8(a >> 8 & 0xFF) }

// LID is the log page to read, which also permits the next event.
func (a AsyncEvent) LID() uint8 { return uint8(a >> 16 & 0xFF) }
