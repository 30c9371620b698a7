// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
)

const (
	hostRounds   = 5  // alternations of bridge up and bridge away
	hostSeconds  = 2  // of I/O in each half of a round
	hostDepth    = 32 // requests in flight
	hostDisk     = "host-disk"
	hostDiskSize = 64 << 20
)

// hostDiskNQN returns the subsystem of a disk for hosts to read from, which it makes if it is not there.
func (r *rig) hostDiskNQN(ctx context.Context) (nqn string, err error) {
	const sub = "nvmeSubsystems/" + hostDisk
	nqn = "nqn.2024-01.io.example.bench:" + hostDisk
	c := pb.NewFrontendNvmeServiceClient(r.conn)
	if _, err := pb.NewMallocVolumeServiceClient(r.conn).CreateMallocVolume(ctx, &pb.CreateMallocVolumeRequest{
		MallocVolumeId: hostDisk, MallocVolume: &pb.MallocVolume{BlockSize: 4096, BlocksCount: hostDiskSize / 4096},
	}); err != nil {
		return "", err
	}
	if _, err := c.CreateNvmeSubsystem(ctx, &pb.CreateNvmeSubsystemRequest{
		NvmeSubsystemId: hostDisk, NvmeSubsystem: &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: nqn}},
	}); err != nil {
		return "", err
	}
	if err := r.listen(ctx, sub); err != nil {
		return "", err
	}
	_, err = c.CreateNvmeNamespace(ctx, &pb.CreateNvmeNamespaceRequest{
		Parent: sub, NvmeNamespaceId: hostDisk,
		NvmeNamespace: &pb.NvmeNamespace{Spec: &pb.NvmeNamespaceSpec{VolumeNameRef: "mallocVolumes/" + hostDisk}},
	})
	return nqn, err
}

// dataPlaneIO measures what one host gets from a disk in memory, at depths as in the design's table. Host
// and data plane share the processors.
func dataPlaneIO(ctx context.Context, r *rig, t *table) error {
	nqn, err := r.hostDiskNQN(ctx)
	if err != nil {
		return err
	}
	for _, depth := range []int{1, 32, 128} {
		iops, err := r.hostIOPS(ctx, nqn, depth)
		if err != nil {
			return err
		}
		t.add(fmt.Sprintf("the data plane's disk, 4 KiB random reads at depth %d", depth), fmt.Sprintf("%.0f IOPS", iops), "", "")
	}
	return nil
}

// hostIO compares what a host's disk does while the bridge is there, and while it is dead.
func hostIO(ctx context.Context, r *rig, t *table) error {
	nqn, err := r.hostDiskNQN(ctx)
	if err != nil {
		return err
	}
	var with, without float64
	for range hostRounds {
		up, err := r.hostIOPS(ctx, nqn, hostDepth)
		if err != nil {
			return err
		}
		kill(r.bridge)
		down, err := r.hostIOPS(ctx, nqn, hostDepth)
		if err != nil {
			return err
		}
		if err := r.startBridge(ctx); err != nil {
			return err
		}
		with, without = with+up/hostRounds, without+down/hostRounds
	}
	t.add(fmt.Sprintf("host I/O while the bridge is dead, 4 KiB reads at depth %d", hostDepth),
		fmt.Sprintf("%.0f IOPS, no error", without), fmt.Sprintf("%.0f IOPS with it", with), fmt.Sprintf("%.3f", without/with))
	return nil
}

// hostIOPS reads from the disk for a while, as a host would, and wants no error.
func (r *rig) hostIOPS(ctx context.Context, nqn string, depth int) (float64, error) {
	cmd := exec.CommandContext(ctx, r.program("opi-dataplane"), "io", "bench", //nolint:gosec // the bench's own program
		"--address", fmt.Sprintf("tcp://127.0.0.1:%d", r.nvmePort), "--subnqn", nqn, "--json",
		"--depth", fmt.Sprint(depth), "--duration", fmt.Sprintf("%ds", hostSeconds))
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("host I/O: %w", err)
	}
	for line := range bytes.Lines(out) {
		var result struct {
			Event  string  `json:"event"`
			OK     bool    `json:"ok"`
			Errors uint64  `json:"errors"`
			IOPS   float64 `json:"iops"`
		}
		if err := json.Unmarshal(line, &result); err != nil {
			return 0, fmt.Errorf("host I/O: %w", err)
		}
		if result.Event == "result" {
			if !result.OK || result.Errors > 0 {
				return 0, fmt.Errorf("host I/O: %s", line)
			}
			return result.IOPS, nil
		}
	}
	return 0, fmt.Errorf("host I/O ended without a result: %s", out)
}
