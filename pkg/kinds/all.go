// SPDX-License-Identifier: Apache-2.0

// Package kinds declares the OPI storage resources, one file each. A file answers what a kind is
// called, what is valid, what may change, what it refers to and which objects should exist for it;
// everything else is the same for all and lives in the engine and the API.
package kinds

import "github.com/opi-bridge/opi-bridge/pkg/resource"

// declared is what every kind file gives.
type declared interface {
	Kind() (*resource.Kind, error)
}

// All returns every kind that the bridge serves.
func All() ([]*resource.Kind, error) {
	var all []*resource.Kind
	for _, d := range []declared{
		nullVolume(),
		mallocVolume(),
		aioVolume(),
		nvmeRemoteController(),
		nvmePath(),
		nvmeRemoteNamespace(),
		nvmeSubsystem(),
		nvmeController(),
		nvmeNamespace(),
		encryptedVolume(),
		qosVolume(),
		virtioBlk(),
		virtioScsiTarget(),
		virtioScsiController(),
		virtioScsiLun(),
	} {
		k, err := d.Kind()
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}
