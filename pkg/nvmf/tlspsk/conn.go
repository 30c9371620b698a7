// SPDX-License-Identifier: Apache-2.0

package tlspsk

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// batch is how much is sealed before it is written, in bytes; it bounds the memory of a writer.
	batch = 8 * (maxText + sealedMore)
	// maxIdle is how many records in a row may bring no data.
	maxIdle = 32
	// rekeyAfter is the number of records after which a key is changed: AES-GCM is good for 2^24.5
	// full ones (RFC 8446, section 5.5).
	rekeyAfter = 1 << 24
	// lastWords is how long the end of a connection may wait for close_notify to go out.
	lastWords = 250 * time.Millisecond
)

// Conn is a protected connection, a [net.Conn]. One goroutine may read and others write at the same
// time; deadlines and Close may be used by any. A read that ran into its deadline can be tried again, a
// write cannot.
type Conn struct {
	conn     net.Conn
	identity string
	suite    Suite
	// rekey is rekeyAfter but in tests.
	rekey uint64
	// owesUpdate is set when the peer has asked for a key update.
	owesUpdate atomic.Bool

	// readMu guards what follows. It may be held while writeMu is taken, not the other way round.
	readMu  sync.Mutex
	in      half
	raw     receiver
	text    []byte // what of the last record has not been read; lies in raw
	message []byte // the beginning of a handshake message
	idle    int    // records in a row without data
	readErr error

	// writeMu guards what follows.
	writeMu  sync.Mutex
	out      half
	sealed   []byte // ready to be written
	writeErr error
}

var (
	errClosed          = errors.New("tls: the connection is closed for writing")
	_         net.Conn = (*Conn)(nil)
)

func newConn(conn net.Conn) *Conn {
	return &Conn{conn: conn, rekey: rekeyAfter, raw: receiver{from: conn}}
}

// Identity returns the name of the key that both ends have proved to have.
func (c *Conn) Identity() string { return c.identity }

// Suite returns the cipher suite in use.
func (c *Conn) Suite() Suite { return c.suite }

// Read reads data. The end is io.EOF after the peer's close_notify, and io.ErrUnexpectedEOF without it.
func (c *Conn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.text) == 0 {
		if err := c.readMore(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.text)
	c.text = c.text[n:]
	for n < len(p) && c.raw.buffered() && c.readErr == nil {
		if err := c.readMore(); err != nil {
			break // whatever it is, it comes again with the next call
		}
		k := copy(p[n:], c.text)
		c.text = c.text[k:]
		n += k
	}
	return n, nil
}

// readMore takes one record; c.text is empty. readMu is held.
func (c *Conn) readMore() error {
	if c.readErr != nil {
		return c.readErr
	}
	t, text, err := c.readRecord()
	if err == nil {
		err = c.handle(t, text)
	}
	if err != nil && !isTimeout(err) {
		c.readErr = err
	}
	return err
}

// isTimeout says whether reading may go on later.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// readRecord takes a record and opens it. Its own faults are told to the peer. readMu is held.
func (c *Conn) readRecord() (recordType, []byte, error) {
	record, err := c.raw.next()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, nil, c.tell(err)
	}
	t, text, err := c.in.open(record)
	if err != nil {
		return 0, nil, c.tell(err)
	}
	return t, text, nil
}

// handle deals with a record after the handshake. readMu is held.
func (c *Conn) handle(t recordType, text []byte) error {
	if t == recordData && len(text) > 0 {
		c.idle = 0
	} else if c.idle++; c.idle > maxIdle {
		return c.tell(fault(AlertUnexpectedMessage, "%d records in a row without data", maxIdle))
	}
	switch {
	case t != recordHandshake && len(c.message) > 0:
		return c.tell(fault(AlertUnexpectedMessage, "a record of type %d within a message", t))
	case t == recordData:
		c.text = text
		return nil
	case t == recordAlert:
		return c.alert(text)
	case t == recordHandshake:
		return c.tell(c.afterwards(text))
	default:
		return c.tell(fault(AlertUnexpectedMessage, "a record of type %d after the handshake", t))
	}
}

// alert returns what an alert of the peer means.
func (c *Conn) alert(text []byte) error {
	if len(text) != 2 {
		return c.tell(fault(AlertDecodeError, "an alert of %d bytes", len(text)))
	}
	switch a := Alert(text[1]); a {
	case AlertCloseNotify:
		return io.EOF
	case AlertUserCanceled:
		return nil // close_notify follows
	default:
		return &Error{Alert: a, Remote: true}
	}
}

// afterwards handles messages after the handshake: tickets, which nobody asked for, and key updates.
func (c *Conn) afterwards(text []byte) error {
	m, err := c.assemble(text)
	for ; err == nil && m != nil; m, err = c.assemble(nil) {
		switch t := messageType(m[0]); t {
		case newSessionTicketType:
		case keyUpdateType:
			if len(m) != messageHeader+1 || m[messageHeader] > 1 {
				return fault(AlertIllegalParameter, "KeyUpdate is malformed")
			}
			if len(c.message) > 0 {
				return fault(AlertUnexpectedMessage, "KeyUpdate is not the last of its record")
			}
			if err := c.in.update(); err != nil {
				return err
			}
			if m[messageHeader] == 1 {
				c.owesUpdate.Store(true)
			}
		default:
			return fault(AlertUnexpectedMessage, "message of type %d after the handshake", t)
		}
	}
	return err
}

// assemble adds a piece of the handshake stream, and returns the next whole message, header included,
// or nil. The message is valid until more is added.
func (c *Conn) assemble(piece []byte) ([]byte, error) {
	c.message = append(c.message, piece...)
	if len(c.message) < messageHeader {
		return nil, nil
	}
	size := messageHeader + int(c.message[1])<<16 + int(c.message[2])<<8 + int(c.message[3])
	if size > maxMessage {
		return nil, fault(AlertDecodeError, "a message of %d bytes, %d are allowed", size, maxMessage)
	}
	if len(c.message) < size {
		return nil, nil
	}
	m := c.message[:size:size]
	if c.message = c.message[size:]; len(c.message) == 0 {
		c.message = nil
	}
	return m, nil
}

// LocalAddr returns that of the connection below.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr returns that of the connection below.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline sets that of the connection below.
func (c *Conn) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) } //nolint:wrapcheck // as above

// SetReadDeadline sets that of the connection below.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) } //nolint:wrapcheck // as above

// SetWriteDeadline sets that of the connection below.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) } //nolint:wrapcheck // as above
