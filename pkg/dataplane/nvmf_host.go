// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

func hostMethods() []method {
	return []method{
		taking("nvmf_subsystem_add_host", refusedParams, addHost).lenient(),
		taking("nvmf_subsystem_remove_host", refusedParams, removeHost),
		taking("nvmf_subsystem_allow_any_host", refusedParams, allowAnyHost),
	}
}

type addHostParams struct {
	NQN            string  `rpc:"nqn,required"`
	Host           string  `rpc:"host,required"`
	TgtName        *string `rpc:"tgt_name"`
	PSK            *string `rpc:"psk"`
	DHCHAPKey      *string `rpc:"dhchap_key"`
	DHCHAPCtrlrKey *string `rpc:"dhchap_ctrlr_key"`
}

// internalError is how SPDK words what goes wrong with hosts.
const internalError = "Internal error"

// addHost answers about keys that do not exist or cannot be used as SPDK does.
func addHost(_ context.Context, c *call, p *addHostParams) {
	own := c.subsystem(p.NQN, p.TgtName)
	if own == nil {
		return
	}
	switch s := c.server; {
	case s.keyKnown(p.DHCHAPKey), s.keyKnown(p.DHCHAPCtrlrKey):
		c.fail(refusedParams.code, noDHCHAP)
		return
	case p.DHCHAPKey != nil, p.DHCHAPCtrlrKey != nil:
		c.fail(refusedParams.code, refusedParams.message)
		return
	}
	cfg := target.HostConfig{NQN: p.Host}
	key, err := c.hostKey(p, &cfg)
	if err == nil {
		err = c.server.nvmf.target.AddHost(p.NQN, cfg)
	}
	if errors.Is(err, errdefs.AlreadyExists) && c.server.manners.hostAgain {
		err = nil
	}
	if err != nil {
		c.server.cfg.Log.Debug("host not added", "nqn", p.NQN, "host", p.Host, "err", err)
		c.fail(jsonrpc.CodeInternalError, internalError)
		return
	}
	if key != nil {
		c.server.nvmf.setKey(own, p.Host, key)
	}
	c.reply(true)
}

// hostKey finds and reads the key of a host, if it is to have one.
func (c *call) hostKey(p *addHostParams, cfg *target.HostConfig) (*fileKey, error) {
	if p.PSK == nil {
		return nil, nil //nolint:nilnil // not to have a key is no failure
	}
	if _, ok := c.server.nvmf.target.Transport(); !ok {
		// Nobody looks at the key without a transport: SPDK accepts it, and it is lost.
		c.server.cfg.Log.Warn("psk of a host is lost, because there is no transport yet", "nqn", p.NQN, "host", p.Host)
		return nil, nil //nolint:nilnil // as above
	}
	key := c.server.pskOf(*p.PSK)
	if key == nil {
		return nil, errdefs.New(errdefs.NotFound, "there is no key %q", *p.PSK)
	}
	psk, err := key.load()
	cfg.PSK = &psk
	return key, err
}

type removeHostParams struct {
	NQN       string  `rpc:"nqn,required"`
	Host      string  `rpc:"host,required"`
	TgtName   *string `rpc:"tgt_name"`
	TimeoutMS uint64  `rpc:"timeout_ms"`
}

func removeHost(ctx context.Context, c *call, p *removeHostParams) {
	own := c.subsystem(p.NQN, p.TgtName)
	if own == nil {
		return
	}
	c.later(onSubsystem(p.NQN), func() {
		const longest = uint64(1<<63-1) / uint64(time.Millisecond)
		patience := time.Duration(longest) * time.Millisecond
		if p.TimeoutMS > 0 {
			patience = time.Duration(min(p.TimeoutMS, longest)) * time.Millisecond
		}
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := c.server.nvmf.target.RemoveHost(limited, p.NQN, p.Host); err != nil {
			c.server.cfg.Log.Debug("host not removed", "nqn", p.NQN, "host", p.Host, "err", err)
			c.fail(jsonrpc.CodeInternalError, internalError)
			return
		}
		c.server.nvmf.setKey(own, p.Host, nil)
		c.reply(true)
	})
}

type allowAnyHostParams struct {
	NQN          string  `rpc:"nqn,required"`
	AllowAnyHost bool    `rpc:"allow_any_host,required"`
	TgtName      *string `rpc:"tgt_name"`
}

func allowAnyHost(_ context.Context, c *call, p *allowAnyHostParams) {
	if c.subsystem(p.NQN, p.TgtName) == nil {
		return
	}
	if err := c.server.nvmf.target.SetAllowAnyHost(p.NQN, p.AllowAnyHost); err != nil {
		c.failTarget(p.NQN, err)
		return
	}
	c.reply(true)
}
