// SPDX-License-Identifier: Apache-2.0

package crash_test

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// drive stands between the bridge and the file of its store: the kernel asks it (seccomp user
// notification) before every call of the bridge that writes to a file. So each of them can be counted,
// and be made to fail as on a disk that is full or broken, without a file system made for that.
type drive struct {
	gate     *gate
	listener *net.UnixListener
	work     sync.WaitGroup
	closed   chan struct{}

	// failed has a token when a write has failed.
	failed chan struct{}

	mu    sync.Mutex
	errno syscall.Errno // what each write fails with; 0 for none; guarded by mu
}

// underDisk is the first argument that makes the test binary the launcher of a bridge.
const underDisk = "under-disk"

// newDrive starts a drive and returns it with the program under which bridges have it.
func newDrive(t *testing.T, g *gate, dir string) (*drive, []string) {
	t.Helper()
	path := filepath.Join(dir, "disk.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	d := &drive{gate: g, listener: l, closed: make(chan struct{}), failed: make(chan struct{}, 1)}
	d.work.Go(d.accept)
	t.Cleanup(func() {
		close(d.closed)
		_ = l.Close()
		d.work.Wait()
	})
	return d, []string{self, underDisk, path}
}

// fail makes writes fail with that error from now on; 0 ends it.
func (d *drive) fail(errno syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errno = errno
	select {
	case <-d.failed:
	default:
	}
}

func (d *drive) accept() {
	for {
		conn, err := d.listener.AcceptUnix()
		if err != nil {
			return
		}
		fd, err := receive(conn)
		_ = conn.Close()
		if err == nil {
			d.work.Go(func() { d.serve(fd) })
		}
	}
}

// receive takes the descriptor that the launcher sends.
func receive(conn *net.UnixConn) (int, error) {
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), rights)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return 0, errors.Join(err, errWire)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, errors.Join(err, errWire)
	}
	return fds[0], nil
}

// Sizes and places in the kernel's structures seccomp_notif and seccomp_notif_resp.
const (
	notifBytes  = 80
	notifCall   = 16
	answerBytes = 24
)

// serve answers the kernel's questions about one bridge until that is dead.
func (d *drive) serve(fd int) {
	defer func() { _ = unix.Close(fd) }()
	for {
		select {
		case <-d.closed:
			return
		default:
		}
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, 100)
		switch {
		case errors.Is(err, unix.EINTR) || err == nil && n == 0:
			continue
		case err != nil || ready[0].Revents&unix.POLLIN == 0:
			return
		}
		var question [notifBytes]byte
		if control(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, question[:]) != nil {
			continue // the caller died while it asked
		}
		call := binary.NativeEndian.Uint32(question[notifCall:])
		// That nobody waits for the answer any more is no error: the bridge was killed.
		_ = d.gate.pass("disk "+writes()[call], change, func() error { return d.answer(fd, question[:8]) })
	}
}

// answer lets a call happen, or fail.
func (d *drive) answer(fd int, id []byte) error {
	d.mu.Lock()
	errno := d.errno
	d.mu.Unlock()
	var a [answerBytes]byte
	copy(a[:8], id)
	if errno == 0 {
		binary.NativeEndian.PutUint32(a[20:], unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE)
	} else {
		binary.NativeEndian.PutUint32(a[16:], uint32(-int32(errno)))
		select {
		case d.failed <- struct{}{}:
		default:
		}
	}
	return control(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, a[:])
}

func control(fd int, request uintptr, data []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&data[0])))
	if errno != 0 {
		return errno
	}
	return nil
}

// writes are the calls with which the bridge changes files, and nothing else.
func writes() map[uint32]string {
	return map[uint32]string{
		unix.SYS_PWRITE64: "pwrite", unix.SYS_FDATASYNC: "fdatasync", unix.SYS_FSYNC: "fsync", unix.SYS_FTRUNCATE: "ftruncate",
	}
}

// launch becomes the program, with its writes to files announced to the drive at that socket. It
// returns only when that is not possible.
func launch(socket string, argv []string) error {
	runtime.LockOSThread() // the filter is this thread's, which becomes the program
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number of the call
	for call := range writes() {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	if _, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(int(fd)), nil); err != nil {
		return err
	}
	_ = conn.Close()
	return syscall.Exec(argv[0], argv, os.Environ())
}
