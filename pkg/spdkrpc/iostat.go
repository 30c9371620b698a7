// SPDX-License-Identifier: Apache-2.0

package spdkrpc

import "context"

// IOStat are the counters of bdev_get_iostat and bdev_nvme_get_path_iostat. Latencies are sums in
// ticks.
type IOStat struct {
	Name              string `json:"name"` // of the bdev; not with paths
	BytesRead         uint64 `json:"bytes_read"`
	NumReadOps        uint64 `json:"num_read_ops"`
	BytesWritten      uint64 `json:"bytes_written"`
	NumWriteOps       uint64 `json:"num_write_ops"`
	BytesUnmapped     uint64 `json:"bytes_unmapped"`
	NumUnmapOps       uint64 `json:"num_unmap_ops"`
	ReadLatencyTicks  uint64 `json:"read_latency_ticks"`
	WriteLatencyTicks uint64 `json:"write_latency_ticks"`
	UnmapLatencyTicks uint64 `json:"unmap_latency_ticks"`
}

// IOStats is the answer of bdev_get_iostat.
type IOStats struct {
	TickRate uint64   `json:"tick_rate"` // per second
	Ticks    uint64   `json:"ticks"`
	Bdevs    []IOStat `json:"bdevs"`
}

type getIostat struct {
	Names []string `json:"names"`
}

// What one call may carry, so that it stays within the limits of v26.01: 32 KiB and 1024 values.
const (
	statNames = 900
	statBytes = 24 << 10
)

// fitting returns how many of the names go into one call.
func fitting(names []string) int {
	size := 0
	for i, name := range names {
		if size += len(name) + len(`"",`); i > 0 && (i == statNames || size > statBytes) {
			return i
		}
	}
	return len(names)
}

// GetIostat returns the counters of the named bdevs (bdev_get_iostat). One unknown name fails all
// with CodeNoDevice.
func (f Features) GetIostat(ctx context.Context, c Caller, names []string) (IOStats, error) {
	const method = "bdev_get_iostat"
	if !f.IostatNames {
		if len(names) == 1 {
			return get[IOStats](ctx, c, method, named{names[0]})
		}
		return f.selectIostat(ctx, c, names)
	}
	var all IOStats
	for first := true; first || len(names) > 0; first = false {
		n := fitting(names)
		some, err := get[IOStats](ctx, c, method, getIostat{append([]string{}, names[:n]...)})
		if err != nil {
			return all, err
		}
		all.TickRate, all.Ticks = some.TickRate, some.Ticks
		all.Bdevs = append(all.Bdevs, some.Bdevs...)
		names = names[n:]
	}
	return all, nil
}

// selectIostat asks for the counters of all bdevs and takes those that are named.
func (f Features) selectIostat(ctx context.Context, c Caller, names []string) (IOStats, error) {
	all, err := get[IOStats](ctx, c, "bdev_get_iostat", nil)
	if err != nil {
		return all, err
	}
	byName := make(map[string]IOStat, len(all.Bdevs))
	for _, b := range all.Bdevs {
		byName[b.Name] = b
	}
	all.Bdevs = make([]IOStat, 0, len(names))
	for _, name := range names {
		b, ok := byName[name]
		if !ok {
			return all, &Error{Code: CodeNoDevice, Message: "No such device"}
		}
		all.Bdevs = append(all.Bdevs, b)
	}
	return all, nil
}

// PathIOStat are the counters of one path of an nvme bdev.
type PathIOStat struct {
	Trid Trid   `json:"trid"`
	Stat IOStat `json:"stat"`
}

type pathIostat struct {
	Stats []PathIOStat `json:"stats"`
}

// GetPathIostat returns the counters of each path of an nvme bdev (bdev_nvme_get_path_iostat). It is
// refused with CodePerm unless the option io_path_stat is set.
func GetPathIostat(ctx context.Context, c Caller, bdev string) ([]PathIOStat, error) {
	answer, err := get[pathIostat](ctx, c, "bdev_nvme_get_path_iostat", named{bdev})
	return answer.Stats, err
}
