// SPDX-License-Identifier: Apache-2.0

package nvme

import "encoding/binary"

// Log page identifiers (base figure 202).
const (
	LogSupported uint8 = 0x00
	LogError     uint8 = 0x01
	LogHealth    uint8 = 0x02
	LogFirmware  uint8 = 0x03
	LogChangedNS uint8 = 0x04
	LogEffects   uint8 = 0x05
	LogANA       uint8 = 0x0C
	LogDiscovery uint8 = 0x70
)

// Sizes of log pages in bytes.
const (
	// LogErrorEntrySize is the size of one entry of the error log.
	LogErrorEntrySize = 64
	LogHealthSize     = 512
	LogFirmwareSize   = 512
	LogEffectsSize    = 4096
	// LogSupportedSize is the size of the list of supported log pages: a dword for each.
	LogSupportedSize = 1024
)

// LogRequest is what Get Log Page asks for (base 5.16).
type LogRequest struct {
	// LID is the log page.
	LID uint8
	// LSP is specific to the page.
	LSP uint8
	// RAE keeps the asynchronous event of the page masked.
	RAE bool
	// Length and Offset are in bytes.
	Length uint64
	Offset uint64
}

// LogRequest reads the fields of Get Log Page.
func (e SQE) LogRequest() LogRequest {
	d10, d11 := e.CDW(10), e.CDW(11)
	return LogRequest{
		LID:    uint8(d10 & 0xFF),
		LSP:    uint8(d10 >> 8 & 0x7F),
		RAE:    d10&(1<<15) != 0,
		Length: 4 * (uint64(d11&0xFFFF)<<16 | uint64(d10>>16) + 1),
		Offset: uint64(e.CDW(13))<<32 | uint64(e.CDW(12)),
	}
}

// SetLogRequest fills in Get Log Page. Length and Offset are multiples of 4, Length is not 0.
func (e SQE) SetLogRequest(r LogRequest) {
	e.SetOPC(AdminGetLogPage)
	numd := r.Length/4 - 1
	d10 := uint32(r.LID) | uint32(r.LSP&0x7F)<<8 | uint32(numd&0xFFFF)<<16
	if r.RAE {
		d10 |= 1 << 15
	}
	e.SetCDW(10, d10)
	e.SetCDW(11, uint32(numd>>16&0xFFFF))
	e.SetCDW(12, uint32(r.Offset&0xFFFFFFFF))
	e.SetCDW(13, uint32(r.Offset>>32&0xFFFFFFFF))
}

// Health is the SMART and health information log page (base 5.16.1.3). Counters are 128 bits wide
// on the wire; the upper half is 0 for as long as anyone can tell.
type Health struct {
	CriticalWarning uint8
	// CompositeTemperature is in kelvin.
	CompositeTemperature uint16
	// AvailableSpare, AvailableSpareThreshold and PercentageUsed are in percent.
	AvailableSpare, AvailableSpareThreshold, PercentageUsed uint8
	// DataUnitsRead and DataUnitsWritten are in thousands of 512 bytes.
	DataUnitsRead, DataUnitsWritten        uint64
	HostReadCommands, HostWriteCommands    uint64
	ControllerBusyMinutes                  uint64
	PowerCycles, PowerOnHours              uint64
	UnsafeShutdowns                        uint64
	MediaErrors, ErrorLogEntries           uint64
	WarningTempMinutes, CriticalTempMinute uint32
}

func (d *Health) visit(c *codec) {
	c.u8(0, &d.CriticalWarning)
	c.u16(1, &d.CompositeTemperature)
	c.u8(3, &d.AvailableSpare)
	c.u8(4, &d.AvailableSpareThreshold)
	c.u8(5, &d.PercentageUsed)
	c.u64(32, &d.DataUnitsRead)
	c.u64(48, &d.DataUnitsWritten)
	c.u64(64, &d.HostReadCommands)
	c.u64(80, &d.HostWriteCommands)
	c.u64(96, &d.ControllerBusyMinutes)
	c.u64(112, &d.PowerCycles)
	c.u64(128, &d.PowerOnHours)
	c.u64(144, &d.UnsafeShutdowns)
	c.u64(160, &d.MediaErrors)
	c.u64(176, &d.ErrorLogEntries)
	c.u32(192, &d.WarningTempMinutes)
	c.u32(196, &d.CriticalTempMinute)
}

// Encode writes d to b, which must hold LogHealthSize bytes.
func (d *Health) Encode(b []byte) { encode(d, b, LogHealthSize) }

// DecodeHealth reads log page LogHealth.
func DecodeHealth(b []byte) (Health, error) {
	var d Health
	return d, decode(&d, b, LogHealthSize, "health log")
}

// Firmware is the firmware slot log page (base 5.16.1.4), of one slot.
type Firmware struct {
	// AFI is the active slot in bits 2:0 and the next one in 6:4.
	AFI uint8
	// FRS1 is the revision in slot 1, at most 8 bytes.
	FRS1 string
}

func (d *Firmware) visit(c *codec) {
	c.u8(0, &d.AFI)
	c.str(8, 8, ' ', &d.FRS1)
}

// Encode writes d to b, which must hold LogFirmwareSize bytes.
func (d *Firmware) Encode(b []byte) { encode(d, b, LogFirmwareSize) }

// DecodeFirmware reads log page LogFirmware.
func DecodeFirmware(b []byte) (Firmware, error) {
	var d Firmware
	return d, decode(&d, b, LogFirmwareSize, "firmware log")
}

// Bits of an entry of the effects log (base figure 211).
const (
	EffectSupported      uint32 = 1 << 0
	EffectContentChange  uint32 = 1 << 1
	EffectScopeNamespace uint32 = 1 << 20
	EffectScopeCtrl      uint32 = 1 << 21
)

// Effects is a view of the commands supported and effects log page (base 5.16.1.6), LogEffectsSize
// bytes long.
type Effects []byte

// Admin returns the entry of an admin command.
func (e Effects) Admin(opc uint8) uint32 { return binary.LittleEndian.Uint32(e[4*int(opc):]) }

// SetAdmin sets the entry of an admin command.
func (e Effects) SetAdmin(opc uint8, v uint32) { binary.LittleEndian.PutUint32(e[4*int(opc):], v) }

// IO returns the entry of an I/O command.
func (e Effects) IO(opc uint8) uint32 { return binary.LittleEndian.Uint32(e[1024+4*int(opc):]) }

// SetIO sets the entry of an I/O command.
func (e Effects) SetIO(opc uint8, v uint32) { binary.LittleEndian.PutUint32(e[1024+4*int(opc):], v) }
