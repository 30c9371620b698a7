// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/host"
)

func nvmeControllerMethods() []method {
	return []method{
		taking("bdev_nvme_get_controllers", refusedInternal, getControllers).maybe(),
		taking("bdev_nvme_reset_controller", refusedArgument, onController((*host.Host).Reset)),
		taking("bdev_nvme_enable_controller", refusedArgument, onController((*host.Host).Enable)),
		taking("bdev_nvme_disable_controller", refusedArgument, onController((*host.Host).Disable)),
		taking("bdev_nvme_get_controller_health_info", refusal{
			code: jsonrpc.CodeInternalError, message: "Invalid parameters", absent: "Missing device name",
		}, getHealth),
	}
}

// failHost answers with an error of the host: some have a text of their own, the others SPDK's for
// their errno.
func (c *call) failHost(err error) {
	c.server.cfg.Log.Debug("call refused", "method", c.method.name, "err", err)
	if refused, ok := errors.AsType[*host.Refusal](err); ok {
		c.fail(-int(refused.Errno), refused.Text)
		return
	}
	c.failErr(err)
}

// doneHost answers true, or with an error of the host.
func (c *call) doneHost(err error) {
	if err != nil {
		c.failHost(err)
		return
	}
	c.reply(true)
}

type getControllersParams struct {
	Name *string `rpc:"name"`
}

type controllerResult struct {
	Name   string       `json:"name"`
	Ctrlrs []pathResult `json:"ctrlrs"`
}

type pathResult struct {
	State          host.State         `json:"state"`
	Trid           host.TransportID   `json:"trid"`
	AlternateTrids []host.TransportID `json:"alternate_trids,omitempty"`
	Cntlid         uint16             `json:"cntlid"`
	Host           pathHostResult     `json:"host"`
}

type pathHostResult struct {
	NQN               string `json:"nqn"`
	Addr              string `json:"addr"`
	Svcid             string `json:"svcid"`
	NoShnNotification bool   `json:"no_shn_notification"`
}

func getControllers(_ context.Context, c *call, p *getControllersParams) {
	out := []controllerResult{}
	for _, info := range c.server.host.Controllers() {
		if p.Name != nil && *p.Name != info.Name {
			continue
		}
		one := controllerResult{Name: info.Name, Ctrlrs: make([]pathResult, 0, len(info.Paths))}
		for i := range info.Paths {
			path := &info.Paths[i]
			one.Ctrlrs = append(one.Ctrlrs, pathResult{
				State: path.State, Trid: path.Trid, AlternateTrids: path.Alternates, Cntlid: path.CNTLID,
				Host: pathHostResult{NQN: path.HostNQN, Addr: path.HostAddr, Svcid: path.HostSvcID},
			})
		}
		out = append(out, one)
	}
	if p.Name != nil && len(out) == 0 {
		c.fail(-int(syscall.EINVAL), fmt.Sprintf("Controller %s does not exist", *p.Name))
		return
	}
	c.reply(out)
}

type controllerParams struct {
	Name   string  `rpc:"name,required"`
	Cntlid *uint16 `rpc:"cntlid"`
}

// onController makes a method of what can be done with the paths of a controller.
func onController(do func(*host.Host, context.Context, string, *uint16) error) func(context.Context, *call, *controllerParams) {
	return func(ctx context.Context, c *call, p *controllerParams) {
		c.later("", func() { c.doneHost(do(c.server.host, ctx, p.Name, p.Cntlid)) })
	}
}

// healthResult is the health log page of a controller, members in SPDK's order.
type healthResult struct {
	ModelNumber              string `json:"model_number"`
	SerialNumber             string `json:"serial_number"`
	FirmwareRevision         string `json:"firmware_revision"`
	Traddr                   string `json:"traddr"`
	CriticalWarning          uint8  `json:"critical_warning"`
	TemperatureCelsius       uint64 `json:"temperature_celsius"`
	AvailableSpare           uint8  `json:"available_spare_percentage"`
	AvailableSpareThreshold  uint8  `json:"available_spare_threshold_percentage"`
	PercentageUsed           uint8  `json:"percentage_used"`
	DataUnitsRead            uint64 `json:"data_units_read"`
	DataUnitsWritten         uint64 `json:"data_units_written"`
	HostReadCommands         uint64 `json:"host_read_commands"`
	HostWriteCommands        uint64 `json:"host_write_commands"`
	ControllerBusyTime       uint64 `json:"controller_busy_time"`
	PowerCycles              uint64 `json:"power_cycles"`
	PowerOnHours             uint64 `json:"power_on_hours"`
	UnsafeShutdowns          uint64 `json:"unsafe_shutdowns"`
	MediaErrors              uint64 `json:"media_errors"`
	NumErrLogEntries         uint64 `json:"num_err_log_entries"`
	WarningTemperatureTime   uint32 `json:"warning_temperature_time_minutes"`
	CriticalCompositeTemTime uint32 `json:"critical_composite_temperature_time_minutes"`
}

// zeroCelsius is 0 °C in kelvin. SPDK subtracts it without a sign, so that 0 K, which means nothing,
// becomes an enormous number; clients may know it.
const zeroCelsius = 273

func getHealth(ctx context.Context, c *call, p *nameParams) {
	c.later("", func() {
		health, ident, err := c.server.host.Health(ctx, p.Name)
		switch {
		case errors.Is(err, errdefs.NotFound):
			c.fail(jsonrpc.CodeInternalError, "Device not found")
			return
		case err != nil:
			c.server.cfg.Log.Debug("no health information", "name", p.Name, "err", err)
			c.fail(jsonrpc.CodeInternalError, "Internal error.")
			return
		}
		out := healthResult{
			ModelNumber: ident.MN, SerialNumber: ident.SN, FirmwareRevision: ident.FR,
			CriticalWarning: health.CriticalWarning, TemperatureCelsius: uint64(health.CompositeTemperature) - zeroCelsius,
			AvailableSpare: health.AvailableSpare, AvailableSpareThreshold: health.AvailableSpareThreshold,
			PercentageUsed: health.PercentageUsed,
			DataUnitsRead:  health.DataUnitsRead, DataUnitsWritten: health.DataUnitsWritten,
			HostReadCommands: health.HostReadCommands, HostWriteCommands: health.HostWriteCommands,
			ControllerBusyTime: health.ControllerBusyMinutes,
			PowerCycles:        health.PowerCycles, PowerOnHours: health.PowerOnHours,
			UnsafeShutdowns: health.UnsafeShutdowns, MediaErrors: health.MediaErrors,
			NumErrLogEntries:         health.ErrorLogEntries,
			WarningTemperatureTime:   health.WarningTempMinutes,
			CriticalCompositeTemTime: health.CriticalTempMinute,
		}
		for _, info := range c.server.host.Controllers() {
			if info.Name == p.Name && len(info.Paths) > 0 {
				out.Traddr = info.Paths[0].Trid.Traddr
			}
		}
		c.reply(out)
	})
}
