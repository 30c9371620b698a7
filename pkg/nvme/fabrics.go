// SPDX-License-Identifier: Apache-2.0

package nvme

import "encoding/binary"

// Offsets of the fields of Connect that Connect Invalid Parameters can name: the command's with
// IATTR 0, the data's with IATTR 1 (base 6.3).
const (
	ConnectRECFMTOffset = 40
	ConnectQIDOffset    = 42
	ConnectSQSIZEOffset = 44
	ConnectCATTROffset  = 46
	ConnectKATOOffset   = 48

	ConnectDataHOSTIDOffset  = 0
	ConnectDataCNTLIDOffset  = 16
	ConnectDataSUBNQNOffset  = 256
	ConnectDataHOSTNQNOffset = 512
)

// CATTRNoSQFlowControl in CATTR asks for submission queues without flow control (base 6.3).
const CATTRNoSQFlowControl uint8 = 1 << 2

// CNTLIDDynamic in the data of Connect asks the subsystem to choose the controller (base 6.3).
const CNTLIDDynamic uint16 = 0xFFFF

// FCTYPE is the fabrics command type (base 6).
func (e SQE) FCTYPE() uint8 { return e[4] }

// SetFabrics makes e the fabrics command t: opcode, SGL in PSDT, type.
func (e SQE) SetFabrics(t uint8) {
	e.SetOPC(Fabrics)
	e.SetFlags(0, 1)
	e[4] = t
}

// RECFMT is the record format of Connect and Disconnect; only 0 is defined (base 6.3).
func (e SQE) RECFMT() uint16 { return binary.LittleEndian.Uint16(e[40:]) }

// QID is the queue to connect: 0 is the admin queue.
func (e SQE) QID() uint16 { return binary.LittleEndian.Uint16(e[42:]) }

// SQSIZE is the size of the submission queue, counted from 0.
func (e SQE) SQSIZE() uint16 { return binary.LittleEndian.Uint16(e[44:]) }

// CATTR are the attributes of Connect.
func (e SQE) CATTR() uint8 { return e[46] }

// KATO is the keep alive timeout in milliseconds; 0 disables it.
func (e SQE) KATO() uint32 { return binary.LittleEndian.Uint32(e[48:]) }

// SetConnect fills in the fields of Connect (base 6.3).
func (e SQE) SetConnect(qid, sqsize uint16, cattr uint8, katoMS uint32) {
	e.SetFabrics(FabricsConnect)
	binary.LittleEndian.PutUint16(e[40:], 0)
	binary.LittleEndian.PutUint16(e[42:], qid)
	binary.LittleEndian.PutUint16(e[44:], sqsize)
	e[46], e[47] = cattr, 0
	binary.LittleEndian.PutUint32(e[48:], katoMS)
}

// ATTRIB is the size of the property: 0 is 4 bytes, 1 is 8 (base 6.5, 6.6).
func (e SQE) ATTRIB() uint8 { return e[40] & 7 }

// OFST is the offset of the property.
func (e SQE) OFST() uint32 { return binary.LittleEndian.Uint32(e[44:]) }

// PropertyValue is the value of Property Set.
func (e SQE) PropertyValue() uint64 { return binary.LittleEndian.Uint64(e[48:]) }

// SetPropertyGet fills in Property Get (base 6.5).
func (e SQE) SetPropertyGet(ofst uint32) {
	e.SetFabrics(FabricsPropertyGet)
	e[40] = propertyAttrib(ofst)
	binary.LittleEndian.PutUint32(e[44:], ofst)
}

// SetPropertySet fills in Property Set (base 6.6).
func (e SQE) SetPropertySet(ofst uint32, value uint64) {
	e.SetFabrics(FabricsPropertySet)
	e[40] = propertyAttrib(ofst)
	binary.LittleEndian.PutUint32(e[44:], ofst)
	binary.LittleEndian.PutUint64(e[48:], value)
}

func propertyAttrib(ofst uint32) uint8 {
	switch ofst {
	case PropertyCAP, PropertyASQ, PropertyACQ:
		return 1
	default:
		return 0
	}
}

// ConnectDataSize is the size of the data of Connect (base 6.3).
const ConnectDataSize = 1024

// ConnectData is the data of Connect (base 6.3).
type ConnectData struct {
	// HOSTID identifies the host, all zero is reserved.
	HOSTID [16]byte
	// CNTLID is CNTLIDDynamic for an admin queue, the controller's identifier for an I/O queue.
	CNTLID uint16
	// SUBNQN and HOSTNQN are at most NQNMax bytes.
	SUBNQN, HOSTNQN string
}

func (d *ConnectData) visit(c *codec) {
	c.bytes(ConnectDataHOSTIDOffset, d.HOSTID[:])
	c.u16(ConnectDataCNTLIDOffset, &d.CNTLID)
	c.str(ConnectDataSUBNQNOffset, nqnField, 0, &d.SUBNQN)
	c.str(ConnectDataHOSTNQNOffset, nqnField, 0, &d.HOSTNQN)
}

// Encode writes d to b, which must hold ConnectDataSize bytes.
func (d *ConnectData) Encode(b []byte) { encode(d, b, ConnectDataSize) }

// DecodeConnectData reads the data of Connect; a NQN that fills its field has no terminator and
// comes back longer than NQNMax, so it fails ValidateNQN.
func DecodeConnectData(b []byte) (ConnectData, error) {
	var d ConnectData
	return d, decode(&d, b, ConnectDataSize, "connect data")
}

// ConnectInvalid is dword 0 of the answer to a Connect that was refused with
// StatusConnectInvalidParameters: where the bad field is (base 6.3).
func ConnectInvalid(inData bool, offset uint16) uint32 {
	v := uint32(offset)
	if inData {
		v |= 1 << 16
	}
	return v
}
