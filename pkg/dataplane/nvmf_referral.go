// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"

	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

func referralMethods() []method {
	return []method{
		taking("nvmf_discovery_add_referral", refusedParams, addReferral).lenient(),
		taking("nvmf_discovery_remove_referral", refusedParams, removeReferral),
		taking("nvmf_discovery_get_referrals", refusedParams, getReferrals).maybe(),
	}
}

type addReferralParams struct {
	TgtName       *string       `rpc:"tgt_name"`
	Address       addressParams `rpc:"address,required"`
	SecureChannel bool          `rpc:"secure_channel"`
	Subnqn        *string       `rpc:"subnqn"`
}

// referral reads an address that a host is to be pointed to, or answers what is wrong with it.
func (c *call) referral(address *addressParams, subnqn *string) (target.Referral, bool) {
	at, err := address.address()
	if err != nil {
		c.failInvalid(err)
		return target.Referral{}, false
	}
	if at.TRSVCID == "" {
		c.fail(jsonrpc.CodeInternalError, "Service ID is required.")
		return target.Referral{}, false
	}
	return target.Referral{Address: at, NQN: valueOr(subnqn, "")}, true
}

func addReferral(_ context.Context, c *call, p *addReferralParams) {
	if c.noTargetShort(p.TgtName) {
		return
	}
	r, ok := c.referral(&p.Address, p.Subnqn)
	if !ok {
		return
	}
	r.SecureChannel = p.SecureChannel
	if err := c.server.nvmf.target.AddReferral(r); err != nil {
		c.server.cfg.Log.Debug("referral not added", "err", err)
		c.fail(jsonrpc.CodeInternalError, internalError)
		return
	}
	c.reply(true)
}

type removeReferralParams struct {
	TgtName *string       `rpc:"tgt_name"`
	Address addressParams `rpc:"address,required"`
	Subnqn  *string       `rpc:"subnqn"`
}

func removeReferral(_ context.Context, c *call, p *removeReferralParams) {
	if c.noTargetShort(p.TgtName) {
		return
	}
	r, ok := c.referral(&p.Address, p.Subnqn)
	if !ok {
		return
	}
	if err := c.server.nvmf.target.RemoveReferral(r); err != nil {
		c.server.cfg.Log.Debug("referral not removed", "err", err)
		c.fail(jsonrpc.CodeInternalError, "Unable to remove a referral.")
		return
	}
	c.reply(true)
}

type getReferralsParams struct {
	TgtName *string `rpc:"tgt_name"`
}

// referralInfo is a referral in answers and in the configuration.
type referralInfo struct {
	Address       addressResult `json:"address"`
	SecureChannel bool          `json:"secure_channel"`
	Subnqn        string        `json:"subnqn"`
}

func (n *nvmf) referralInfos() []referralInfo {
	out := []referralInfo{}
	for _, r := range n.target.Referrals() {
		out = append(out, referralInfo{
			Address: newAddressResult(r.Address), SecureChannel: r.SecureChannel, Subnqn: r.NQN,
		})
	}
	return out
}

func getReferrals(_ context.Context, c *call, p *getReferralsParams) {
	if c.noTargetShort(p.TgtName) {
		return
	}
	c.reply(c.server.nvmf.referralInfos())
}
