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

// noteMemory notes what the bridge holds after a measurement.
func (r *rig) noteMemory(t *table, after string) error {
	rss, err := residentMiB(r.bridge.Process.Pid)
	if err != nil {
		return err
	}
	cpu, err := cpuTime(r.bridge.Process.Pid)
	if err != nil {
		return err
	}
	t.memory = append(t.memory, [2]string{after, fmt.Sprintf("%d MiB, %s", rss, cpu.Round(10*time.Millisecond))})
	return nil
}

// idleReadings is how many readings are taken while nothing is asked of the bridge.
const idleReadings = 5

// footprint measures the bridge's memory, and the CPU it takes, while nothing is asked of it: a series,
// so that what grows by itself shows.
func footprint(ctx context.Context, r *rig, t *table) error {
	pid := r.bridge.Process.Pid
	period := time.Duration(r.idleSeconds) * time.Second / idleReadings
	var memory, busy []string
	var total time.Duration
	before, err := cpuTime(pid)
	if err != nil {
		return err
	}
	for range idleReadings {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(period):
		}
		after, err := cpuTime(pid)
		if err != nil {
			return err
		}
		rss, err := residentMiB(pid)
		if err != nil {
			return err
		}
		memory = append(memory, fmt.Sprint(rss))
		busy = append(busy, fmt.Sprintf("%.1f", 100*(after-before).Seconds()/period.Seconds()))
		total, before = total+after-before, after
	}
	t.add(fmt.Sprintf("memory with %d disks, every %s", r.disks, period), strings.Join(memory, ", ")+" MiB RSS", "", "")
	t.add(fmt.Sprintf("idle CPU with %d disks, every %s", r.disks, period), strings.Join(busy, ", ")+" % of a core", "",
		fmt.Sprintf("%.2f %% over all", 100*total.Seconds()/float64(r.idleSeconds)))
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
