// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// locationVariable tells a child process that it is the writer of a crash test, and where to write.
const locationVariable = "OPI_BRIDGE_STORETEST_WRITE"

// Numbers of a crash test: writers at the same time, each with a pair of documents, and crashes.
const (
	crashWriters = 8
	crashRounds  = 4
)

// Main runs the tests and looks for goroutines that are left, or is the writer of a crash test: call
// it from TestMain, with the same Open as Run.
func Main(m *testing.M, open Open) {
	if location, ok := os.LookupEnv(locationVariable); ok {
		if err := writeForever(location, open); err != nil {
			fmt.Fprintln(os.Stderr, err) // the test sees that too few commits came
		}
		return
	}
	code := m.Run()
	if code == 0 {
		if err := leaks(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code) //nolint:revive,forbidigo // Main is the whole of a TestMain
}

// leaks returns an error when goroutines are left. It waits longer than goleak does by itself: the
// Redis driver looks once a second whether its pool was closed while the server was away.
func leaks() (err error) {
	const tries = 20 // of about half a second
	for range tries {
		if err = goleak.Find(); err == nil {
			return nil
		}
	}
	return err
}

// pair names the documents of a writer; one commit writes both, with the same body.
func pair(writer int) (left, right string) {
	return fmt.Sprintf("left/%d", writer), fmt.Sprintf("right/%d", writer)
}

// writeForever counts up in each pair, and prints "<writer> <number>" for each commit that was
// acknowledged. It ends when no writer can go on.
func writeForever(location string, open Open) error {
	ctx := context.Background()
	s, err := open(location, store.Schema{WrittenBy: "1.0.0"})
	if err != nil {
		return err
	}
	docs, err := s.Load(ctx)
	if err != nil {
		return err
	}
	found := make(map[string]store.Document)
	for _, d := range docs {
		found[d.Name] = d
	}
	var line sync.Mutex // held while a line is printed
	var writers sync.WaitGroup
	for i := range crashWriters {
		left, right := pair(i)
		writers.Go(func() {
			n, _ := strconv.Atoi(string(found[left].Body)) // 0 when there is none yet
			bases := []uint64{found[left].Revision, found[right].Revision}
			for err := error(nil); err == nil; {
				n++
				bases, err = s.Commit(ctx, []store.Write{
					write(left, bases[0], strconv.Itoa(n)), write(right, bases[1], strconv.Itoa(n)),
				})
				if err == nil {
					line.Lock()
					_, err = fmt.Fprintln(os.Stdout, i, n)
					line.Unlock()
				}
			}
		})
	}
	writers.Wait()
	return s.Close()
}

// testWriterCrash kills the process that writes.
func testWriterCrash(b *bench) {
	b.crashes(func(writer *os.Process) { _ = writer.Kill() })
}

// testServerCrash kills the server behind the storage, if there is one.
func testServerCrash(b *bench) {
	if b.place.Crash == nil {
		b.Log("there is no server behind this storage: nothing to kill")
		return
	}
	b.crashes(func(*os.Process) { b.place.Crash() })
}

// crashes lets a child write, has it or its server killed at a random commit, and checks what is
// left: all that was acknowledged, and both documents of each pair or none.
func (b *bench) crashes(kill func(writer *os.Process)) {
	acknowledged := make([]int, crashWriters)
	total := 0
	for round := range crashRounds {
		total += b.crash(acknowledged, 50+rand.IntN(500), kill)
		s := b.store()
		docs, err := s.Load(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		bodies := make(map[string]int)
		for _, d := range docs {
			if bodies[d.Name], err = strconv.Atoi(string(d.Body)); err != nil {
				b.Fatal(err)
			}
		}
		for i, least := range acknowledged {
			left, right := pair(i)
			if bodies[left] != bodies[right] {
				b.Errorf("round %d, writer %d: half of a commit is there: %d and %d", round, i, bodies[left], bodies[right])
			}
			// One commit more may have been done, and its answer lost.
			if got := bodies[left]; got != least && got != least+1 {
				b.Errorf("round %d, writer %d: %d is there, %d was acknowledged", round, i, got, least)
			}
			acknowledged[i] = bodies[left]
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%d commits were acknowledged in %d rounds", total, crashRounds)
}

// crash runs one child until after commits have been acknowledged, and notes the last of each writer.
func (b *bench) crash(acknowledged []int, after int, kill func(writer *os.Process)) (total int) {
	child := exec.CommandContext(b.Context(), os.Args[0])
	child.Env = append(os.Environ(), locationVariable+"="+b.place.Location)
	child.Stderr = b.Output()
	out, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var writer, n int
		if _, err := fmt.Sscan(lines.Text(), &writer, &n); err != nil || writer < 0 || writer >= crashWriters {
			continue // a line that the kill cut, or what the race detector says
		}
		acknowledged[writer] = n
		if total++; total == after {
			kill(child.Process)
		}
	}
	_ = child.Wait() // killed, or ended because its server was
	if total < after {
		b.Fatalf("the writer ended after %d commits, before it could be killed at %d", total, after)
	}
	return total
}
