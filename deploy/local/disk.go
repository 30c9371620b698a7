// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// checkedBytes is how much [disk.write] writes and [disk.verify] reads, from the first byte on.
const checkedBytes = 64 << 20

// disk is the DPU's disk as a host sees it: a namespace behind an NVMe/TCP address. The host is the
// one in opi-dataplane.
type disk struct {
	program, address string
}

// hostDisk returns the disk of the DPU.
func hostDisk(l layout) disk {
	return disk{program: filepath.Join(l.bin, "opi-dataplane"), address: "tcp://" + l.dpu.nvme()}
}

// identity is what a host recognises a disk by.
type identity struct {
	serial, model, uuid, nguid string
	nsid                       uint32
	bytes                      uint64
}

func (i identity) String() string {
	return fmt.Sprintf("uuid %s, serial %s, %d MiB", i.uuid, i.serial, i.bytes>>20)
}

// identify connects as a host does and returns what it sees.
func (d disk) identify(ctx context.Context) (identity, error) {
	var seen struct {
		Serial, Model string
		Namespaces    []struct {
			NSID        uint32
			UUID, NGUID string
			Bytes       uint64 `json:"size_bytes"`
		}
	}
	out, err := d.host(ctx, "identify")
	if err != nil {
		return identity{}, err
	}
	if err := json.Unmarshal(out, &seen); err != nil {
		return identity{}, fmt.Errorf("reading what the host sees, %s: %w", out, err)
	}
	if n := len(seen.Namespaces); n != 1 {
		return identity{}, fmt.Errorf("the host sees %d namespaces, not 1", n)
	}
	ns := seen.Namespaces[0]
	return identity{seen.Serial, seen.Model, ns.UUID, ns.NGUID, ns.NSID, ns.Bytes}, nil
}

// write fills the first part of the disk with blocks that carry checksums, and reads them back.
func (d disk) write(ctx context.Context) (string, error) {
	if _, err := d.host(ctx, "io", "write", "--length", strconv.Itoa(checkedBytes)); err != nil {
		return "", err
	}
	return d.verify(ctx)
}

// verify reads back what write has written, possibly long ago.
func (d disk) verify(ctx context.Context) (string, error) {
	out, err := d.host(ctx, "io", "read", "--length", strconv.Itoa(checkedBytes))
	if err != nil {
		return "", err
	}
	result, err := lastResult(out)
	return result.String(), err
}

// host runs one of opi-dataplane's commands that act as a host, and returns what it printed.
func (d disk) host(ctx context.Context, words ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, d.program, append(words, d.flags()...)...) //nolint:gosec // a program we have just built
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("host: %s: %w: %s%s", strings.Join(words, " "), err, complaint.Bytes(), out.Bytes())
	}
	return out.Bytes(), nil
}

func (d disk) flags() []string {
	return []string{"--address", d.address, "--subnqn", diskNQN, "--wait", "10s", "--json"}
}

// examples returns commands for people, of the program in bin.
func (d disk) examples(bin string) []string {
	at := " --address " + d.address + " --subnqn " + diskNQN
	return []string{
		bin + "/opi-dataplane identify" + at,
		bin + "/opi-dataplane io verify" + at + " --duration 1m --progress 1s",
	}
}

// ioResult is the last line of an io command.
type ioResult struct {
	Event      string
	OK         bool
	Reads      uint64
	Writes     uint64
	Errors     uint64
	Mismatched uint64 `json:"mismatched_blocks"`
	FirstError string `json:"first_error"`
	Latency    struct {
		Max float64
	} `json:"latency_us"`
}

func (r ioResult) String() string {
	longest := time.Duration(r.Latency.Max * float64(time.Microsecond)).Round(time.Millisecond)
	return fmt.Sprintf("%d reads, %d writes, the longest took %v", r.Reads, r.Writes, longest)
}

// lastResult finds the result in what an io command has printed, and judges it.
func lastResult(out []byte) (ioResult, error) {
	for line := range bytes.Lines(out) {
		var result ioResult
		if json.Unmarshal(line, &result) != nil || result.Event != "result" {
			continue
		}
		if !result.OK {
			return result, fmt.Errorf("%d requests failed, %d blocks were wrong: %s", result.Errors, result.Mismatched, result.FirstError)
		}
		return result, nil
	}
	return ioResult{}, errors.New("the I/O ended without a result")
}
