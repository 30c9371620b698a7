// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// footprint measures the bridge's memory, and the CPU it takes while nothing is asked of it.
func footprint(ctx context.Context, r *rig, t *table) error {
	pid := r.bridge.Process.Pid
	before, err := cpuTime(pid)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(r.idleSeconds) * time.Second):
	}
	after, err := cpuTime(pid)
	if err != nil {
		return err
	}
	rss, err := residentMiB(pid)
	if err != nil {
		return err
	}
	t.add(fmt.Sprintf("memory with %d disks", r.disks), fmt.Sprintf("%d MiB RSS", rss), "", "")
	t.add(fmt.Sprintf("idle CPU with %d disks", r.disks),
		fmt.Sprintf("%.2f %% of a core", 100*(after-before).Seconds()/float64(r.idleSeconds)), "", "")
	return nil
}

// clockTicks is USER_HZ, which Linux fixes at 100 for user space.
const clockTicks = 100

// cpuTime returns user and system time of a process (proc(5), stat fields 14 and 15).
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field, the command, is in parentheses and may hold blanks.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks, nil
}

// residentMiB returns the resident set of a process (proc(5), VmRSS).
func residentMiB(pid int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}
