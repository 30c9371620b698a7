// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"encoding/binary"
	"fmt"
)

// Requests of the front end, by their numbers in the vhost-user protocol.
const (
	reqGetFeatures         = 1
	reqSetFeatures         = 2
	reqSetOwner            = 3
	reqResetOwner          = 4
	reqSetMemTable         = 5
	reqSetVringNum         = 8
	reqSetVringAddr        = 9
	reqSetVringBase        = 10
	reqGetVringBase        = 11
	reqSetVringKick        = 12
	reqSetVringCall        = 13
	reqSetVringErr         = 14
	reqGetProtocolFeatures = 15
	reqSetProtocolFeatures = 16
	reqGetQueueNum         = 17
	reqSetVringEnable      = 18
	reqSetBackendReqFD     = 21
	reqGetConfig           = 24
	reqSetConfig           = 25
	reqGetInflightFD       = 31
	reqSetInflightFD       = 32
	reqResetDevice         = 34
	reqGetMaxMemSlots      = 36
	reqAddMemReg           = 37
	reqRemMemReg           = 38
)

// backendConfigChange is the request of the back end that says the config space has changed.
const backendConfigChange = 2

// Protocol features, as bits.
const (
	protoMQ                = 1 << 0
	protoReplyAck          = 1 << 3
	protoBackendReq        = 1 << 5
	protoConfig            = 1 << 9
	protoBackendSendFD     = 1 << 10
	protoInflight          = 1 << 12
	protoResetDevice       = 1 << 13
	protoConfigureMemSlots = 1 << 15

	protoOffered = protoMQ | protoReplyAck | protoBackendReq | protoConfig | protoBackendSendFD |
		protoInflight | protoResetDevice | protoConfigureMemSlots
)

// Device features, as bits (virtio 1.2, sections 5.2.3 and 6).
const (
	blkSizeMax     = 1 << 1
	blkSegMax      = 1 << 2
	blkRO          = 1 << 5
	blkBlkSize     = 1 << 6
	blkFlush       = 1 << 9
	blkTopology    = 1 << 10
	blkMQ          = 1 << 12
	blkDiscard     = 1 << 13
	blkWriteZeroes = 1 << 14

	featAnyLayout = 1 << 27
	featIndirect  = 1 << 28
	featEventIdx  = 1 << 29
	// featProtocol is vhost-user's own: the front end may ask for protocol features.
	featProtocol = 1 << 30
	featVersion1 = 1 << 32

	featTransport = featAnyLayout | featIndirect | featEventIdx | featProtocol | featVersion1
)

// Flags in the header of a message.
const (
	flagVersion     = 1
	flagVersionMask = 3
	flagReply       = 1 << 2
	flagNeedReply   = 1 << 3
)

// Limits on what a front end may say.
const (
	headerBytes = 12
	// maxPayloadBytes is far above the largest message that is understood, a memory table.
	maxPayloadBytes = 4096
	// maxFDs is above the number of descriptors which any message has.
	maxFDs = 32
	// maxTableRegions is the number of regions in a memory table. QEMU sends at most 8.
	maxTableRegions = 32
	// maxMemSlots is the number of regions that may be added one by one.
	maxMemSlots = 256
	// maxQueues is the number of queues: kick and call messages have eight bits for the index.
	maxQueues = 256
	// maxQueueSize is the largest ring that virtio allows.
	maxQueueSize = 32768
)

// message is one message of a front end. The payload is valid until the next one is read; who takes
// a descriptor out of fds owns it, and what is left there is closed.
type message struct {
	request, flags uint32
	payload        []byte
	fds            []int
}

// takeFD takes the only descriptor of a message.
func (m *message) takeFD() (int, error) {
	if len(m.fds) != 1 {
		return -1, fmt.Errorf("message %d came with %d file descriptors instead of one", m.request, len(m.fds))
	}
	fd := m.fds[0]
	m.fds = nil
	return fd, nil
}

// want checks that the payload has at least n bytes.
func (m *message) want(n int) error {
	if len(m.payload) < n {
		return fmt.Errorf("message %d has %d bytes and needs %d", m.request, len(m.payload), n)
	}
	return nil
}

func (m *message) u32(at int) uint32 { return binary.LittleEndian.Uint32(m.payload[at:]) }
func (m *message) u64(at int) uint64 { return binary.LittleEndian.Uint64(m.payload[at:]) }

// number reads a payload that is one number of 64 bits.
func (m *message) number() (uint64, error) {
	if err := m.want(8); err != nil {
		return 0, err
	}
	return m.u64(0), nil
}

// vring reads a payload of a queue's index and a number.
func (m *message) vring() (index, value uint32, err error) {
	if err := m.want(8); err != nil {
		return 0, 0, err
	}
	return m.u32(0), m.u32(4), nil
}

// regionSpec is the description of one region of guest memory.
type regionSpec struct {
	// guest is its address in the guest, user in the front end, and offset in the file; all in bytes.
	guest, size, user, offset uint64
}

// regionBytes is the length of a description.
const regionBytes = 32

// region reads a description at an offset of the payload that want has been asked about.
func (m *message) region(at int) regionSpec {
	return regionSpec{guest: m.u64(at), size: m.u64(at + 8), user: m.u64(at + 16), offset: m.u64(at + 24)}
}
