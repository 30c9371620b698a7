// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

func namespaceMethods() []method {
	return []method{
		taking("nvmf_subsystem_add_ns", refusedParams, addNamespace).lenient(),
		taking("nvmf_subsystem_remove_ns", refusedParams, removeNamespace),
	}
}

type addNamespaceParams struct {
	NQN       string          `rpc:"nqn,required"`
	Namespace namespaceParams `rpc:"namespace,required"`
	TgtName   *string         `rpc:"tgt_name"`
}

type namespaceParams struct {
	NSID          uint32    `rpc:"nsid"`
	BdevName      string    `rpc:"bdev_name,required"`
	NGUID         *string   `rpc:"nguid"`
	EUI64         *string   `rpc:"eui64"`
	UUID          uuid.UUID `rpc:"uuid"`
	PtplFile      *string   `rpc:"ptpl_file"`
	ANAGRPID      uint32    `rpc:"anagrpid"`
	NoAutoVisible bool      `rpc:"no_auto_visible"`
	HideMetadata  bool      `rpc:"hide_metadata"`
}

func addNamespace(ctx context.Context, c *call, p *addNamespaceParams) {
	if c.subsystem(p.NQN, p.TgtName) == nil {
		return
	}
	ns := &p.Namespace
	cfg := target.NamespaceConfig{NSID: ns.NSID, ANAGRPID: ns.ANAGRPID, UUID: ns.UUID}
	if ns.NGUID != nil && !unhex(cfg.NGUID[:], *ns.NGUID) {
		c.fail(jsonrpc.CodeInvalidParams, "Invalid nguid")
		return
	}
	if ns.EUI64 != nil && !unhex(cfg.EUI64[:], *ns.EUI64) {
		c.fail(jsonrpc.CodeInvalidParams, "Invalid eui64")
		return
	}
	if ns.NoAutoVisible || ns.HideMetadata || ns.PtplFile != nil {
		c.fail(refusedParams.code,
			"no_auto_visible, hide_metadata and ptpl_file cannot be used: opi-dataplane has neither masking nor reservations")
		return
	}
	c.later(onSubsystem(p.NQN), func() {
		nsid, err := c.server.expose(ctx, p.NQN, ns.BdevName, cfg)
		if err != nil {
			c.failTarget(p.NQN, err)
			return
		}
		c.reply(nsid)
	})
}

// unhex fills into with the bytes that s is in hexadecimal digits, exactly as many.
func unhex(into []byte, s string) bool {
	if len(s) != 2*len(into) {
		return false
	}
	_, err := hex.Decode(into, []byte(s))
	return err == nil
}

// exposed is a bdev that serves as a namespace. It holds the bdev's descriptor and claim until the
// target has let go of it.
type exposed struct {
	server *Server
	nqn    string
	desc   *bdev.Desc

	mu sync.Mutex
	// nsid is 0 until the namespace exists and when it has been released; guarded by mu.
	nsid uint32
	// removed says that the bdev is to go; guarded by mu.
	removed bool
}

// claimer is what claims a bdev for a namespace.
func claimer(nqn string) string { return "a namespace of NVMe-oF subsystem " + nqn }

// expose opens and claims a bdev and adds it to a subsystem. Identity that the request does not give
// is the bdev's, as in SPDK.
func (s *Server) expose(ctx context.Context, nqn, name string, cfg target.NamespaceConfig) (uint32, error) {
	e := &exposed{server: s, nqn: nqn}
	desc, err := s.bdevs.Open(name, true, bdev.Events{
		Removed: func() { e.remove(ctx) },
		Resized: func() { e.resized() },
	})
	if err != nil {
		return 0, fmt.Errorf("open the bdev: %w", err)
	}
	if err := desc.Claim(claimer(nqn)); err != nil {
		_ = desc.Close()
		return 0, fmt.Errorf("claim the bdev: %w", err)
	}
	spec := desc.Spec()
	switch m := &spec.Metadata; {
	case m.SizeBytes > 0 && !m.Interleaved:
		_ = desc.Close()
		return 0, errdefs.InvalidField("bdev_name", "the metadata of %s lies apart from its blocks, which NVMe over TCP cannot move", spec.Name)
	case m.DIFType != 0:
		_ = desc.Close()
		return 0, errdefs.InvalidField("bdev_name", "%s has protection information, which opi-dataplane does not check", spec.Name)
	default:
		cfg.MetadataBytes = uint16(m.SizeBytes) //nolint:gosec // at most 128
	}
	cfg.Device, cfg.BdevName, cfg.WriteCache, cfg.Released = desc, spec.Name, spec.WriteCache, e.released
	if cfg.UUID == uuid.Nil {
		cfg.UUID = spec.UUID
	}
	if cfg.NGUID == [16]byte{} {
		cfg.NGUID = spec.UUID
	}
	e.mu.Lock()
	e.desc = desc
	nsid, err := s.nvmf.target.AddNamespace(nqn, cfg)
	e.nsid = nsid
	gone := e.removed && err == nil
	e.mu.Unlock()
	switch {
	case err != nil:
		_ = desc.Close()
		return 0, fmt.Errorf("add the namespace: %w", err)
	case gone:
		e.remove(ctx)
	}
	return nsid, nil
}

// remove takes the namespace away because its bdev goes.
func (e *exposed) remove(ctx context.Context) {
	e.mu.Lock()
	e.removed = true
	known := e.nsid != 0
	e.mu.Unlock()
	if !known {
		return
	}
	e.server.turns.soon(onSubsystem(e.nqn), func() {
		e.mu.Lock()
		nsid := e.nsid
		e.mu.Unlock()
		if nsid == 0 {
			return
		}
		if err := e.server.nvmf.target.RemoveNamespace(ctx, e.nqn, nsid); err != nil {
			e.server.cfg.Log.Debug("namespace of a removed bdev not removed", "nqn", e.nqn, "nsid", nsid, "err", err)
		}
	})
}

func (e *exposed) resized() {
	e.mu.Lock()
	nsid := e.nsid
	e.mu.Unlock()
	if nsid == 0 {
		return
	}
	if err := e.server.nvmf.target.NamespaceResized(e.nqn, nsid); err != nil {
		e.server.cfg.Log.Debug("hosts not told of a new size", "nqn", e.nqn, "nsid", nsid, "err", err)
	}
}

// released is called when the target will not touch the bdev any more.
func (e *exposed) released() {
	e.mu.Lock()
	e.nsid = 0
	e.mu.Unlock()
	_ = e.desc.Close()
}

type removeNamespaceParams struct {
	NQN     string  `rpc:"nqn,required"`
	NSID    uint32  `rpc:"nsid,required"`
	TgtName *string `rpc:"tgt_name"`
}

func removeNamespace(ctx context.Context, c *call, p *removeNamespaceParams) {
	if c.subsystem(p.NQN, p.TgtName) == nil {
		return
	}
	c.later(onSubsystem(p.NQN), func() {
		if err := c.server.nvmf.target.RemoveNamespace(ctx, p.NQN, p.NSID); err != nil {
			c.failTarget(p.NQN, err)
			return
		}
		c.reply(true)
	})
}
