// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/target"
)

// targetName is the name of the one target there is.
const targetName = "nvmf_tgt"

// nvmf is what the methods of the target remember beside the target itself.
type nvmf struct {
	target        *target.Target
	maxSubsystems int
	shown         atomic.Pointer[shownOptions] // of the transport

	mu sync.Mutex
	// subsystems are those of the target by NQN, also while they are deleted; guarded by mu.
	subsystems map[string]*subsystem
}

// subsystem is what the target does not know of a subsystem.
type subsystem struct {
	label    string
	deleting bool // guarded by nvmf.mu
	// keys are those of hosts that have one, by NQN; guarded by nvmf.mu.
	keys map[string]*fileKey
}

// setKey remembers the key of a host, nil for none.
func (n *nvmf) setKey(s *subsystem, host string, key *fileKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if key == nil {
		delete(s.keys, host)
		return
	}
	if s.keys == nil {
		s.keys = make(map[string]*fileKey)
	}
	s.keys[host] = key
}

// keyOf returns the key of a host, or nil.
func (n *nvmf) keyOf(nqn, host string) *fileKey {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.subsystems[nqn]; s != nil {
		return s.keys[host]
	}
	return nil
}

// keyUsers counts the hosts that use each key.
func (n *nvmf) keyUsers() map[*fileKey]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	users := make(map[*fileKey]int)
	for _, s := range n.subsystems {
		for _, key := range s.keys {
			users[key]++
		}
	}
	return users
}

// newNvmf returns a target that has the discovery subsystem and nothing else.
func newNvmf(log *slog.Logger, most int, writeCacheMayCome bool) (*nvmf, error) {
	most = cmp.Or(most, maxSubsystems)
	t, err := target.New(target.Config{Log: log, MaxSubsystems: most, WriteCacheMayCome: writeCacheMayCome})
	if err != nil {
		return nil, fmt.Errorf("set up the target: %w", err)
	}
	n := &nvmf{target: t, maxSubsystems: most, subsystems: make(map[string]*subsystem)}
	for _, info := range t.Subsystems() {
		n.subsystems[info.NQN] = &subsystem{}
	}
	return n, nil
}

func (n *nvmf) find(nqn string) *subsystem {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.subsystems[nqn]
}

func (n *nvmf) put(nqn string, s *subsystem) {
	n.mu.Lock()
	n.subsystems[nqn] = s
	n.mu.Unlock()
}

func (n *nvmf) drop(nqn string) {
	n.mu.Lock()
	delete(n.subsystems, nqn)
	n.mu.Unlock()
}

// startDelete marks a subsystem, and reports false when it is marked already.
func (n *nvmf) startDelete(s *subsystem) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := s.deleting
	s.deleting = true
	return !was
}

// noTarget answers that a target does not exist, in the words of most methods; it reports whether
// the name is of the one there is.
func (c *call) noTarget(name *string) bool {
	if name == nil || *name == targetName {
		return false
	}
	c.fail(jsonrpc.CodeInvalidParams, fmt.Sprintf("NVMf target '%s' not found", *name))
	return true
}

// noTargetShort is noTarget in the words of the methods about the target as a whole.
func (c *call) noTargetShort(name *string) bool {
	if name == nil || *name == targetName {
		return false
	}
	c.fail(jsonrpc.CodeInternalError, "Unable to find a target.")
	return true
}

// subsystem returns the subsystem of a request, or answers that there is none.
func (c *call) subsystem(nqn string, tgt *string) *subsystem {
	if c.noTarget(tgt) {
		return nil
	}
	s := c.server.nvmf.find(nqn)
	if s == nil {
		c.noSubsystem(nqn)
	}
	return s
}

func (c *call) noSubsystem(nqn string) { c.refuseUnknownSubsystem(nqn) }

// failInvalid answers what nearly every refusal of the target looks like from outside, and logs what
// it really was.
func (c *call) failInvalid(err error) {
	c.server.cfg.Log.Debug("call refused", "method", c.method.name, "err", err)
	c.fail(refusedParams.code, refusedParams.message)
}

// failTarget answers with an error of the target.
func (c *call) failTarget(nqn string, err error) {
	if errors.Is(err, target.ErrNoSubsystem) || errors.Is(err, target.ErrDeleting) {
		c.noSubsystem(nqn)
		return
	}
	c.failInvalid(err)
}

// onSubsystem is the key of work on one subsystem: changes of it are queued, not refused.
func onSubsystem(nqn string) string { return "subsystem " + nqn }

// addressParams is an address in the words of NVMe over Fabrics.
type addressParams struct {
	Trtype  string  `rpc:"trtype,required"`
	Adrfam  *string `rpc:"adrfam"`
	Traddr  string  `rpc:"traddr,required"`
	Trsvcid *string `rpc:"trsvcid"`
}

// trtypeTCP is the one transport there is.
const trtypeTCP = "TCP"

// address returns the TCP address that p is.
func (p *addressParams) address() (target.Address, error) {
	if !strings.EqualFold(p.Trtype, trtypeTCP) {
		return target.Address{}, errdefs.InvalidField("trtype", "%q is not TCP", p.Trtype)
	}
	a := target.Address{ADRFAM: target.IPv4, TRADDR: p.Traddr}
	if p.Adrfam != nil {
		family, ok := adrfam(*p.Adrfam)
		if !ok {
			return target.Address{}, errdefs.InvalidField("adrfam", "%q is not IPv4 or IPv6", *p.Adrfam)
		}
		a.ADRFAM = family
	}
	if p.Trsvcid != nil {
		a.TRSVCID = *p.Trsvcid
	}
	return a, nil
}

// adrfam returns the address family as it is spelt in answers.
func adrfam(s string) (string, bool) {
	families := []string{target.IPv4, target.IPv6}
	i := slices.IndexFunc(families, func(f string) bool { return strings.EqualFold(f, s) })
	if i < 0 {
		return "", false
	}
	return families[i], true
}

// addressResult is an address in answers.
type addressResult struct {
	Trtype  string `json:"trtype"`
	Adrfam  string `json:"adrfam"`
	Traddr  string `json:"traddr"`
	Trsvcid string `json:"trsvcid"`
}

func newAddressResult(a target.Address) addressResult {
	return addressResult{Trtype: trtypeTCP, Adrfam: a.ADRFAM, Traddr: a.TRADDR, Trsvcid: a.TRSVCID}
}
