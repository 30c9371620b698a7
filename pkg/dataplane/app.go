// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/jsonrpc"
)

func appMethods() []method {
	return []method{
		without("spdk_get_version", refusedAny("spdk_get_version method requires no parameters"), version).in(always),
		taking("rpc_get_methods", refusedParams, listMethods).maybe().in(always),
		without("framework_get_subsystems", refusedAny("'framework_get_subsystems' requires no arguments"), subsystems),
		taking("framework_get_config", refusedAny("Invalid arguments"), frameworkConfig),
		taking("spdk_kill_instance", refusedParams, kill),
		without("thread_get_stats", refusedAny("'thread_get_stats' requires no arguments"), threadStats),
	}
}

type versionResult struct {
	Version string        `json:"version"`
	Fields  versionFields `json:"fields"`
}

type versionFields struct {
	Major  int    `json:"major"`
	Minor  int    `json:"minor"`
	Patch  int    `json:"patch"`
	Suffix string `json:"suffix"`
}

// version says plainly who answers; the fields, which programs look at, say which SPDK it follows.
func version(_ context.Context, c *call) {
	m := &c.server.manners
	c.reply(versionResult{
		Version: fmt.Sprintf("opi-dataplane %s (SPDK v%v%s JSON-RPC)", c.server.cfg.Version, m.version, m.suffix),
		Fields:  versionFields{Major: m.version.major, Minor: m.version.minor, Suffix: m.suffix},
	})
}

type listMethodsParams struct {
	Current        bool `rpc:"current"`
	IncludeAliases bool `rpc:"include_aliases"`
}

// listMethods names all methods, or those that can be called now. There are no aliases.
func listMethods(_ context.Context, c *call, p *listMethodsParams) {
	names := make([]string, 0, len(c.server.order))
	for _, name := range c.server.order {
		if !p.Current || c.server.startup.callable(c.server.methods[name]) {
			names = append(names, name)
		}
	}
	c.reply(names)
}

type subsystemResult struct {
	Subsystem string   `json:"subsystem"`
	DependsOn []string `json:"depends_on"`
}

func subsystems(_ context.Context, c *call) {
	all := []subsystemResult{
		{Subsystem: subsystemKeyring, DependsOn: []string{}},
		{Subsystem: subsystemAccel, DependsOn: []string{}},
		{Subsystem: subsystemBdev, DependsOn: []string{subsystemAccel, subsystemKeyring}},
		{Subsystem: subsystemNvmf, DependsOn: []string{subsystemBdev, subsystemKeyring, subsystemAccel}},
		{Subsystem: subsystemVhostBlk, DependsOn: []string{subsystemBdev}},
		{Subsystem: subsystemVhostSCSI, DependsOn: []string{}},
	}
	lacks := c.server.lacks.subsystems
	all = slices.DeleteFunc(all, func(s subsystemResult) bool { return lacks[s.Subsystem] })
	for i := range all {
		all[i].DependsOn = slices.DeleteFunc(all[i].DependsOn, func(name string) bool { return lacks[name] })
	}
	c.reply(all)
}

// signalName is a signal as spdk_kill_instance takes it.
type signalName string

func (signalName) words() []string {
	return []string{"SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP", "SIGKILL", "SIGUSR1"}
}

func (n signalName) signal() os.Signal {
	switch n {
	case "SIGINT":
		return syscall.SIGINT
	case "SIGQUIT":
		return syscall.SIGQUIT
	case "SIGHUP":
		return syscall.SIGHUP
	case "SIGKILL":
		return syscall.SIGKILL
	case "SIGUSR1":
		return syscall.SIGUSR1
	default:
		return syscall.SIGTERM
	}
}

type killParams struct {
	Signal signalName `rpc:"sig_name,required"`
}

// killDelay lets the answer reach the client before the process ends.
const killDelay = 10 * time.Millisecond

func kill(_ context.Context, c *call, p *killParams) {
	c.reply(true)
	time.AfterFunc(killDelay, func() {
		if err := c.server.cfg.Kill(p.Signal.signal()); err != nil {
			c.server.cfg.Log.Error("signal not delivered", "signal", string(p.Signal), "err", err)
		}
	})
}

// The threads that SPDK would have: one that serves, one that polls the target. Clients meet the
// names and numbers of both in other answers.
const (
	appThread     = "app_thread"
	appThreadID   = 1
	pollGroup     = "nvmf_tgt_poll_group_000"
	pollGroupID   = 2
	threadCPUMask = "1"
)

type threadStatsResult struct {
	TickRate uint64         `json:"tick_rate"`
	Threads  []threadResult `json:"threads"`
}

type threadResult struct {
	Name          string `json:"name"`
	ID            int    `json:"id"`
	CPUMask       string `json:"cpumask"`
	Busy          uint64 `json:"busy"`
	Idle          uint64 `json:"idle"`
	ActivePollers int    `json:"active_pollers_count"`
	TimedPollers  int    `json:"timed_pollers_count"`
	PausedPollers int    `json:"paused_pollers_count"`
}

// threadStats answers with the CPU time of the process as busy ticks of the first thread: goroutines
// are not told apart.
func threadStats(_ context.Context, c *call) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		c.fail(jsonrpc.CodeInternalError, err.Error())
		return
	}
	up := c.server.ticks()
	busy := min(uint64(max(used.Utime.Nano()+used.Stime.Nano(), 0)), up)
	c.reply(threadStatsResult{TickRate: bdev.TickRate, Threads: []threadResult{
		{Name: appThread, ID: appThreadID, CPUMask: threadCPUMask, Busy: busy, Idle: up - busy},
		{Name: pollGroup, ID: pollGroupID, CPUMask: threadCPUMask, Idle: up},
	}})
}
