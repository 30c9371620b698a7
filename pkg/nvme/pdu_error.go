// SPDX-License-Identifier: Apache-2.0

package nvme

import "fmt"

// FES is the fatal error status of a terminate connection request (tcp figures 21 and 23).
type FES uint16

// The statuses.
const (
	FESInvalidHeaderField FES = 1
	FESSequence           FES = 2
	FESHeaderDigest       FES = 3
	FESDataOutOfRange     FES = 4
	FESLimitExceeded      FES = 5
	FESUnsupportedParam   FES = 6
)

// String names the status.
func (s FES) String() string {
	switch s {
	case FESInvalidHeaderField:
		return "invalid PDU header field"
	case FESSequence:
		return "PDU sequence error"
	case FESHeaderDigest:
		return "header digest error"
	case FESDataOutOfRange:
		return "data transfer out of range"
	case FESLimitExceeded:
		return "transfer limit exceeded"
	case FESUnsupportedParam:
		return "unsupported parameter"
	default:
		return fmt.Sprintf("fatal error status %d", uint16(s))
	}
}

// PDUError is a fault of a received PDU that ends the connection (tcp 3.6.2.4).
type PDUError struct {
	FES FES
	// FEI is the offset of the bad field for FESInvalidHeaderField and FESUnsupportedParam, and
	// the received digest for FESHeaderDigest.
	FEI uint32
	// Reason says what was wrong, for the log.
	Reason string
}

// Error names status and reason.
func (e *PDUError) Error() string { return fmt.Sprintf("%s: %s", e.FES, e.Reason) }

func headerError(offset uint32, format string, args ...any) error {
	return &PDUError{FES: FESInvalidHeaderField, FEI: offset, Reason: fmt.Sprintf(format, args...)}
}
