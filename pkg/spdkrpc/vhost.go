// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import "context"

// VhostController is an element of vhost_get_controllers.
type VhostController struct {
	Ctrlr    string `json:"ctrlr"`
	Socket   string `json:"socket"`
	Sessions []struct {
		Name    string `json:"name"`
		Started bool   `json:"started"`
	} `json:"sessions"` // one for each VM that is connected
	BackendSpecific struct {
		Block *VhostBlock        `json:"block"` // nil for vhost-scsi
		Scsi  *[]VhostScsiTarget `json:"scsi"`  // nil for vhost-blk
	} `json:"backend_specific"`
}

// VhostBlock is what a vhost-blk controller has.
type VhostBlock struct {
	Readonly bool   `json:"readonly"`
	Bdev     string `json:"bdev"` // null, and so "", when the bdev has gone
}

// VhostScsiTarget is a slot of a vhost-scsi controller that is in use.
type VhostScsiTarget struct {
	ScsiDevNum uint32 `json:"scsi_dev_num"`
	Luns       []struct {
		ID       uint32 `json:"id"`
		BdevName string `json:"bdev_name"`
	} `json:"luns"`
}

// GetVhostControllers returns all vhost controllers (vhost_get_controllers).
func GetVhostControllers(ctx context.Context, c Caller) ([]VhostController, error) {
	return get[[]VhostController](ctx, c, "vhost_get_controllers", nil)
}

// VhostCreateBlkController are parameters of vhost_create_blk_controller.
type VhostCreateBlkController struct {
	Ctrlr   string `json:"ctrlr"`
	DevName string `json:"dev_name"`
}

// Do makes the call. The socket is in SPDK's directory (-S) and has the controller's name.
func (p VhostCreateBlkController) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "vhost_create_blk_controller", p, nil)
}

// vhostNamed is the parameter of methods that take a controller only.
type vhostNamed struct {
	Ctrlr string `json:"ctrlr"`
}

// VhostCreateScsiController are parameters of vhost_create_scsi_controller.
type VhostCreateScsiController struct {
	Ctrlr string `json:"ctrlr"`
	// Delay leaves it without a socket until it is started. Until then SPDK takes a controller away
	// together with its last target.
	Delay bool `json:"delay,omitempty"`
}

// Do makes the call. The controller has no targets.
func (p VhostCreateScsiController) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "vhost_create_scsi_controller", p, nil)
}

// MethodVhostStartScsi starts a controller.
const MethodVhostStartScsi = "vhost_start_scsi_controller"

// VhostStartScsiController makes the socket of a vhost-scsi controller, if it has none yet. It must not be
// called for a vhost-blk controller: SPDK would die.
func VhostStartScsiController(ctx context.Context, c Caller, name string) error {
	return c.Call(ctx, MethodVhostStartScsi, vhostNamed{name}, nil)
}

// VhostScsiAddTarget are parameters of vhost_scsi_controller_add_target.
type VhostScsiAddTarget struct {
	Ctrlr         string `json:"ctrlr"`
	ScsiTargetNum int32  `json:"scsi_target_num"` // 0 to 7
	BdevName      string `json:"bdev_name"`
}

// Do makes the call. SPDK answers with the number.
func (p VhostScsiAddTarget) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "vhost_scsi_controller_add_target", p, nil)
}

// VhostScsiRemoveTarget are parameters of vhost_scsi_controller_remove_target.
type VhostScsiRemoveTarget struct {
	Ctrlr         string `json:"ctrlr"`
	ScsiTargetNum uint32 `json:"scsi_target_num"`
}

// Do makes the call. The answer comes when the target is gone.
func (p VhostScsiRemoveTarget) Do(ctx context.Context, c Caller) error {
	return c.Call(ctx, "vhost_scsi_controller_remove_target", p, nil)
}

// VhostDeleteController deletes a controller with its targets. SPDK does not answer before the last
// VM has disconnected.
func VhostDeleteController(ctx context.Context, c Caller, name string) error {
	return c.Call(ctx, "vhost_delete_controller", vhostNamed{name}, nil)
}
