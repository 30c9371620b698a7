// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

func listenerMethods() []method {
	return []method{
		taking("nvmf_subsystem_add_listener", refusedParams, addListener).lenient(),
		taking("nvmf_subsystem_remove_listener", refusedParams, removeListener),
		taking("nvmf_subsystem_listener_set_ana_state", refusedParams, setANAState),
	}
}

// anaState is the access through a listener, by SPDK's names.
type anaState string

func (anaState) words() []string { return []string{"optimized", "non_optimized", "inaccessible"} }

func (s anaState) state() nvme.ANAState {
	switch s {
	case "non_optimized":
		return nvme.ANANonOptimized
	case "inaccessible":
		return nvme.ANAInaccessible
	default:
		return nvme.ANAOptimized
	}
}

// anaName is the reverse of state.
func anaName(s nvme.ANAState) string {
	switch s {
	case nvme.ANANonOptimized:
		return "non_optimized"
	case nvme.ANAInaccessible:
		return "inaccessible"
	case nvme.ANAPersistentLoss:
		return "persistent_loss"
	case nvme.ANAChange:
		return "change"
	case nvme.ANAOptimized:
		return "optimized"
	default:
		return "invalid"
	}
}

type addListenerParams struct {
	NQN           string        `rpc:"nqn,required"`
	TgtName       *string       `rpc:"tgt_name"`
	ListenAddress addressParams `rpc:"listen_address,required"`
	SecureChannel bool          `rpc:"secure_channel"`
	ANAState      anaState      `rpc:"ana_state"`
	SockImpl      *string       `rpc:"sock_impl"`
	NumaID        *int32        `rpc:"numa_id"`
}

// The kinds of sockets there are, by SPDK's names: without TLS and with it.
const (
	sockImpl       = "posix"
	sockImplSecure = "ssl"
)

func addListener(ctx context.Context, c *call, p *addListenerParams) {
	if c.subsystem(p.NQN, p.TgtName) == nil {
		return
	}
	address, err := p.ListenAddress.address()
	if err == nil {
		err = checkPort(address.TRSVCID)
	}
	if err == nil {
		err = p.checkSocket()
	}
	if err != nil {
		c.failInvalid(err)
		return
	}
	if info, err := c.server.nvmf.target.Subsystem(p.NQN); err == nil && p.SecureChannel && info.AllowAnyHost {
		c.fail(jsonrpc.CodeInternalError, "Cannot establish secure channel, when 'allow_any_host' is set")
		return
	}
	c.later(onSubsystem(p.NQN), func() {
		_, err := c.server.nvmf.target.AddListener(ctx, p.NQN, target.ListenerConfig{
			Address: address, ANAState: p.ANAState.state(), Secure: p.SecureChannel || valueOr(p.SockImpl, sockImpl) == sockImplSecure,
		})
		if err != nil {
			c.failTarget(p.NQN, err)
			return
		}
		c.reply(true)
	})
}

// checkPort refuses port 0: nobody would know where the listener is.
func checkPort(port string) error {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return errdefs.InvalidField("trsvcid", "%q is not a port from 1 to 65535", port)
	}
	return nil
}

// checkSocket refuses kinds of sockets that do not exist, or do not fit secure_channel.
func (p *addListenerParams) checkSocket() error {
	kind := valueOr(p.SockImpl, sockImpl)
	switch {
	case kind != sockImpl && kind != sockImplSecure, valueOr(p.NumaID, unknownNuma) != unknownNuma:
		return errdefs.New(errdefs.Unimplemented, "sock_impl is posix or ssl, and numa_id -1, in opi-dataplane")
	case p.SecureChannel && p.SockImpl != nil && kind != sockImplSecure:
		return errdefs.InvalidField("sock_impl", "%q does not go with secure_channel", kind)
	default:
		return nil
	}
}

type removeListenerParams struct {
	NQN           string        `rpc:"nqn,required"`
	TgtName       *string       `rpc:"tgt_name"`
	ListenAddress addressParams `rpc:"listen_address,required"`
	// Older versions take what add_listener takes, and do not look at it.
	SecureChannel bool     `rpc:"secure_channel"`
	ANAState      anaState `rpc:"ana_state"`
	SockImpl      *string  `rpc:"sock_impl"`
}

func removeListener(ctx context.Context, c *call, p *removeListenerParams) {
	if c.subsystem(p.NQN, p.TgtName) == nil {
		return
	}
	address, err := p.ListenAddress.address()
	if err != nil {
		c.failInvalid(err)
		return
	}
	c.later(onSubsystem(p.NQN), func() {
		if err := c.server.nvmf.target.RemoveListener(ctx, p.NQN, address); err != nil {
			c.failTarget(p.NQN, err)
			return
		}
		c.reply(true)
	})
}

type setANAStateParams struct {
	NQN           string        `rpc:"nqn,required"`
	TgtName       *string       `rpc:"tgt_name"`
	ListenAddress addressParams `rpc:"listen_address,required"`
	ANAState      anaState      `rpc:"ana_state,required"`
	ANAGRPID      uint32        `rpc:"anagrpid"`
}

func setANAState(_ context.Context, c *call, p *setANAStateParams) {
	if c.subsystem(p.NQN, p.TgtName) == nil {
		return
	}
	address, err := p.ListenAddress.address()
	if err != nil {
		c.failInvalid(err)
		return
	}
	c.later(onSubsystem(p.NQN), func() {
		err := c.server.nvmf.target.SetANAState(p.NQN, address, p.ANAState.state(), p.ANAGRPID)
		switch {
		case err == nil:
			c.reply(true)
		case errors.Is(err, target.ErrNoSubsystem):
			c.noSubsystem(p.NQN)
		default:
			c.server.cfg.Log.Debug("ANA state not set", "nqn", p.NQN, "err", err)
			c.fail(jsonrpc.CodeInternalError, fmt.Sprintf("error setting ANA state: -%d", int(syscall.EINVAL)))
		}
	})
}
