// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/json"
	"time"
)

// MaxLineBytes bounds a line of the conversation.
const MaxLineBytes = 1 << 20

// The commands, each with the type of its arguments and of its result.
const (
	CommandModules   = "modules"    // []Module
	CommandNetwork   = "network"    // the address with its prefix length
	CommandConnect   = "connect"    // options of /dev/nvme-fabrics; the kernel's answer
	CommandDisks     = "disks"      // nothing; []Disk
	CommandShell     = "shell"      // a script for sh; Outcome
	CommandZero      = "zero"       // Range
	CommandStartLoad = "start-load" // Load; nothing, after all has been written once
	CommandMarkLoad  = "mark-load"  // the device; Report since the last mark
	CommandProgress  = "progress"   // the device; the number of requests done since the start
	CommandStopLoad  = "stop-load"  // the device; Report since the last mark, with a last look at all blocks
	CommandRelay     = "relay"      // Relay
	CommandPowerOff  = "power-off"  // nothing; no answer
)

// Request asks for something.
type Request struct {
	ID      uint64          `json:"id"`
	Command string          `json:"command"`
	Args    json.RawMessage `json:"args,omitempty"`
}

// Response is what came of it: a result or an error.
type Response struct {
	ID     uint64          `json:"id"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// Module is a kernel module to load: its file in /modules, and parameters as the kernel takes them.
type Module struct {
	File   string `json:"file"`
	Params string `json:"params,omitempty"`
}

// Disk is a block device as the guest's kernel shows it. What the device does not have is empty.
type Disk struct {
	// Name is that of the device below /dev.
	Name           string `json:"name"`
	SizeBytes      uint64 `json:"size_bytes"`
	BlockSizeBytes uint64 `json:"block_size_bytes"`
	// UUID, NGUID, EUI64 and NSID are those of an NVMe namespace, in the kernel's spelling.
	UUID  string `json:"uuid,omitempty"`
	NGUID string `json:"nguid,omitempty"`
	EUI64 string `json:"eui64,omitempty"`
	NSID  string `json:"nsid,omitempty"`
	// WWID is what the kernel takes for the identity.
	WWID string `json:"wwid,omitempty"`
	// Serial, Model and SubsystemNQN are those of the subsystem, or of the virtio disk.
	Serial       string `json:"serial,omitempty"`
	Model        string `json:"model,omitempty"`
	SubsystemNQN string `json:"subsystem_nqn,omitempty"`
}

// Range is a part of a device.
type Range struct {
	// Device is a path.
	Device string `json:"device"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
}

// Relay makes a unix socket of the guest a TCP port, for as long as the machine runs.
type Relay struct {
	// Port is taken at all addresses.
	Port int `json:"port"`
	// Socket is the path; it may come and go.
	Socket string `json:"socket"`
}

// Load is verified I/O to a device, around the page cache, until it is stopped.
type Load struct {
	// Device is a path.
	Device string `json:"device"`
	// Bytes is how much of the device is used, from its start; 0 is all.
	Bytes uint64 `json:"bytes,omitempty"`
	// IOSizeBytes is the size of a request, Depth how many are in flight.
	IOSizeBytes  uint32 `json:"io_size_bytes"`
	Depth        int    `json:"depth"`
	WritePercent int    `json:"write_percent"`
	Seed         uint64 `json:"seed"`
}

// Report is what came of a load.
type Report struct {
	// Reads and Writes succeeded, Errors is how many requests failed.
	Reads      uint64 `json:"reads"`
	Writes     uint64 `json:"writes"`
	Errors     uint64 `json:"errors"`
	FirstError string `json:"first_error,omitempty"`
	// Mismatched is the number of blocks that were not what had been written, Mismatches the first.
	Mismatched uint64   `json:"mismatched"`
	Mismatches []string `json:"mismatches,omitempty"`
	// Longest is the time that the slowest request took, Median that of one in the middle.
	Longest time.Duration `json:"longest"`
	Median  time.Duration `json:"median"`
	Elapsed time.Duration `json:"elapsed"`
}

// Outcome is how a script ended and what it printed.
type Outcome struct {
	Status int    `json:"status"`
	Output string `json:"output"`
}
