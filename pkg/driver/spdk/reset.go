// SPDX-License-Identifier: Apache-2.0

package spdk

import (
	"context"
	"fmt"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/spdkrpc"
)

// defaultResetTimeout is far more than a reset takes that gets anywhere: SPDK answers when it has connected
// again, or failed to once.
const defaultResetTimeout = 30 * time.Second

// ResetController implements [driver.Resetter]. SPDK 26.09-pre has been seen not to answer at all, where
// data digests were on and reads were under way.
func (d *Driver) ResetController(ctx context.Context, controller string) error {
	const method = "bdev_nvme_reset_controller"
	ctx, cancel := context.WithTimeoutCause(ctx, d.resetTime, fmt.Errorf("no answer for %v", d.resetTime))
	defer cancel()
	err := spdkrpc.NvmeResetController(ctx, d.client, controller)
	if err == nil {
		return nil
	}
	r := spdkrpc.Refusal(err)
	switch {
	case r != nil && r.Code == spdkrpc.CodeNoDevice:
		return refuse(errdefs.NotFound, method, err, "controller %s does not exist in the data plane", controller)
	case r != nil && r.Code == spdkrpc.CodePerm:
		return refuse(errdefs.FailedPrecondition, method, err,
			"controller %s has no connection that could be reset; it is being reconnected", controller)
	}
	return plain(method, err, "reset controller %s", controller)
}
