// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"log/slog"
)

// logLevel is a level by SPDK's name.
type logLevel string

func (logLevel) words() []string { return []string{"ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"} }

// slogLevel is what a level means for our log; NOTICE lies between warnings and information.
func (l logLevel) slogLevel() slog.Level {
	switch l {
	case "ERROR":
		return slog.LevelError
	case "WARNING":
		return slog.LevelWarn
	case "NOTICE":
		return slog.LevelInfo + 2
	case "DEBUG":
		return slog.LevelDebug
	default:
		return slog.LevelInfo
	}
}

// levels holds SPDK's two levels, of syslog and of standard error. We have one log: it gets what
// either of the two lets through.
type levels struct {
	syslog, stderr logLevel
	effective      *slog.LevelVar
}

func newLevels(effective *slog.LevelVar) levels {
	l := levels{syslog: "NOTICE", stderr: "INFO", effective: effective}
	for _, name := range logLevel("").words() {
		if logLevel(name).slogLevel() >= effective.Level() {
			l.stderr = logLevel(name)
		}
	}
	return l
}

func (l *levels) apply() { l.effective.Set(min(l.syslog.slogLevel(), l.stderr.slogLevel())) }

// rpcFlag is the one component whose messages can be switched on: a line for each call.
const rpcFlag = "rpc"

func logMethods() []method {
	return []method{
		taking("log_set_level", refusedInternal, func(_ context.Context, c *call, p *levelParams) {
			c.server.levels.syslog = p.Level
			c.server.levels.apply()
			c.reply(true)
		}),
		without("log_get_level", refusedAny("log_get_level requires no parameters"), func(_ context.Context, c *call) {
			c.reply(c.server.levels.syslog)
		}),
		taking("log_set_print_level", refusedInternal, func(_ context.Context, c *call, p *levelParams) {
			c.server.levels.stderr = p.Level
			c.server.levels.apply()
			c.reply(true)
		}),
		without("log_get_print_level", refusedAny("log_get_print_level requires no parameters"),
			func(_ context.Context, c *call) { c.reply(c.server.levels.stderr) }),
		taking("log_set_flag", refusedInternal, func(_ context.Context, c *call, p *flagParams) { setFlag(c, p, true) }),
		taking("log_clear_flag", refusedInternal, func(_ context.Context, c *call, p *flagParams) { setFlag(c, p, false) }),
		without("log_get_flags", refusedAny("log_get_flags requires no parameters"), func(_ context.Context, c *call) {
			c.reply(map[string]bool{rpcFlag: c.server.logRPC.Load()})
		}),
	}
}

type levelParams struct {
	Level logLevel `rpc:"level,required"`
}

type flagParams struct {
	Flag string `rpc:"flag,required"`
}

func setFlag(c *call, p *flagParams, on bool) {
	if p.Flag != rpcFlag && p.Flag != "all" {
		c.fail(refusedParams.code, "invalid log flag")
		return
	}
	c.server.logRPC.Store(on)
	c.reply(true)
}
