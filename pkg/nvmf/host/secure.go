// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"syscall"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/nvme"
	"github.com/opi-bridge/opi-bridge/pkg/nvmf/tlspsk"
)

// psk returns with what key the connections are protected, nil for none.
func (o *AttachOptions) psk() (*tlspsk.PSK, error) {
	if o.Key == nil {
		return nil, nil //nolint:nilnil // not to have a key is no failure
	}
	p, err := o.Key()
	var key []byte
	if err == nil {
		key, err = p.TLS(o.HostNQN, o.Trid.Subnqn)
	}
	if err != nil {
		return nil, errdefs.Wrap(errdefs.FailedPrecondition, &keyError{cause: err}, "attach NVMe controller %q", o.Name)
	}
	psk := &tlspsk.PSK{Identity: p.Identity(o.HostNQN, o.Trid.Subnqn), Suite: tlspsk.AES128GCMSHA256, Key: key}
	if p.SHA384() {
		psk.Suite = tlspsk.AES256GCMSHA384
	}
	return psk, nil
}

// keyError adds the errno with which SPDK answers a key that it cannot use.
type keyError struct{ cause error }

func (e *keyError) Error() string   { return e.cause.Error() }
func (e *keyError) Unwrap() []error { return []error{syscall.ENODEV, e.cause} }

// secure shakes hands with a key. Nobody else uses the connection yet.
func (q *queue) secure(psk *tlspsk.PSK) error {
	if psk == nil {
		return nil
	}
	conn, err := tlspsk.Client(q.socket, *psk)
	if err != nil {
		return fmt.Errorf("connect with TLS: %w", err)
	}
	q.conn, q.tls = conn, conn
	return nil
}

// lastWords is how long a terminate request may take to go out through TLS.
const lastWords = 100 * time.Millisecond

// terminateTLS is what terminate does with TLS, whose records cannot be written in part.
func (q *queue) terminateTLS(term *nvme.TermReq) {
	_ = q.socket.SetWriteDeadline(time.Now().Add(lastWords))
	_, _ = q.tls.Write(term.Encode(true)) // the connection ends anyway
}
