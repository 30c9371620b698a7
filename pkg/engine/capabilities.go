// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// Capabilities returns what the driver and its data plane can do, asked of them now.
func (e *Engine) Capabilities(ctx context.Context) (driver.Capabilities, error) {
	capable, ok := e.cfg.Driver.(driver.Capable)
	if !ok {
		return driver.Capabilities{}, errdefs.New(errdefs.Unimplemented, "this driver does not say what it can do")
	}
	return capable.Capabilities(ctx)
}
