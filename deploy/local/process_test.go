// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script is a command that runs shell text.
func script(t *testing.T, text string) command {
	t.Helper()
	return command{
		node: "test", program: "script", path: "/bin/sh", args: []string{"-c", text},
		log: filepath.Join(t.TempDir(), "script.log"),
	}
}

func TestStopEndsAProcessThatListens(t *testing.T) {
	p, err := start(t.Context(), script(t, `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done`))
	if err != nil {
		t.Fatal(err)
	}
	says(t, p, "up")
	if err := p.stop(); err != nil || p.err != nil {
		t.Errorf("stop: %v; the process: %v", err, p.err)
	}
	says(t, p, "bye")
	if err := errors.Join(p.stop(), p.kill()); err != nil {
		t.Errorf("ending what has ended: %v", err)
	}
}

func TestProgramOutlivesTheContextOfItsStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := start(ctx, script(t, `trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done`))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	says(t, p, "up")
	if err := p.stop(); err != nil || p.err != nil {
		t.Errorf("stop: %v; the process: %v", err, p.err)
	}
}

func TestWaitingForADeadProgramGivesItsLastWords(t *testing.T) {
	p, err := start(t.Context(), script(t, `echo cannot open the store; exit 3`))
	if err != nil {
		t.Fatal(err)
	}
	err = answers(t.Context(), p, filepath.Join(t.TempDir(), "none.sock"))
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "cannot open the store") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("waiting for a dead program: %v", err)
	}
}

func TestProgramThatDiesIsStartedAgain(t *testing.T) {
	dir := t.TempDir()
	p, err := start(t.Context(), script(t, `echo x >> `+dir+`/starts; exec sleep 60`))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	watch := &keeper{out: &lineWriter{out: &out}}
	watch.keep(t.Context(), p)
	for starts := 1; starts <= 2; starts++ {
		err := eventually(t.Context(), time.Minute, func(context.Context) error {
			text, err := os.ReadFile(filepath.Join(dir, "starts"))
			if err == nil && strings.Count(string(text), "x") < starts {
				err = errors.New("not yet")
			}
			return err
		})
		if err != nil {
			t.Fatalf("start %d: %v", starts, err)
		}
		if starts == 1 {
			if err := p.kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := watch.stop(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"test script died (signal: killed)", "test script runs again", "stopped test script"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q was not said:\n%s", want, out.String())
		}
	}
}

// says waits until the process's log ends with the word.
func says(t *testing.T, p *process, word string) {
	t.Helper()
	err := eventually(t.Context(), time.Minute, func(context.Context) error {
		if got := p.tail(1); got != word {
			return errors.New(got)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("waiting for %q: %v", word, err)
	}
}
