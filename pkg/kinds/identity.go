// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

var (
	dashedUUID = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
	hexNGUID   = regexp.MustCompile(`^[0-9A-Fa-f]{32}$`)
)

// checkUUID notes a uuid that is not in the usual form, or nil: SPDK takes the nil uuid for "make one
// up", which would be another one after each restart.
func checkUUID(v *resource.Violations, field, s string) {
	v.Check(dashedUUID.MatchString(s) && s != uuid.Nil.String(), field,
		"%q must be a UUID of 36 characters with dashes, and not nil", s)
}

// canonicalUUID writes a uuid in lower case; what is no uuid stays for checkUUID to complain of.
func canonicalUUID(s string) string { return strings.ToLower(s) }

// nguidOfUUID returns the NGUID with the same 16 bytes.
func nguidOfUUID(s string) string { return strings.ReplaceAll(s, "-", "") }

// uuidOfNGUID returns the UUID with the same 16 bytes.
func uuidOfNGUID(s string) string {
	return fmt.Sprintf("%s-%s-%s-%s-%s", s[0:8], s[8:12], s[12:16], s[16:20], s[20:32])
}

// eui64Number is the way back from eui64: the API carries the bits, most significant first, in an int64.
func eui64Number(digits string) int64 {
	n, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return 0
	}
	return int64(n) //nolint:gosec // the bits are meant
}

// eui64 writes the number as SPDK takes it, "" for none.
func eui64(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", uint64(n)) //nolint:gosec // the bits are meant: the API carries an EUI-64 in an int64
}

// within says whether n lies in [low, high].
func within(n, low, high int64) bool { return low <= n && n <= high }

// maxU32 is the highest value of SPDK's 32-bit parameters.
const maxU32 = math.MaxUint32
