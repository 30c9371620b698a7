// SPDX-License-Identifier: Apache-2.0

package tlspsk

import (
	"errors"
	"time"
)

// Write writes data.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.WriteBuffers([][]byte{p})
	return int(n), err
}

// WriteBuffers writes several pieces as one stream, in as few records as they need. It changes neither
// the list nor the pieces.
func (c *Conn) WriteBuffers(pieces [][]byte) (int64, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	var written, total int64
	start := -1 // of the record that is being filled
	for _, p := range pieces {
		for len(p) > 0 {
			if start < 0 {
				if err := c.rekeyIfDue(); err != nil {
					return written, err
				}
				start = len(c.sealed)
				c.sealed = c.out.begin(c.sealed)
			}
			room := maxText - (len(c.sealed) - start - recordHeader)
			n := min(room, len(p))
			c.sealed = append(c.sealed, p[:n]...)
			p, total = p[n:], total+int64(n)
			if n < room {
				break
			}
			c.sealed, start = c.out.finish(c.sealed, start, recordData), -1
			if len(c.sealed) >= batch {
				if err := c.send(); err != nil {
					return written, err
				}
				written = total
			}
		}
	}
	if start >= 0 {
		c.sealed = c.out.finish(c.sealed, start, recordData)
	}
	if err := c.send(); err != nil {
		return written, err
	}
	return total, nil
}

// rekeyIfDue puts a key update before the next record if the peer has asked for one or the key has
// been used enough. writeMu is held.
func (c *Conn) rekeyIfDue() error {
	if c.writeErr != nil {
		return c.writeErr
	}
	if !c.owesUpdate.Swap(false) && c.out.seq < c.rekey {
		return nil
	}
	c.sealed = c.out.seal(c.sealed, recordHandshake, message(keyUpdateType, func(w *builder) { w.u8(0) }))
	if err := c.out.update(); err != nil {
		c.writeErr = err
	}
	return c.writeErr
}

// send writes what has been sealed. writeMu is held.
func (c *Conn) send() error {
	if c.writeErr != nil {
		return c.writeErr
	}
	if len(c.sealed) == 0 {
		return nil
	}
	_, err := c.conn.Write(c.sealed)
	c.sealed = c.sealed[:0]
	if err != nil {
		c.writeErr = err // half a record may be out: nothing can follow
	}
	return err //nolint:wrapcheck // a net.Conn hands errors on as they are
}

// tell sends the alert of a fault of the peer's, which ends writing, and returns the fault.
func (c *Conn) tell(err error) error {
	var own *Error
	if errors.As(err, &own) && !own.Remote {
		c.sendAlert(own.Alert)
	}
	return err
}

// sendAlert sends an alert, after which nothing can be written, unless somebody is at it, who may wait
// for a peer that listens no more.
func (c *Conn) sendAlert(a Alert) {
	if !c.writeMu.TryLock() {
		return
	}
	defer c.writeMu.Unlock()
	if c.writeErr != nil {
		return
	}
	const fatal, warning = 2, 1
	level := byte(fatal)
	if a == AlertCloseNotify {
		level = warning
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(lastWords))
	c.sealed = c.out.seal(c.sealed, recordAlert, []byte{level, byte(a)})
	_ = c.send()
	c.writeErr = errClosed
}

// CloseWrite tells the peer that nothing more comes, and closes that half of the connection below if it
// can be closed alone.
func (c *Conn) CloseWrite() error {
	c.sendAlert(AlertCloseNotify)
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite() //nolint:wrapcheck // a net.Conn hands errors on as they are
	}
	return nil
}

// Close tells the peer, if that takes no time, and closes the connection.
func (c *Conn) Close() error {
	c.sendAlert(AlertCloseNotify)
	return c.conn.Close() //nolint:wrapcheck // a net.Conn hands errors on as they are
}
