// SPDX-License-Identifier: Apache-2.0

package iobench_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// cpu is the processor time that a process has had, in clock ticks (proc(5), /proc/PID/stat).
type cpu struct{ user, kernel uint64 }

// cpuOf reads it; no time for no process.
func cpuOf(tb testing.TB, pid int) cpu {
	tb.Helper()
	if pid == 0 {
		return cpu{}
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	// The name of the process, in parentheses, may hold blanks: fields are counted from behind it.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	ticks := func(place int) uint64 {
		n, err := strconv.ParseUint(string(fields[place]), 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		return n
	}
	return cpu{user: ticks(11), kernel: ticks(12)}
}

// since is what was spent after before was read.
func (c cpu) since(before cpu) cpu {
	return cpu{user: c.user - before.user, kernel: c.kernel - before.kernel}
}

func (c cpu) plus(other cpu) cpu {
	return cpu{user: c.user + other.user, kernel: c.kernel + other.kernel}
}

// String is the share that the kernel had.
func (c cpu) String() string {
	if c.user+c.kernel == 0 {
		return "-"
	}
	return fmt.Sprintf("%d %%", 100*c.kernel/(c.user+c.kernel))
}

// sharesHead begins the table of the kernel's shares; it is empty where no process is known.
func (g *group) sharesHead() string {
	names, line := "", ""
	for _, t := range g.targets {
		if t.pid != 0 {
			names += " " + t.name + " |"
			line += "---|"
		}
	}
	if names == "" {
		return ""
	}
	return "\nThe kernel's share of the target's processor time\n\n| |" + names + "\n|---|" + line + "\n"
}

// sharesRow is what one load cost, a column to each target whose process is known.
func (g *group) sharesRow(l load, spent []cpu) string {
	row := ""
	for i, t := range g.targets {
		if t.pid != 0 {
			row += " " + spent[i].String() + " |"
		}
	}
	if row == "" {
		return ""
	}
	return "| " + l.String() + " |" + row + "\n"
}
