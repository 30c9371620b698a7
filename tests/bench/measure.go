// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
)

// oneAtATime compares a create through the bridge with the data plane's own call.
func oneAtATime(ctx context.Context, r *rig, t *table) error {
	c, err := dialRaw(ctx, r.spdk)
	if err != nil {
		return err
	}
	defer c.close()
	var creates, deletes []call
	for i := range r.samples {
		name := "raw-" + volumeID(i)
		creates = append(creates, call{"bdev_null_create", map[string]any{"name": name, "block_size": 512, "num_blocks": 2048}})
		deletes = append(deletes, call{"bdev_null_delete", map[string]any{"name": name}})
	}
	floor, err := c.one(creates)
	if err != nil {
		return err
	}
	if _, err := c.pipeline(deletes, r.inFlight); err != nil {
		return err
	}
	bridge, err := r.timed(ctx, r.createVolume)
	if err != nil {
		return err
	}
	t.add("one create, store included", bridge.String(), floor.String(), fmt.Sprintf("+%s at p50", round(bridge.at(0.5)-floor.at(0.5))))
	gone, err := r.timed(ctx, r.deleteVolume)
	if err != nil {
		return err
	}
	t.add("one delete, store included", gone.String(), "", "")
	return nil
}

// timed makes the call samples times, one at a time.
func (r *rig) timed(ctx context.Context, work func(context.Context, int) error) (sample, error) {
	var s sample
	for i := range r.samples {
		start := time.Now()
		if err := work(ctx, i); err != nil {
			return nil, err
		}
		s = append(s, time.Since(start))
	}
	return s, nil
}

// manyInFlight compares durable creates with what the data plane takes raw.
func manyInFlight(ctx context.Context, r *rig, t *table) error {
	const n = 5000
	c, err := dialRaw(ctx, r.spdk)
	if err != nil {
		return err
	}
	defer c.close()
	var creates, deletes []call
	for i := range n {
		name := "raw-" + volumeID(i)
		creates = append(creates, call{"bdev_null_create", map[string]any{"name": name, "block_size": 512, "num_blocks": 2048}})
		deletes = append(deletes, call{"bdev_null_delete", map[string]any{"name": name}})
	}
	floor, err := c.pipeline(creates, r.inFlight)
	if err != nil {
		return err
	}
	if _, err := c.pipeline(deletes, r.inFlight); err != nil {
		return err
	}
	start := time.Now()
	if err := r.each(ctx, n, r.createVolume); err != nil {
		return err
	}
	took := time.Since(start)
	t.add(fmt.Sprintf("durable creates, %d in flight", r.inFlight),
		fmt.Sprintf("%.0f/s", perSecond(n, took)), fmt.Sprintf("%.0f/s", perSecond(n, floor)), fmt.Sprintf("%.0f %%", 100*floor.Seconds()/took.Seconds()))
	return r.each(ctx, n, r.deleteVolume)
}

// buildDisks builds the disks through the API.
func buildDisks(ctx context.Context, r *rig, t *table) error {
	start := time.Now()
	if err := r.each(ctx, r.disks, r.createVolume); err != nil {
		return err
	}
	if err := r.each(ctx, r.subsystems(), r.createSubsystem); err != nil {
		return err
	}
	if err := r.each(ctx, r.disks, r.createNamespace); err != nil {
		return err
	}
	took := time.Since(start)
	t.add(fmt.Sprintf("%d disks (%d subsystems) through the API", r.disks, r.subsystems()), round(took).String(), "", perDisk(r.disks, took))
	return nil
}

// reads times get and list.
func reads(ctx context.Context, r *rig, t *table) error {
	c := pb.NewFrontendNvmeServiceClient(r.conn)
	get, err := r.timed(ctx, func(ctx context.Context, i int) error {
		_, err := c.GetNvmeNamespace(ctx, &pb.GetNvmeNamespaceRequest{Name: r.namespaceName(i % r.disks)})
		return err
	})
	if err != nil {
		return err
	}
	t.add("get", get.String(), "", "")
	list, err := r.timed(ctx, func(ctx context.Context, _ int) error {
		_, err := pb.NewNullVolumeServiceClient(r.conn).ListNullVolumes(ctx, &pb.ListNullVolumesRequest{PageSize: 50})
		return err
	})
	if err != nil {
		return err
	}
	t.add("list, page of 50", list.String(), "", "")
	return listAll(ctx, r, t)
}

// listAll lists all volumes, page by page.
func listAll(ctx context.Context, r *rig, t *table) error {
	const pageSize = 50
	start, pages, listed := time.Now(), 0, 0
	for token := ""; ; {
		page, err := pb.NewNullVolumeServiceClient(r.conn).ListNullVolumes(ctx, &pb.ListNullVolumesRequest{PageSize: pageSize, PageToken: token})
		if err != nil {
			return err
		}
		pages, listed = pages+1, listed+len(page.GetNullVolumes())
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if listed != r.disks {
		return fmt.Errorf("%d volumes were listed, there are %d", listed, r.disks)
	}
	took := time.Since(start)
	t.add(fmt.Sprintf("%d volumes listed in %d pages", listed, pages), round(took).String(), "", fmt.Sprintf("%s a page", round(took/time.Duration(pages))))
	return nil
}

// dataPlaneRestart measures how long the disks are away after the data plane was killed, counted from
// when it takes calls again, and compares that with the same calls made raw on an empty data plane.
func dataPlaneRestart(ctx context.Context, r *rig, t *table) error {
	if r.dataPlane == nil {
		return nil
	}
	kill(r.dataPlane)
	if err := r.ready(ctx, false); err != nil {
		return err
	}
	if err := r.startDataPlane(ctx); err != nil {
		return err
	}
	start := time.Now()
	if err := r.ready(ctx, true); err != nil {
		return err
	}
	took := time.Since(start)
	floor, err := r.rawReplay(ctx)
	if err != nil {
		return err
	}
	t.add(fmt.Sprintf("%d disks back after a data-plane restart", r.disks), round(took).String(), round(floor).String(),
		fmt.Sprintf("%.1f x, %s", took.Seconds()/floor.Seconds(), perDisk(r.disks, took)))
	return nil
}

// rawReplay builds the same disks raw on an empty data plane, and gives the bridge another after that.
func (r *rig) rawReplay(ctx context.Context) (time.Duration, error) {
	kill(r.bridge)
	kill(r.dataPlane)
	if err := r.startDataPlane(ctx); err != nil {
		return 0, err
	}
	total, err := r.rawBuild(ctx)
	if err != nil {
		return 0, err
	}
	kill(r.dataPlane)
	if err := r.startDataPlane(ctx); err != nil {
		return 0, err
	}
	return total, r.startBridge(ctx)
}

func (r *rig) rawBuild(ctx context.Context) (time.Duration, error) {
	c, err := dialRaw(ctx, r.spdk)
	if err != nil {
		return 0, err
	}
	defer c.close()
	if _, err := c.pipeline([]call{{"nvmf_create_transport", map[string]any{"trtype": "TCP"}}}, 1); err != nil {
		return 0, err
	}
	var total time.Duration
	for _, group := range r.rawDisks() {
		took, err := c.pipeline(group, r.inFlight)
		if err != nil {
			return 0, err
		}
		total += took
	}
	return total, nil
}

// bridgeRestart measures how long mutations are refused after the bridge was killed.
func bridgeRestart(ctx context.Context, r *rig, t *table) error {
	kill(r.bridge)
	start := time.Now()
	if err := r.startBridge(ctx); err != nil {
		return err
	}
	took := time.Since(start)
	t.add(fmt.Sprintf("bridge ready again with %d disks", r.disks), round(took).String(), "", perDisk(r.disks, took))
	return until(ctx, func() error {
		_, err := pb.NewNullVolumeServiceClient(r.conn).GetNullVolume(ctx, &pb.GetNullVolumeRequest{Name: "nullVolumes/" + volumeID(0)})
		return err
	})
}

// deleteDisks takes the disks away again.
func deleteDisks(ctx context.Context, r *rig, t *table) error {
	c := pb.NewFrontendNvmeServiceClient(r.conn)
	start := time.Now()
	if err := r.each(ctx, r.disks, func(ctx context.Context, i int) error {
		_, err := c.DeleteNvmeNamespace(ctx, &pb.DeleteNvmeNamespaceRequest{Name: r.namespaceName(i)})
		return err
	}); err != nil {
		return err
	}
	if err := r.each(ctx, r.subsystems(), func(ctx context.Context, i int) error {
		name := "nvmeSubsystems/" + subsystemID(i)
		if _, err := c.DeleteNvmeController(ctx, &pb.DeleteNvmeControllerRequest{Name: name + "/nvmeControllers/ctrl-0"}); err != nil {
			return err
		}
		_, err := c.DeleteNvmeSubsystem(ctx, &pb.DeleteNvmeSubsystemRequest{Name: name})
		return err
	}); err != nil {
		return err
	}
	if err := r.each(ctx, r.disks, r.deleteVolume); err != nil {
		return err
	}
	took := time.Since(start)
	t.add(fmt.Sprintf("%d disks deleted through the API", r.disks), round(took).String(), "", perDisk(r.disks, took))
	return nil
}
