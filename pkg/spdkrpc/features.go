// SPDX-License-Identifier: Apache-2.0

package spdkrpc

// Features tells what differs between SPDK v24.01 and v26.09 in the calls of this package. What is
// not listed here is the same in all of them, or is always sent in the one form that all take: the
// multipath mode is always named, because the default changed in v25.05.
type Features struct {
	// Keyring: pre-shared keys are named after keys of the keyring (v24.05); before it psk is the path of
	// a file.
	Keyring bool
	// HostsOnce: a host that a subsystem lists is refused when it is added again (v24.09); before it that
	// succeeds.
	HostsOnce bool
	// AioUUID: bdev_aio_create takes a uuid (v24.09).
	AioUUID bool
	// TCPConnectTimeout: bdev_nvme_set_options takes tcp_connect_timeout_ms (v25.05).
	TCPConnectTimeout bool
	// IostatNames: bdev_get_iostat takes a list of names (v26.01); before it is one or all.
	IostatNames bool
}

// Features returns what that version can do. A version that does not tell its number is taken for
// the newest.
func (v Version) Features() Features {
	unknown := v.Fields.Major == 0
	since := func(major, minor int) bool {
		return unknown || v.Fields.Major > major || v.Fields.Major == major && v.Fields.Minor >= minor
	}
	return Features{
		Keyring:           since(24, 5),
		HostsOnce:         since(24, 9),
		AioUUID:           since(24, 9),
		TCPConnectTimeout: since(25, 5),
		IostatNames:       since(26, 1),
	}
}
