// SPDX-License-Identifier: Apache-2.0

package nvme

import "fmt"

// Status is the status field of a completion without the phase bit: SC in bits 7:0, SCT in 10:8,
// CRD in 12:11, M in 13, DNR in 14 (base 3.3.3.2.1). As an error it matches, by errors.Is, every
// Status of the same code whatever its other bits are.
type Status uint16

// Flags beside the code.
const (
	// DNR: do not retry.
	DNR Status = 1 << 14
	// More: the error log has more about it.
	More Status = 1 << 13

	statusCode Status = 0x7FF
)

// Status code types.
const (
	sctGeneric  Status = 0 << 8
	sctSpecific Status = 1 << 8
	sctMedia    Status = 2 << 8
	sctPath     Status = 3 << 8
)

// Generic command status (base figure 94; nvm figure 12).
const (
	Success                       = sctGeneric
	StatusInvalidOpcode           = sctGeneric | 0x01
	StatusInvalidField            = sctGeneric | 0x02
	StatusCIDConflict             = sctGeneric | 0x03
	StatusDataTransferError       = sctGeneric | 0x04
	StatusInternalError           = sctGeneric | 0x06
	StatusAbortRequested          = sctGeneric | 0x07
	StatusAbortSQDeletion         = sctGeneric | 0x08
	StatusAbortFailedFused        = sctGeneric | 0x09
	StatusAbortMissingFused       = sctGeneric | 0x0A
	StatusInvalidNamespace        = sctGeneric | 0x0B
	StatusCommandSequence         = sctGeneric | 0x0C
	StatusInvalidSGLDescriptor    = sctGeneric | 0x0D
	StatusSGLDataLengthInvalid    = sctGeneric | 0x0F
	StatusSGLTypeInvalid          = sctGeneric | 0x11
	StatusSGLOffsetInvalid        = sctGeneric | 0x16
	StatusHostIDInconsistent      = sctGeneric | 0x18
	StatusKeepAliveExpired        = sctGeneric | 0x19
	StatusKeepAliveInvalid        = sctGeneric | 0x1A
	StatusNamespaceWriteProtected = sctGeneric | 0x20
	StatusTransientTransport      = sctGeneric | 0x22
	StatusLBAOutOfRange           = sctGeneric | 0x80
	StatusCapacityExceeded        = sctGeneric | 0x81
	StatusNamespaceNotReady       = sctGeneric | 0x82
	StatusReservationConflict     = sctGeneric | 0x83
)

// Command specific status (base figure 95). Codes from 0x80 on mean one thing for I/O commands and
// another for fabrics commands (base figure 96).
const (
	StatusInvalidQueueID       = sctSpecific | 0x01
	StatusInvalidQueueSize     = sctSpecific | 0x02
	StatusAbortLimitExceeded   = sctSpecific | 0x03
	StatusAsyncEventLimit      = sctSpecific | 0x05
	StatusInvalidLogPage       = sctSpecific | 0x09
	StatusFeatureNotSaveable   = sctSpecific | 0x0D
	StatusFeatureNotChangeable = sctSpecific | 0x0E
	StatusFeatureNotNamespace  = sctSpecific | 0x0F
	StatusConnectIncompatible  = sctSpecific | 0x80
	StatusConnectBusy          = sctSpecific | 0x81
	StatusConnectInvalidParam  = sctSpecific | 0x82
	StatusConnectRestart       = sctSpecific | 0x83
	StatusConnectInvalidHost   = sctSpecific | 0x84
	StatusInvalidQueueType     = sctSpecific | 0x85
	StatusDiscoverRestart      = sctSpecific | 0x90
	StatusAuthRequired         = sctSpecific | 0x91
)

// Command specific status of I/O commands (nvm figure 13).
const (
	StatusInvalidProtectionInfo = sctSpecific | 0x81
	StatusCommandSizeExceeded   = sctSpecific | 0x83
	StatusWriteToReadOnly       = sctSpecific | 0x82
)

// Media and data integrity status (base figure 97; nvm figure 14).
const (
	StatusWriteFault      = sctMedia | 0x80
	StatusUnrecoveredRead = sctMedia | 0x81
	StatusCompareFailure  = sctMedia | 0x85
	StatusAccessDenied    = sctMedia | 0x86
)

// Path status (base figure 98).
const (
	StatusInternalPathError = sctPath
	StatusANAPersistentLoss = sctPath | 0x01
	StatusANAInaccessible   = sctPath | 0x02
	StatusANATransition     = sctPath | 0x03
	StatusHostPathError     = sctPath | 0x70
	StatusHostAborted       = sctPath | 0x71
)

// Code returns s without its flags.
func (s Status) Code() Status { return s & statusCode }

// SC is the status code.
func (s Status) SC() uint8 { return uint8(s & 0xFF) }

// SCT is the status code type.
func (s Status) SCT() uint8 { return uint8(s >> 8 & 7) }

// DNR says that the same command will fail again.
func (s Status) DNR() bool { return s&DNR != 0 }

// OK says that the command succeeded.
func (s Status) OK() bool { return s.Code() == Success }

// Is makes errors.Is compare codes only.
func (s Status) Is(target error) bool {
	t, ok := target.(Status)
	return ok && t.Code() == s.Code()
}

// Error names the status.
func (s Status) Error() string { return "NVMe status " + s.String() }

// String names the status: the name, and type and code in hexadecimal.
func (s Status) String() string {
	name := s.name()
	if name == "" {
		return fmt.Sprintf("%d/%#02x", s.SCT(), s.SC())
	}
	return fmt.Sprintf("%s (%d/%#02x)", name, s.SCT(), s.SC())
}

// name returns what a code means, or "" for one that is not listed.
func (s Status) name() string {
	switch s.Code() {
	case Success:
		return "success"
	case StatusInvalidOpcode:
		return "invalid opcode"
	case StatusInvalidField:
		return "invalid field"
	case StatusCIDConflict:
		return "command id conflict"
	case StatusDataTransferError:
		return "data transfer error"
	case StatusInternalError:
		return "internal error"
	case StatusAbortRequested:
		return "abort requested"
	case StatusAbortSQDeletion:
		return "aborted by queue deletion"
	case StatusAbortFailedFused:
		return "aborted by failed fused command"
	case StatusAbortMissingFused:
		return "missing fused command"
	case StatusInvalidNamespace:
		return "invalid namespace or format"
	case StatusCommandSequence:
		return "command sequence error"
	case StatusInvalidSGLDescriptor:
		return "invalid SGL segment descriptor"
	case StatusSGLDataLengthInvalid:
		return "data SGL length invalid"
	case StatusSGLTypeInvalid:
		return "SGL descriptor type invalid"
	case StatusSGLOffsetInvalid:
		return "SGL offset invalid"
	case StatusHostIDInconsistent:
		return "host identifier inconsistent"
	case StatusKeepAliveExpired:
		return "keep alive timer expired"
	case StatusKeepAliveInvalid:
		return "keep alive timeout invalid"
	case StatusNamespaceWriteProtected:
		return "namespace is write protected"
	case StatusTransientTransport:
		return "transient transport error"
	case StatusLBAOutOfRange:
		return "LBA out of range"
	case StatusCapacityExceeded:
		return "capacity exceeded"
	case StatusNamespaceNotReady:
		return "namespace not ready"
	case StatusReservationConflict:
		return "reservation conflict"
	case StatusInvalidQueueID:
		return "invalid queue identifier"
	case StatusInvalidQueueSize:
		return "invalid queue size"
	case StatusAbortLimitExceeded:
		return "abort command limit exceeded"
	case StatusAsyncEventLimit:
		return "asynchronous event request limit exceeded"
	case StatusInvalidLogPage:
		return "invalid log page"
	case StatusFeatureNotSaveable:
		return "feature identifier not saveable"
	case StatusFeatureNotChangeable:
		return "feature not changeable"
	case StatusFeatureNotNamespace:
		return "feature not namespace specific"
	case StatusConnectIncompatible:
		return "connect: incompatible format"
	case StatusConnectBusy:
		return "connect: controller busy"
	case StatusConnectInvalidParam:
		return "connect: invalid parameters"
	case StatusConnectRestart:
		return "connect: restart discovery"
	case StatusConnectInvalidHost:
		return "connect: invalid host"
	case StatusInvalidQueueType:
		return "invalid queue type"
	case StatusDiscoverRestart:
		return "discover restart"
	case StatusAuthRequired:
		return "authentication required"
	case StatusWriteFault:
		return "write fault"
	case StatusUnrecoveredRead:
		return "unrecovered read error"
	case StatusCompareFailure:
		return "compare failure"
	case StatusAccessDenied:
		return "access denied"
	case StatusInternalPathError:
		return "internal path error"
	case StatusANAPersistentLoss:
		return "asymmetric access persistent loss"
	case StatusANAInaccessible:
		return "asymmetric access inaccessible"
	case StatusANATransition:
		return "asymmetric access transition"
	case StatusHostPathError:
		return "host pathing error"
	case StatusHostAborted:
		return "command aborted by host"
	default:
		return ""
	}
}
