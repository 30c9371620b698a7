// SPDX-License-Identifier: Apache-2.0

package qmp

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Version is the version of QEMU.
type Version struct {
	// Major, Minor and Micro are QEMU's own numbers.
	Major, Minor, Micro int
	// Package is what the distributor adds, often empty.
	Package string
}

// String returns the three numbers: "7.2.22".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro) }

// AtLeast says whether the version is major.minor or later.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// Event is something that happened in QEMU.
type Event struct {
	// Name is QEMU's, in capitals: "DEVICE_DELETED".
	Name string
	// Data is an object whose members depend on the event; nil if there are none. Not to be changed.
	Data json.RawMessage
}

// The classes of errors that programs may tell apart; QEMU has few others.
const (
	ClassGeneric         = "GenericError"
	ClassCommandNotFound = "CommandNotFound"
	ClassDeviceNotFound  = "DeviceNotFound"
)

// Error is QEMU's refusal of a command.
type Error struct {
	// Class is one of the constants, or another that QEMU uses.
	Class string `json:"class"`
	// Description is QEMU's text. It changes between versions.
	Description string `json:"desc"`
}

// Error returns QEMU's text with the class if that says more than that it is an error.
func (e *Error) Error() string {
	if e.Class == ClassGeneric {
		return "QEMU: " + e.Description
	}
	return fmt.Sprintf("QEMU: %s (%s)", e.Description, e.Class)
}

// Refusal returns QEMU's refusal in the chain of err, nil if there is none.
func Refusal(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return nil
}

// request is a command on the wire.
type request struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
	ID        uint64 `json:"id"`
}

// message is whatever QEMU sends: exactly one of Greeting, Return, Error and Event is set.
type message struct {
	Greeting *greeting       `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *Error          `json:"error"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
	ID       *uint64         `json:"id"`
}

// greeting is the first message of a connection.
type greeting struct {
	Version struct {
		QEMU struct {
			Major int `json:"major"`
			Minor int `json:"minor"`
			Micro int `json:"micro"`
		} `json:"qemu"`
		Package string `json:"package"`
	} `json:"version"`
}

func (g *greeting) version() Version {
	q := g.Version.QEMU
	return Version{Major: q.Major, Minor: q.Minor, Micro: q.Micro, Package: g.Version.Package}
}
