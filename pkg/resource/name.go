// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"regexp"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Name is a full resource name (AIP-122): collections and ids in turn, joined by slashes, as in
// "nvmeSubsystems/web-1/nvmeNamespaces/disk-1".
type Name string

// ID returns the last id.
func (n Name) ID() string { return string(n[strings.LastIndexByte(string(n), '/')+1:]) }

// Collection returns the name without the last id: "nvmeSubsystems/web-1/nvmeNamespaces".
func (n Name) Collection() string {
	if i := strings.LastIndexByte(string(n), '/'); i >= 0 {
		return string(n[:i])
	}
	return ""
}

// Parent returns the name of the resource that this one belongs to, "" at the top.
func (n Name) Parent() Name {
	c := n.Collection()
	if i := strings.LastIndexByte(c, '/'); i >= 0 {
		return Name(c[:i])
	}
	return ""
}

// Under says whether n lies below ancestor.
func (n Name) Under(ancestor Name) bool {
	return len(n) > len(ancestor) && strings.HasPrefix(string(n), string(ancestor)) && n[len(ancestor)] == '/'
}

var (
	// newID is what a client may choose: RFC 1034 labels of at least four characters, so that ids
	// can stand in host names and file names, and short words stay free (AIP-122, AIP-133).
	newID = regexp.MustCompile(`^[a-z][a-z0-9-]{2,61}[a-z0-9]$`)
	// shortID is newID without the lower bound, and UUIDs besides.
	shortID = regexp.MustCompile(`^([a-z]([a-z0-9-]{0,61}[a-z0-9])?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)
	// anyID is what a name may hold at all: generated ids (UUIDs) and bdev names too.
	anyID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$`)
)

// CheckNewID says what is wrong with an id that a client chose for a new resource; field is the name
// of the request field it came in.
func CheckNewID(field, id string) error {
	if newID.MatchString(id) {
		return nil
	}
	return errdefs.InvalidField(field, "%q must have 4 to 63 characters of a-z, 0-9 and '-', start with a letter and not end with '-'", id)
}

// CheckShortID is CheckNewID for those who are used to shorter ids and to choosing UUIDs.
func CheckShortID(field, id string) error {
	if shortID.MatchString(id) {
		return nil
	}
	return errdefs.InvalidField(field, "%q must have 1 to 63 characters of a-z, 0-9 and '-', start with a letter and not end with '-', or be a UUID", id)
}
