// SPDX-License-Identifier: Apache-2.0

package tlspsk

import "fmt"

// Alert is what an end is told when the other one gives up (RFC 8446, section 6).
type Alert uint8

// The alerts that this package sends or knows by name.
const (
	AlertCloseNotify          Alert = 0
	AlertUnexpectedMessage    Alert = 10
	AlertBadRecordMAC         Alert = 20
	AlertRecordOverflow       Alert = 22
	AlertHandshakeFailure     Alert = 40
	AlertIllegalParameter     Alert = 47
	AlertDecodeError          Alert = 50
	AlertDecryptError         Alert = 51
	AlertProtocolVersion      Alert = 70
	AlertInternalError        Alert = 80
	AlertUserCanceled         Alert = 90
	AlertMissingExtension     Alert = 109
	AlertUnsupportedExtension Alert = 110
	AlertUnknownPSKIdentity   Alert = 115
)

// String returns the alert's name in TLS.
func (a Alert) String() string {
	switch a {
	case AlertCloseNotify:
		return "close_notify"
	case AlertUnexpectedMessage:
		return "unexpected_message"
	case AlertBadRecordMAC:
		return "bad_record_mac"
	case AlertRecordOverflow:
		return "record_overflow"
	case AlertHandshakeFailure:
		return "handshake_failure"
	case AlertIllegalParameter:
		return "illegal_parameter"
	case AlertDecodeError:
		return "decode_error"
	case AlertDecryptError:
		return "decrypt_error"
	case AlertProtocolVersion:
		return "protocol_version"
	case AlertInternalError:
		return "internal_error"
	case AlertUserCanceled:
		return "user_canceled"
	case AlertMissingExtension:
		return "missing_extension"
	case AlertUnsupportedExtension:
		return "unsupported_extension"
	case AlertUnknownPSKIdentity:
		return "unknown_psk_identity"
	default:
		return fmt.Sprintf("alert %d", uint8(a))
	}
}

// Error is why a connection ended before its time.
type Error struct {
	// Alert is what was sent to the peer, or what it sent.
	Alert Alert
	// Remote says that the peer gave up, not this end.
	Remote bool
	// Reason says more of a fault that this end found; "" if Remote.
	Reason string
}

// Error names the alert, who raised it, and why.
func (e *Error) Error() string {
	if e.Remote {
		return "tls: the peer gave up: " + e.Alert.String()
	}
	return "tls: " + e.Reason + " (" + e.Alert.String() + ")"
}

func fault(a Alert, format string, args ...any) error {
	return &Error{Alert: a, Reason: fmt.Sprintf(format, args...)}
}
