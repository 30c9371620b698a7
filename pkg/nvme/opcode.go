// SPDX-License-Identifier: Apache-2.0

package nvme

// Admin commands (base 5, figure 138).
const (
	AdminDeleteIOSQ       uint8 = 0x00
	AdminCreateIOSQ       uint8 = 0x01
	AdminGetLogPage       uint8 = 0x02
	AdminDeleteIOCQ       uint8 = 0x04
	AdminCreateIOCQ       uint8 = 0x05
	AdminIdentify         uint8 = 0x06
	AdminAbort            uint8 = 0x08
	AdminSetFeatures      uint8 = 0x09
	AdminGetFeatures      uint8 = 0x0A
	AdminAsyncEventReq    uint8 = 0x0C
	AdminFirmwareCommit   uint8 = 0x10
	AdminFirmwareDownload uint8 = 0x11
	AdminKeepAlive        uint8 = 0x18
)

// I/O commands of the NVM command set (nvm 3.2; base 7).
const (
	IOFlush       uint8 = 0x00
	IOWrite       uint8 = 0x01
	IORead        uint8 = 0x02
	IOCompare     uint8 = 0x05
	IOWriteZeroes uint8 = 0x08
	IODSM         uint8 = 0x09
	IOCopy        uint8 = 0x19
)

// Fabrics is the opcode of every fabrics command (base 6); the command itself is FCTYPE.
const Fabrics uint8 = 0x7F

// Fabrics command types (base 6, figure 377).
const (
	FabricsPropertySet uint8 = 0x00
	FabricsConnect     uint8 = 0x01
	FabricsPropertyGet uint8 = 0x04
	FabricsAuthSend    uint8 = 0x05
	FabricsAuthReceive uint8 = 0x06
	FabricsDisconnect  uint8 = 0x08
)

// Transfer is the direction in which a command moves data.
type Transfer uint8

// The directions, as bits 1:0 of every opcode say them (base 5, figure 138).
const (
	TransferNone Transfer = 0
	TransferH2C  Transfer = 1
	TransferC2H  Transfer = 2
	TransferBidi Transfer = 3
)

// DataTransfer returns the direction of the data of command e.
func DataTransfer(e SQE) Transfer {
	if e.OPC() == Fabrics {
		return Transfer(e.FCTYPE() & 3)
	}
	return Transfer(e.OPC() & 3)
}
