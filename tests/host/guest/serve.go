// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Run is the init program: it prepares the system and does what it is told over the second serial
// port. It returns when it is told to power off, or when it cannot go on.
func Run(ctx context.Context) error {
	if err := prepare(ctx); err != nil {
		return err
	}
	port, err := openSerial("/dev/ttyS1")
	if err != nil {
		return err
	}
	defer port.Close() //nolint:errcheck // the machine ends
	s := &server{loads: map[string]*running{}}
	return s.serve(ctx, port)
}

// PowerOff ends the machine; it returns only when that is not possible.
func PowerOff() error {
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		return fmt.Errorf("power off: %w", err)
	}
	return nil
}

// openSerial opens a serial port that hands bytes through as they are.
func openSerial(path string) (*os.File, error) {
	port, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0) //nolint:gosec // a serial port
	if err != nil {
		return nil, fmt.Errorf("open the serial port: %w", err)
	}
	mode, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("ask for the mode of %s: %w", path, err)
	}
	mode.Iflag, mode.Oflag, mode.Lflag = 0, 0, 0
	mode.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, mode); err != nil {
		return nil, fmt.Errorf("set the mode of %s: %w", path, err)
	}
	return port, nil
}

// server carries out requests one after the other.
type server struct {
	loads map[string]*running // by device
}

// errPowerOff ends the conversation.
var errPowerOff = errors.New("told to power off")

func (s *server) serve(ctx context.Context, port io.ReadWriter) error {
	lines := bufio.NewScanner(port)
	lines.Buffer(nil, MaxLineBytes)
	answers := json.NewEncoder(port)
	if err := answers.Encode(Response{}); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	for lines.Scan() {
		var request Request
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			return fmt.Errorf("a request of %d bytes: %w", len(lines.Bytes()), err)
		}
		response := Response{ID: request.ID}
		result, err := s.do(ctx, request)
		switch {
		case errors.Is(err, errPowerOff):
			return nil
		case err != nil:
			response.Error = err.Error()
		default:
			if response.Result, err = json.Marshal(result); err != nil {
				return fmt.Errorf("the result of %s: %w", request.Command, err)
			}
		}
		if err := answers.Encode(response); err != nil {
			return fmt.Errorf("answer %s: %w", request.Command, err)
		}
	}
	return fmt.Errorf("the serial port ended: %w", errors.Join(lines.Err(), io.EOF))
}

func (s *server) do(ctx context.Context, r Request) (any, error) {
	switch r.Command {
	case CommandModules:
		return with(r, func(modules []Module) (any, error) { return nil, loadModules(modules) })
	case CommandNetwork:
		return with(r, func(address string) (any, error) { return nil, network(address) })
	case CommandConnect:
		return with(r, func(options string) (any, error) { return connect(options) })
	case CommandDisks:
		return disks()
	case CommandShell:
		return with(r, func(script string) (any, error) { return shell(ctx, script) })
	case CommandZero:
		return with(r, func(r Range) (any, error) { return nil, zero(r) })
	case CommandRelay:
		return with(r, func(r Relay) (any, error) { return nil, relay(ctx, r) })
	case CommandStartLoad:
		return with(r, func(l Load) (any, error) { return nil, s.start(ctx, l) })
	case CommandMarkLoad, CommandStopLoad, CommandProgress:
		return with(r, func(device string) (any, error) { return s.onLoad(ctx, r.Command, device) })
	case CommandPowerOff:
		return nil, errPowerOff
	default:
		return nil, fmt.Errorf("there is no command %q", r.Command)
	}
}

// with decodes the arguments of a request.
func with[A any](r Request, do func(A) (any, error)) (any, error) {
	var args A
	if err := json.Unmarshal(r.Args, &args); err != nil {
		return nil, fmt.Errorf("the arguments of %s: %w", r.Command, err)
	}
	return do(args)
}

func (s *server) start(ctx context.Context, l Load) error {
	if s.loads[l.Device] != nil {
		return fmt.Errorf("%s has a load already", l.Device)
	}
	r, err := startLoad(ctx, l)
	if err != nil {
		return err
	}
	s.loads[l.Device] = r
	return nil
}

func (s *server) onLoad(ctx context.Context, command, device string) (any, error) {
	r := s.loads[device]
	if r == nil {
		return nil, fmt.Errorf("%s has no load", device)
	}
	switch command {
	case CommandMarkLoad:
		return r.mark(ctx), nil
	case CommandStopLoad:
		delete(s.loads, device)
		return r.end(ctx)
	default:
		return r.ops.Load(), nil
	}
}
