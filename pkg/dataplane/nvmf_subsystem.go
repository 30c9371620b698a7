// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

func subsystemMethods() []method {
	return []method{
		taking("nvmf_create_subsystem", refusedParams, createSubsystem),
		taking("nvmf_delete_subsystem", refusedParams, deleteSubsystem),
		taking("nvmf_get_subsystems", refusedParams, getSubsystems).maybe(),
		without("nvmf_get_targets", refusedParams, func(_ context.Context, c *call) { c.reply([]string{targetName}) }),
	}
}

type createSubsystemParams struct {
	NQN           string  `rpc:"nqn,required"`
	TgtName       *string `rpc:"tgt_name"`
	SerialNumber  *string `rpc:"serial_number"`
	ModelNumber   *string `rpc:"model_number"`
	AdminLabel    *string `rpc:"admin_label"`
	MaxNamespaces uint32  `rpc:"max_namespaces"`
	AllowAnyHost  bool    `rpc:"allow_any_host"`
	ANAReporting  bool    `rpc:"ana_reporting"`
	MinCntlid     *uint16 `rpc:"min_cntlid"`
	MaxCntlid     *uint16 `rpc:"max_cntlid"`
	DMRSL         *uint32 `rpc:"dmrsl"`
	WZSL          *uint8  `rpc:"wzsl"`
	Passthrough   bool    `rpc:"passthrough"`
	EnableNSSR    bool    `rpc:"enable_nssr"`
	// In older versions, for DMRSL and WZSL.
	MaxDiscardSizeKiB     *uint64 `rpc:"max_discard_size_kib"`
	MaxWriteZeroesSizeKiB *uint64 `rpc:"max_write_zeroes_size_kib"`
}

// limits returns DMRSL, in blocks of 512 bytes, and WZSL, as a power of two of 4 KiB.
func (p *createSubsystemParams) limits() (dmrsl uint32, wzsl uint8) {
	dmrsl, wzsl = valueOr(p.DMRSL, defaultDMRSL), valueOr(p.WZSL, defaultWZSL)
	if p.MaxDiscardSizeKiB != nil {
		dmrsl = uint32(min(*p.MaxDiscardSizeKiB, math.MaxUint32/2) * 2)
	}
	if p.MaxWriteZeroesSizeKiB != nil {
		wzsl = uint8(max(bits.Len64(*p.MaxWriteZeroesSizeKiB>>2), 1) - 1) //nolint:gosec // at most 63
	}
	return dmrsl, wzsl
}

// Defaults and limits of subsystems.
const (
	defaultMinCntlid, defaultMaxCntlid = 1, 65519
	defaultDMRSL                       = 1 << 21
	defaultWZSL                        = 12
	maxSerialNumber                    = 20
	maxModelNumber                     = 40
	maxAdminLabel                      = 255
)

// valueOr returns what p points to, or usual when it is absent.
func valueOr[T any](p *T, usual T) T {
	if p == nil {
		return usual
	}
	return *p
}

// blank keeps a text that is empty on purpose apart from one that is absent, which stands for the
// target's default: hosts see either of them padded with blanks.
func blank(p *string) string {
	if p != nil && *p == "" {
		return " "
	}
	return valueOr(p, "")
}

// unblank is the reverse of blank.
func unblank(s string) string {
	if s == " " {
		return ""
	}
	return s
}

// createSubsystem makes the subsystem at once and answers in a later turn.
func createSubsystem(_ context.Context, c *call, p *createSubsystemParams) {
	if p.TgtName != nil && *p.TgtName != targetName {
		c.fail(jsonrpc.CodeInternalError, "Unable to find target "+*p.TgtName)
		return
	}
	unable := func() { c.fail(jsonrpc.CodeInternalError, "Unable to create subsystem "+p.NQN) }
	cfg := target.SubsystemConfig{
		NQN: p.NQN, SerialNumber: blank(p.SerialNumber), ModelNumber: blank(p.ModelNumber),
		MaxNamespaces: p.MaxNamespaces, AllowAnyHost: p.AllowAnyHost, ANAReporting: p.ANAReporting,
		MinCNTLID: valueOr(p.MinCntlid, defaultMinCntlid), MaxCNTLID: valueOr(p.MaxCntlid, defaultMaxCntlid),
	}
	cfg.DMRSL, cfg.WZSL = p.limits()
	nvmf := c.server.nvmf
	switch {
	case nvmf.find(p.NQN) != nil:
		unable()
	case len(cfg.SerialNumber) > maxSerialNumber || len(cfg.ModelNumber) > maxModelNumber:
		c.fail(refusedParams.code, refusedParams.message)
	case p.Passthrough || p.EnableNSSR:
		c.fail(refusedParams.code, "passthrough and enable_nssr cannot be switched on: opi-dataplane has neither")
	case len(valueOr(p.AdminLabel, "")) > maxAdminLabel:
		c.fail(jsonrpc.CodeInvalidParams, "Invalid admin_label")
	case cfg.MinCNTLID < defaultMinCntlid || cfg.MaxCNTLID > defaultMaxCntlid || cfg.MinCNTLID > cfg.MaxCNTLID:
		c.fail(jsonrpc.CodeInvalidParams, fmt.Sprintf("Invalid cntlid range [%d-%d]", cfg.MinCNTLID, cfg.MaxCNTLID))
	default:
		if err := nvmf.target.CreateSubsystem(cfg); err != nil {
			c.server.cfg.Log.Debug("subsystem not created", "nqn", p.NQN, "err", err)
			unable()
			return
		}
		nvmf.put(p.NQN, &subsystem{label: valueOr(p.AdminLabel, "")})
		c.later(onSubsystem(p.NQN), func() { c.reply(true) })
	}
}

type subsystemParams struct {
	NQN     string  `rpc:"nqn,required"`
	TgtName *string `rpc:"tgt_name"`
}

func deleteSubsystem(ctx context.Context, c *call, p *subsystemParams) {
	s := c.subsystem(p.NQN, p.TgtName)
	if s == nil {
		return
	}
	nvmf := c.server.nvmf
	if !nvmf.startDelete(s) {
		c.fail(jsonrpc.CodeInternalError, "Subsystem is already being destroyed.")
		return
	}
	c.later(onSubsystem(p.NQN), func() {
		err := nvmf.target.DeleteSubsystem(ctx, p.NQN)
		nvmf.drop(p.NQN)
		if err != nil && !errors.Is(err, target.ErrNoSubsystem) {
			c.failTarget(p.NQN, err)
			return
		}
		c.reply(true)
	})
}
