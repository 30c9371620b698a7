// SPDX-License-Identifier: Apache-2.0

package spdk_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const mebibyte = 1 << 20

// prepare makes the files that a scenario had before its first request.
func prepare(r *replay) {
	r.Helper()
	file := func(name string, size int64) {
		path := filepath.Join(r.dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			r.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			r.Fatal(err)
		}
	}
	key := func(name string, size int) {
		if err := os.WriteFile(filepath.Join(r.dir, name), psk(name, size), 0o600); err != nil {
			r.Fatal(err)
		}
	}
	switch r.file {
	case "02_bdev_aio":
		file("disk1", 4*mebibyte)
		file("disk2", mebibyte+512)
		file("disk3", 0)
		if err := os.Mkdir(filepath.Join(r.dir, "adir"), 0o700); err != nil {
			r.Fatal(err)
		}
	case "04_nvmf_listener_host":
		file("dh", 0)
		key("psk", 32)
		key("pskbad", 0)
	case "06_nvme_auth":
		for _, name := range []string{"dh", "dhwrong", "dhc"} {
			file(name, 0)
		}
		key("psk", 32)
		key("pskwrong", 32)
		key("psk384", 48)
		key("pskbad", 0)
	case "05_keyring":
		for _, name := range []string{"key.ok", "key.ok2", "key.empty", "key.400", "key.640", "key.644"} {
			file(name, 0)
			if mode, err := strconv.ParseUint(strings.TrimPrefix(name, "key."), 8, 32); err == nil {
				if err := os.Chmod(filepath.Join(r.dir, name), os.FileMode(mode)); err != nil {
					r.Fatal(err)
				}
			}
		}
		key("key.psk", 32)
	case "07_vhost":
		file("vhost.file", 0)
	case "11_restart":
		file("disk", 64*mebibyte)
		file("psk", 0)
	}
}

// psk returns a key of that many bytes in the interchange format, the same for a name every time; one of
// no bytes is malformed.
func psk(name string, size int) []byte {
	raw := bytes.Repeat([]byte(name), size)[:size]
	sum := crc32.ChecksumIEEE(raw)
	raw = append(raw, byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
	return fmt.Appendf(nil, "NVMeTLSkey-1:%02d:%s:", max(size/16-1, 1), base64.StdEncoding.EncodeToString(raw))
}

// event does what happened outside of RPC, or looks whether what was seen then is seen now.
func (r *replay) event(s *step) {
	r.Helper()
	act, known := r.events()[s.Step]
	switch {
	case known:
		act()
	case strings.HasPrefix(s.Step, "vfu-dir") || s.Step == "unlink-cntrl":
		r.skipped["the target has no vfio-user transport"]++
	case strings.HasSuffix(s.Step, "-bdevs"):
		r.awaitBdevs(strings.TrimPrefix(s.Event, "bdev_get_bdevs now lists: "))
	case strings.HasSuffix(s.Step, "-delay") && s.Step != "replace-add-old-delay":
		// How long it took then; the next request waits for it now.
	default:
		r.Fatalf("event %s is not known: %s", s.Step, s.Event)
	}
}

// events lists what can be done, by the step at which it happens.
func (r *replay) events() map[string]func() {
	truncate := func(name string, size int64) func() {
		return func() {
			if err := os.Truncate(filepath.Join(r.dir, name), size); err != nil {
				r.Fatal(err)
			}
		}
	}
	kill := func(target string) func() { return func() { r.instances[target].kill() } }
	return map[string]func(){
		"grow-file":   truncate("disk1", 8*mebibyte),
		"shrink-file": truncate("disk1", 2*mebibyte),
		"odd-file":    truncate("disk1", 2*mebibyte+100),
		"unlink-file": func() { _ = os.Remove(filepath.Join(r.dir, "disk2")) },

		"unlink-key-file": func() { _ = os.Remove(filepath.Join(r.dir, "key.ok")) },

		"blk-files":    func() { r.wantSockets("vhost.0") },
		"delete-files": func() { r.wantSockets("scsi.0", "vhost.1", "vhost.2", "vhost.4") },

		"dpu-start": func() {},
		"again-start": func() {
			r.instances["dpu"].kill()
			r.restart("dpu")
		},
		"crash": func() { r.skipped["SPDK dies of a key that is destroyed in use; we refuse the call that does it"]++ },

		"foreign-listener":      func() { _ = r.occupy("foreign-listener-gone", "4466") },
		"foreign-listener-gone": func() { r.done["foreign-listener-gone"]() },
		"silent-peer":           func() { _ = r.occupy("", "4481") },

		"replace-add-old-delay": func() { r.awaitBdev("nvme0n7") },

		"storage-killed":   kill("storage"),
		"storage-back":     func() { r.restart("storage") },
		"storage-killed-2": kill("storage"),
		"storage-back-2":   func() { r.restart("storage") },
		"storage-killed-3": kill("storage"),

		"slow-attach-sent":        r.slowAttach,
		"slow-attach-answer":      func() { r.done["slow-attach-answer"]() },
		"blackhole-attach-sent":   func() { r.skipped["it takes SPDK and us 135 seconds; see blackhole-with-timeout"]++ },
		"blackhole-attach-answer": func() { r.skipped["it takes SPDK and us 135 seconds; see blackhole-with-timeout"]++ },
		"parallel-attach-sent":    r.parallelAttach,
		"parallel-attach-answers": func() { r.done["parallel-attach-answers"]() },
		"connections-70":          r.manyConnections,
		"connections-after-close": func() { r.done["connections-after-close"]() },
		"latency":                 func() { r.skipped["how fast SPDK was"]++ },

		"files-running": func() { r.wantFiles("dpu.sock", "dpu.sock.lock") },
		"killed": func() {
			r.instances["dpu"].kill()
			r.wantFiles("dpu.sock", "dpu.sock.lock")
		},
		"started-again":     func() { r.restart("dpu") },
		"files-before-stop": func() { r.wantFiles("dpu.sock", "dpu.sock.lock") },
		"stopped": func() {
			r.instances["dpu"].wait()
			r.wantFiles()
		},
	}
}

func (r *replay) restart(target string) {
	r.instances[target] = start(r.T, r.dir, target)
}

// wantSockets looks for the sockets of vhost controllers. (SPDK leaves one behind whose name it had cut.)
func (r *replay) wantSockets(names ...string) {
	r.Helper()
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		r.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		if e.Type() == os.ModeSocket && e.Name() != "dpu.sock" {
			found = append(found, e.Name())
		}
	}
	if !slices.Equal(found, names) {
		r.Errorf("sockets of vhost controllers: %q, recorded %q", found, names)
	}
}

// wantFiles looks for what the dpu's RPC server has in its directory.
func (r *replay) wantFiles(names ...string) {
	r.Helper()
	found, _ := filepath.Glob(filepath.Join(r.dir, "dpu.sock*"))
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	if slices.Sort(found); !slices.Equal(found, names) {
		r.Errorf("files of the RPC server: %q, recorded %q", found, names)
	}
}

// occupy listens on a port without ever answering, until the step. It returns the listener, of which
// nobody needs to accept anything: the kernel completes connections.
func (r *replay) occupy(until, port string) net.Listener {
	l, err := (&net.ListenConfig{}).Listen(r.Context(), "tcp", net.JoinHostPort("127.0.0.1", r.ports.of(port)))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = l.Close() })
	r.done[until] = func() { _ = l.Close() }
	return l
}

// blackHole makes a port at which SYN packets are dropped: a listener whose backlog is full.
func (r *replay) blackHole(port string) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = syscall.Close(fd) })
	var number int
	if _, err := fmt.Sscan(r.ports.of(port), &number); err != nil {
		r.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: number, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		r.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		r.Fatal(err)
	}
	for range 2 {
		dialer := net.Dialer{Timeout: 200 * time.Millisecond}
		conn, err := dialer.DialContext(r.Context(), "tcp", net.JoinHostPort("127.0.0.1", r.ports.of(port)))
		if err == nil {
			r.Cleanup(func() { _ = conn.Close() })
		}
	}
}

// names returns the names of the dpu's bdevs.
func (r *replay) names() []string {
	var result struct {
		Result []struct{ Name string }
	}
	if err := json.Unmarshal(r.call("dpu", `{"id":"names","method":"bdev_get_bdevs"}`), &result); err != nil {
		r.Fatal(err)
	}
	var names []string
	for _, b := range result.Result {
		names = append(names, b.Name)
	}
	return names
}

func (r *replay) awaitBdevs(list string) {
	r.Helper()
	eventuallyTrue(r.T, "bdevs "+list, func() bool {
		names := r.names()
		want := strings.Fields(list)
		slices.Sort(names)
		slices.Sort(want)
		return slices.Equal(names, want)
	})
}

func (r *replay) awaitBdev(name string) {
	r.Helper()
	eventuallyTrue(r.T, "bdev "+name, func() bool { return slices.Contains(r.names(), name) })
}

// pause waits, between two looks at something that happens in another process.
func pause(tb testing.TB, d time.Duration) {
	tb.Helper()
	select {
	case <-time.After(d):
	case <-tb.Context().Done():
		tb.Fatal("the test is over")
	}
}

// eventuallyTrue waits for something that happens in another process.
func eventuallyTrue(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			tb.Fatalf("not within %v: %s", patience, what)
		}
		pause(tb, 10*time.Millisecond)
	}
}

// dialed opens a further connection to the dpu.
func (r *replay) dialed() (net.Conn, *json.Decoder) {
	conn := r.instance("").dial()
	r.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn, json.NewDecoder(conn)
}

// attachTo is a request to attach to a port of this machine.
func (r *replay) attachTo(id int, name, port string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"bdev_nvme_attach_controller","params":{"name":%q,`+
		`"subnqn":"nqn.2019-06.io.storage:vol1","trtype":"TCP","adrfam":"IPv4","traddr":"127.0.0.1","trsvcid":%q}}`,
		id, name, r.ports.of(port))
}

// slowAttach attaches on another connection to a peer that accepts and never answers.
func (r *replay) slowAttach() {
	r.silent = r.occupy("", "4482")
	conn, answers := r.dialed()
	if _, err := conn.Write([]byte(r.attachTo(1, "slow0", "4482"))); err != nil {
		r.Fatal(err)
	}
	r.done["slow-attach-answer"] = func() {
		r.wantRefused(answers, 1)
		_ = conn.Close()
	}
}

// parallelAttach attaches three times in one write to the silent peer, which must have all three
// connections open at once: none waits until another has failed.
func (r *replay) parallelAttach() {
	r.blackHole("4484") // for a later step
	conn, answers := r.dialed()
	request := r.attachTo(0, "par0", "4482") + r.attachTo(1, "par1", "4482") + r.attachTo(2, "par2", "4482")
	if _, err := conn.Write([]byte(request)); err != nil {
		r.Fatal(err)
	}
	const slow = 1 // the connection of slowAttach, which nobody has accepted yet
	var open []net.Conn
	for i := range slow + 3 {
		c, err := r.silent.Accept()
		if err != nil {
			r.Fatal(err)
		}
		r.Cleanup(func() { _ = c.Close() })
		if i >= slow {
			open = append(open, c)
		}
	}
	for i, c := range open {
		if err := stillOpen(c); err != nil {
			r.Errorf("attach %d of three has ended before the last began: %v", i, err)
		}
	}
	r.done["parallel-attach-answers"] = func() {
		r.wantRefused(answers, 3)
		_ = conn.Close()
	}
}

// stillOpen returns an error if the peer has closed the connection.
func stillOpen(c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.Join(errors.New("it is closed"), err)
	}
	return nil
}

// wantRefused wants n answers that say -5.
func (r *replay) wantRefused(answers *json.Decoder, n int) {
	for range n {
		var a struct{ Error struct{ Code int } }
		if err := answers.Decode(&a); err != nil || a.Error.Code != -5 {
			r.Errorf("answer to an attach without a peer: %+v (%v), want code -5", a, err)
		}
	}
	r.replayed++
}

// manyConnections opens 70 connections beside the one that is there: 64 are served, the rest wait.
func (r *replay) manyConnections() {
	const opened, served, closed = 70, 63, 10
	type connection struct {
		net.Conn
		answers *json.Decoder
	}
	var conns []connection
	for range opened {
		conn, answers := r.dialed()
		if _, err := conn.Write([]byte(`{"id":1,"method":"spdk_get_version"}`)); err != nil {
			r.Fatal(err)
		}
		conns = append(conns, connection{conn, answers})
	}
	answered := func(c connection, within time.Duration) bool {
		_ = c.SetReadDeadline(time.Now().Add(within))
		var a json.RawMessage
		return c.answers.Decode(&a) == nil
	}
	var waiting []connection
	n := 0
	for _, c := range conns[:served] {
		if answered(c, patience) {
			n++
		}
	}
	for _, c := range conns[served:] {
		if answered(c, 20*time.Millisecond) {
			n++
		}
		// A decoder that has run into its deadline is of no more use.
		waiting = append(waiting, connection{c.Conn, json.NewDecoder(c.Conn)})
	}
	if n != served {
		r.Errorf("%d of %d connections were served, recorded %d", n, opened, served)
	}
	r.done["connections-after-close"] = func() {
		for _, c := range conns[:closed] {
			_ = c.Close()
		}
		for i, c := range waiting {
			if !answered(c, patience) {
				r.Errorf("connection %d that had waited was not served", served+i)
			}
		}
		for _, c := range conns[closed:] {
			_ = c.Close()
		}
		r.replayed++
	}
	r.replayed++
}
