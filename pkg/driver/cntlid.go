// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// The controller ids that a subsystem can give: 0 is never the first one's (SPDK counts from 1), and
// FFF0h to FFFFh are reserved (NVM Express Base Specification 2.0, section 3.1.1).
const (
	MinControllerID = 1
	MaxControllerID = 0xFFEF
)

// ControllerIDs is a range of NVMe controller ids, both ends included: those that a subsystem gives to
// the hosts that connect.
type ControllerIDs struct{ Min, Max uint16 }

// AllControllerIDs returns the range of a subsystem that shares its NQN with no other.
func AllControllerIDs() ControllerIDs { return ControllerIDs{MinControllerID, MaxControllerID} }

// ParseControllerIDs reads a range as String writes it, "1-32767". Errors are InvalidArgument and say
// what would be right.
func ParseControllerIDs(s string) (ControllerIDs, error) {
	from, to, _ := strings.Cut(s, "-")
	low, lowErr := strconv.ParseUint(from, 10, 16)
	high, highErr := strconv.ParseUint(to, 10, 16)
	if lowErr != nil || highErr != nil || low < MinControllerID || high > MaxControllerID || low > high {
		return ControllerIDs{}, errdefs.New(errdefs.InvalidArgument,
			"%q must be MIN-MAX, two numbers from %d to %d, the lower one first", s, MinControllerID, MaxControllerID)
	}
	return ControllerIDs{uint16(low), uint16(high)}, nil
}

// String returns "1-65519".
func (r ControllerIDs) String() string { return fmt.Sprintf("%d-%d", r.Min, r.Max) }
