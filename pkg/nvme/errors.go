// SPDX-License-Identifier: Apache-2.0

package nvme

import "errors"

// ErrShort says that a buffer is shorter than the structure that was to be read from it.
var ErrShort = errors.New("buffer too short")

// ErrNQN says that a name is not a valid NVMe Qualified Name.
var ErrNQN = errors.New("invalid NQN")

// ErrDescriptor says that a list of descriptors is not well formed.
var ErrDescriptor = errors.New("malformed descriptor")
