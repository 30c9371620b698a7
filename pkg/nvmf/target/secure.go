// SPDX-License-Identifier: Apache-2.0

package target

import (
	"errors"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/tlspsk"
)

// hostKey is with what a host may connect to a subsystem through TLS.
type hostKey struct {
	psk       tlspsk.PSK
	nqn, host string
}

func newHostKey(p nvme.PSK, nqn, host string) (*hostKey, error) {
	key, err := p.TLS(host, nqn)
	if err != nil {
		return nil, errdefs.Wrap(errdefs.InvalidArgument, err, "host %q of subsystem %q", host, nqn)
	}
	k := &hostKey{psk: tlspsk.PSK{Identity: p.Identity(host, nqn), Suite: tlspsk.AES128GCMSHA256, Key: key}, nqn: nqn, host: host}
	if p.SHA384() {
		k.psk.Suite = tlspsk.AES256GCMSHA384
	}
	return k, nil
}

// dropKey forgets the key of a host, if it has one. t.mu is held.
func (t *Target) dropKey(s *subsystem, host string) {
	if k := s.keys[host]; k != nil {
		delete(t.keys, k.psk.Identity)
		delete(s.keys, host)
	}
}

// keyOf finds a key for TLS by its identity.
func (t *Target) keyOf(identity string) (tlspsk.PSK, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	k := t.keys[identity]
	if k == nil {
		return tlspsk.PSK{}, false
	}
	return k.psk, true
}

// secure shakes hands where the listener wants TLS. It is the first that a queue does, before q.mu is
// used by anybody else.
func (q *queue) secure() error {
	if !q.portal.secure {
		return nil
	}
	q.wait(time.Now().Add(connectWithin))
	conn, err := tlspsk.Server(q.socket, q.target.keyOf)
	if err != nil {
		return err //nolint:wrapcheck // it says that it is TLS
	}
	q.conn, q.tls = conn, conn
	return nil
}

// checkKey refuses a Connect under other names than those of the key, and with a key that has been
// taken away or replaced meanwhile: a host proves only who it is. t.mu is held.
func (q *queue) checkKey(d *nvme.ConnectData) *refusal {
	if q.tls == nil {
		return nil
	}
	k := q.target.keys[q.tls.Identity()]
	if k == nil || k.nqn != d.SUBNQN || k.host != d.HOSTNQN {
		return &refusal{nvme.StatusConnectInvalidHost | nvme.DNR, 0, "the key of TLS is not that of host " + d.HOSTNQN + " for subsystem " + d.SUBNQN}
	}
	return nil
}

// isTLS says whether a connection ended because of TLS.
func isTLS(err error) bool {
	_, ok := errors.AsType[*tlspsk.Error](err)
	return ok
}
