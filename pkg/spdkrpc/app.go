// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import (
	"context"
	"fmt"
)

// Version is what SPDK says it is.
type Version struct {
	// Text is SPDK's own sentence, "SPDK v26.09-pre git sha1 3230130e6a" say.
	Text string `json:"version"`
	// Fields are its parts.
	Fields struct {
		Major  int    `json:"major"`
		Minor  int    `json:"minor"`
		Patch  int    `json:"patch"`
		Suffix string `json:"suffix"`
	} `json:"fields"`
}

// Firmware is the firmware revision that the controllers of that SPDK show to hosts: "26.09", or "24.01.1".
func (v Version) Firmware() string {
	if v.Fields.Major == 0 {
		return ""
	}
	firmware := fmt.Sprintf("%d.%02d", v.Fields.Major, v.Fields.Minor)
	if v.Fields.Patch > 0 {
		firmware += fmt.Sprintf(".%d", v.Fields.Patch)
	}
	return firmware
}

// GetVersion asks for the version (spdk_get_version).
func GetVersion(ctx context.Context, c Caller) (Version, error) {
	return get[Version](ctx, c, "spdk_get_version", nil)
}

type getMethods struct {
	Current bool `json:"current"`
}

// GetMethods asks for the methods that may be called now (rpc_get_methods). Before SPDK's framework
// is initialized that is next to nothing.
func GetMethods(ctx context.Context, c Caller) ([]string, error) {
	return get[[]string](ctx, c, "rpc_get_methods", getMethods{Current: true})
}
