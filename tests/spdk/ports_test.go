// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// ports gives each port of a recording a free one of this machine, so that recordings can be
// replayed side by side. Port 0, names and the ports of addresses elsewhere stay.
type ports struct {
	tb       testing.TB
	here     map[string]string // by recorded port
	recorded map[string]string // by port here
}

func newPorts(tb testing.TB) *ports {
	return &ports{tb: tb, here: make(map[string]string), recorded: make(map[string]string)}
}

var (
	recordedPort = regexp.MustCompile(`"trsvcid": ?"(44\d\d)"`)
	anyPort      = regexp.MustCompile(`"trsvcid": ?"(\d{4,5})"`)
)

// of returns the port that stands for a recorded one.
func (p *ports) of(recorded string) string {
	if port, ok := p.here[recorded]; ok {
		return port
	}
	l, err := (&net.ListenConfig{}).Listen(p.tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		p.tb.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // a TCP listener
	_ = l.Close()
	p.here[recorded], p.recorded[port] = port, recorded
	return port
}

// out turns a recorded request into one for this machine.
func (p *ports) out(text, dir string) string {
	text = recordedPort.ReplaceAllStringFunc(text, func(m string) string {
		port := recordedPort.FindStringSubmatch(m)[1]
		return strings.Replace(m, port, p.of(port), 1)
	})
	return strings.ReplaceAll(text, "@DIR@", dir)
}

// in turns an answer of this machine into the recording's terms.
func (p *ports) in(text, dir string) string {
	text = anyPort.ReplaceAllStringFunc(text, func(m string) string {
		port := anyPort.FindStringSubmatch(m)[1]
		if recorded, ok := p.recorded[port]; ok {
			return strings.Replace(m, port, recorded, 1)
		}
		return m
	})
	return strings.ReplaceAll(text, dir, "@DIR@")
}
