// SPDX-License-Identifier: Apache-2.0

package vhost

import (
	"errors"
	"fmt"
)

// maxIndirect is the number of descriptors in an indirect table. Drivers stay below the 126 segments
// that the config space names, and firmware far below.
const maxIndirect = 1024

// chain is what a driver hands over at once: memory to read from, then memory to write to.
type chain struct {
	out, in segments
	// copied holds an indirect table that does not lie in one piece.
	copied []byte
}

func (c *chain) reset() {
	c.out.reset()
	c.in.reset()
}

// walk follows the descriptors from a head. Whatever they say, it ends after as many steps as there
// are descriptors.
func (c *chain) walk(t *table, r *ring, head uint16, indirect bool) error {
	c.reset()
	if head >= r.size {
		return fmt.Errorf("descriptor %d is made available in a ring of %d", head, r.size)
	}
	first := descriptorAt(r.desc, head)
	if first.flags&descIndirect == 0 {
		return c.follow(t, r.desc, r.size, first)
	}
	if !indirect {
		return fmt.Errorf("descriptor %d is indirect, which was not negotiated", head)
	}
	if first.flags&descNext != 0 {
		return fmt.Errorf("descriptor %d is indirect and goes on", head)
	}
	count := first.len / descBytes
	if first.len%descBytes != 0 || count == 0 || count > maxIndirect {
		return fmt.Errorf("descriptor %d leads to an indirect table of %d bytes", head, first.len)
	}
	inner, err := c.indirect(t, first.addr, int(first.len))
	if err != nil {
		return err
	}
	return c.follow(t, inner, uint16(count), descriptorAt(inner, 0))
}

// indirect returns an indirect table, copied if it lies in several pieces.
func (c *chain) indirect(t *table, addr uint64, n int) ([]byte, error) {
	if err := c.out.add(t, addr, uint64(n)); err != nil { //nolint:gosec // not negative
		return nil, fmt.Errorf("indirect table: %w", err)
	}
	inner := c.out.front()
	if len(inner) < n {
		if c.copied == nil {
			c.copied = make([]byte, maxIndirect*descBytes)
		}
		inner = c.copied[:c.out.gather(c.copied[:n])]
	}
	c.out.reset()
	return inner, nil
}

// follow collects the memory of d and of what comes after it in a table of count descriptors.
func (c *chain) follow(t *table, descs []byte, count uint16, d descriptor) error {
	for range count {
		if d.flags&descIndirect != 0 {
			return errors.New("an indirect descriptor is not the first and only one")
		}
		side := &c.out
		if d.flags&descWrite != 0 {
			side = &c.in
		} else if len(c.in.list) > 0 {
			return errors.New("a descriptor to read from follows one to write to")
		}
		if err := side.add(t, d.addr, uint64(d.len)); err != nil {
			return err
		}
		if d.flags&descNext == 0 {
			return nil
		}
		if d.next >= count {
			return fmt.Errorf("a descriptor leads to number %d of %d", d.next, count)
		}
		d = descriptorAt(descs, d.next)
	}
	return fmt.Errorf("a chain of descriptors is longer than its table of %d, so it is a loop", count)
}
