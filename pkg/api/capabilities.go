// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"math"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	bridgev1 "github.com/opi-bridge/opi-bridge/proto/opi_bridge/v1"
)

// GetCapabilities implements the service.
func (s *bridgeService) GetCapabilities(ctx context.Context, _ *bridgev1.GetCapabilitiesRequest) (*bridgev1.Capabilities, error) {
	c, err := s.engine.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	answer := &bridgev1.Capabilities{Version: c.Version, Tls: c.TLS, TlsReason: c.TLSReason}
	for _, t := range c.Transports {
		answer.Transports = append(answer.Transports, &bridgev1.Capabilities_Transport{
			Transport: string(t.Transport), Listen: readiness(t.Listen), Attach: readiness(t.Attach), Reason: t.Reason,
		})
	}
	for _, f := range c.Frontends {
		answer.Frontends = append(answer.Frontends, frontend(f))
	}
	for _, one := range c.Ciphers {
		cipher := &bridgev1.Capabilities_Cipher{Cipher: string(one.Cipher)}
		for _, bits := range one.KeyBits {
			cipher.KeyBits = append(cipher.KeyBits, int32(min(bits, math.MaxInt32))) //nolint:gosec // bounded on the spot
		}
		answer.Ciphers = append(answer.Ciphers, cipher)
	}
	for _, l := range c.Limits {
		answer.Limits = append(answer.Limits, &bridgev1.Capabilities_Limit{Name: l.Name, Unit: l.Unit, Step: l.Step})
	}
	for _, kind := range c.Bdevs {
		answer.VolumeKinds = append(answer.VolumeKinds, string(kind))
	}
	return answer, nil
}

func readiness(r driver.Readiness) bridgev1.Capabilities_Readiness {
	switch r {
	case driver.ReadinessReady:
		return bridgev1.Capabilities_READY
	case driver.ReadinessUntried:
		return bridgev1.Capabilities_UNTRIED
	case driver.ReadinessMissing:
		return bridgev1.Capabilities_MISSING
	}
	return bridgev1.Capabilities_READINESS_UNSPECIFIED
}

func frontend(f driver.Frontend) bridgev1.Capabilities_Frontend {
	switch f {
	case driver.FrontendNvme:
		return bridgev1.Capabilities_NVME
	case driver.FrontendVirtioBlk:
		return bridgev1.Capabilities_VIRTIO_BLK
	case driver.FrontendVirtioScsi:
		return bridgev1.Capabilities_VIRTIO_SCSI
	}
	return bridgev1.Capabilities_FRONTEND_UNSPECIFIED
}
