// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opi-bridge/opi-bridge/tests/host/guest"
)

// commandTime bounds a command. A guest without KVM on a busy machine is slow, and a connect or a
// write waits until what is behind it has come back.
const commandTime = 2 * time.Minute

// hello waits for the init program.
func (m *Machine) hello() {
	m.tb.Helper()
	m.lines.Buffer(nil, guest.MaxLineBytes)
	if _, err := m.answer(bootTime); err != nil {
		m.tb.Fatalf("the machine does not start: %v", err)
	}
}

// answer reads a response.
func (m *Machine) answer(patience time.Duration) (guest.Response, error) {
	var response guest.Response
	if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return response, fmt.Errorf("bound the wait: %w", err)
	}
	if !m.lines.Scan() {
		return response, errors.Join(errors.New("the machine says nothing more"), m.lines.Err())
	}
	if err := json.Unmarshal(m.lines.Bytes(), &response); err != nil {
		return response, fmt.Errorf("the machine said %q: %w", m.lines.Bytes(), err)
	}
	return response, nil
}

// send sends a request.
func (m *Machine) send(command string, args any) error {
	encoded, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("the arguments of %s: %w", command, err)
	}
	m.last++
	request, err := json.Marshal(guest.Request{ID: m.last, Command: command, Args: encoded})
	if err != nil {
		return fmt.Errorf("the request %s: %w", command, err)
	}
	if err := m.conn.SetWriteDeadline(time.Now().Add(commandTime)); err != nil {
		return fmt.Errorf("bound the wait: %w", err)
	}
	if _, err := m.conn.Write(append(request, '\n')); err != nil {
		return fmt.Errorf("send the request %s: %w", command, err)
	}
	return nil
}

// try carries out a command. What the guest refuses is returned; a guest that does not answer ends
// the test.
func (m *Machine) try(command string, args, result any) error {
	m.tb.Helper()
	if err := m.send(command, args); err != nil {
		m.tb.Fatal(err)
	}
	response, err := m.answer(commandTime)
	switch {
	case err != nil:
		m.tb.Fatalf("%s: %v", command, err)
	case response.ID != m.last:
		m.tb.Fatalf("%s: answer %d to request %d", command, response.ID, m.last)
	case response.Error != "":
		return errors.New(response.Error)
	case result != nil:
		if err := json.Unmarshal(response.Result, result); err != nil {
			m.tb.Fatalf("the result of %s: %v", command, err)
		}
	}
	return nil
}

// do carries out a command that must work.
func (m *Machine) do(command string, args, result any) {
	m.tb.Helper()
	if err := m.try(command, args, result); err != nil {
		m.tb.Fatalf("in the machine: %v", err)
	}
}

func (m *Machine) network() { m.tb.Helper(); m.do(guest.CommandNetwork, address, nil) }

func (m *Machine) powerOff() {
	m.tb.Helper()
	if err := m.send(guest.CommandPowerOff, nil); err != nil {
		m.tb.Fatal(err)
	}
}

// LoadModules loads modules of the Config and what they need; "name key=value" gives parameters.
func (m *Machine) LoadModules(names ...string) {
	m.tb.Helper()
	var list []guest.Module
	for _, name := range names {
		name, params, _ := strings.Cut(name, " ")
		order, ok := m.order[name]
		if !ok {
			m.tb.Fatalf("the module %s is not in the machine's Config", name)
		}
		for _, file := range order {
			list = append(list, guest.Module{File: file})
		}
		if len(order) > 0 {
			list[len(list)-1].Params = params
		}
	}
	m.do(guest.CommandModules, list, nil)
}

// Connect makes the kernel's NVMe host connect, with options as /dev/nvme-fabrics takes them.
func (m *Machine) Connect(options string) error {
	m.tb.Helper()
	return m.try(guest.CommandConnect, options, nil)
}

// Disks lists the guest's disks.
func (m *Machine) Disks() []guest.Disk {
	m.tb.Helper()
	var disks []guest.Disk
	m.do(guest.CommandDisks, nil, &disks)
	return disks
}

// Shell runs a script, which must end with status 0, and returns what it printed.
func (m *Machine) Shell(script string) string {
	m.tb.Helper()
	var o guest.Outcome
	m.do(guest.CommandShell, script, &o)
	if o.Status != 0 {
		m.tb.Fatalf("in the machine: status %d of %s: %s", o.Status, script, o.Output)
	}
	return o.Output
}

// Relay makes a unix socket of the guest a TCP port of it.
func (m *Machine) Relay(r guest.Relay) { m.tb.Helper(); m.do(guest.CommandRelay, r, nil) }

// Zero makes a disk write zeroes.
func (m *Machine) Zero(r guest.Range) { m.tb.Helper(); m.do(guest.CommandZero, r, nil) }

// StartLoad writes to a device once everywhere and begins verified I/O.
func (m *Machine) StartLoad(l guest.Load) { m.tb.Helper(); m.do(guest.CommandStartLoad, l, nil) }

// MarkLoad returns what came of a load since the last mark.
func (m *Machine) MarkLoad(device string) guest.Report {
	m.tb.Helper()
	return m.report(guest.CommandMarkLoad, device)
}

// StopLoad ends a load, reads everything once more and returns what came of it since the last mark.
func (m *Machine) StopLoad(device string) guest.Report {
	m.tb.Helper()
	return m.report(guest.CommandStopLoad, device)
}

func (m *Machine) report(command, device string) guest.Report {
	m.tb.Helper()
	var r guest.Report
	m.do(command, device, &r)
	return r
}

// Progress returns the number of requests that a load has done.
func (m *Machine) Progress(device string) uint64 {
	m.tb.Helper()
	var n uint64
	m.do(guest.CommandProgress, device, &n)
	return n
}
