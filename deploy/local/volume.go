// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// The volume that the storage node exports.
const (
	volumeBytes = 256 << 20
	blockBytes  = 512
)

// ensureVolume makes the volume's file, which takes no space until it is written to. One that is
// there already is left as it is.
func ensureVolume(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // in the directory that --dir names
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the volume: %w", err)
	}
	if err := errors.Join(file.Truncate(volumeBytes), file.Close()); err != nil {
		return errors.Join(fmt.Errorf("making the volume %s: %w", path, err), os.Remove(path))
	}
	return nil
}
