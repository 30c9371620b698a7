// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// check looks for an order of each register's history, and reports the shortest of those that have none.
func (a *arena) check() {
	a.t.Helper()
	model := registerModel()
	var worst []porcupine.Operation
	for _, part := range byRegister(a.history) {
		switch porcupine.CheckOperationsTimeout(model, part, linearPatience) {
		case porcupine.Ok:
			continue
		case porcupine.Unknown:
			a.t.Logf("no order found within %v, and none excluded, of %d requests", linearPatience, len(part))
			continue
		case porcupine.Illegal:
		}
		counted.add(func(c *tally) { c.wrong++ })
		if short := shortest(model, part); worst == nil || len(short) < len(worst) {
			worst = short
		}
	}
	if worst == nil {
		return
	}
	path := filepath.Join(a.t.ArtifactDir(), "history.html")
	_, info := porcupine.CheckOperationsVerbose(model, a.history, drawing)
	if err := porcupine.VisualizePath(model, info, path); err != nil {
		path = err.Error()
	}
	a.t.Fatalf("violation: no order of these requests to %s makes all answers right:\n%s\nThe whole of it (kept with -artifacts): %s",
		worst[0].Input.(asked).register, describe(worst), path) //nolint:forcetypeassert // made in this package
}

// shortest cuts a history that has no order down: to the time of the first answer that does not fit,
// and then by every read without which there is still none.
func shortest(model porcupine.Model, history []porcupine.Operation) []porcupine.Operation {
	ends := slices.Clone(history)
	slices.SortFunc(ends, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	bad := func(ops []porcupine.Operation) bool {
		return porcupine.CheckOperationsTimeout(model, ops, time.Second) == porcupine.Illegal
	}
	at, _ := slices.BinarySearchFunc(ends, true, func(op porcupine.Operation, _ bool) int {
		if bad(until(history, op.Return)) {
			return 1
		}
		return -1
	})
	if at < len(ends) {
		history = until(history, ends[at].Return)
	}
	for i := 0; i < len(history); {
		ask, _ := history[i].Input.(asked)
		answer, _ := history[i].Output.(answered)
		without := slices.Delete(slices.Clone(history), i, i+1)
		if (ask.verb == "get" || answer.outcome == refused) && bad(without) {
			history = without
			continue
		}
		i++
	}
	return history
}

// until is the history as it was known at a time.
func until(history []porcupine.Operation, end int64) []porcupine.Operation {
	var known []porcupine.Operation
	for _, op := range history {
		ask, _ := op.Input.(asked)
		switch {
		case op.Call > end, op.Return > end && ask.verb == "get":
			continue
		case op.Return > end:
			op.Output, op.Return = answered{outcome: unknown}, always
		}
		known = append(known, op)
	}
	return known
}

// drawing bounds the search for the longest orders, which the picture shows.
const drawing = 5 * time.Second

// shown bounds how many requests are printed: the last ones are what matters.
const shown = 30

func describe(history []porcupine.Operation) string {
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var b strings.Builder
	if over := len(history) - shown; over > 0 {
		fmt.Fprintf(&b, "  (%d earlier ones are left out)\n", over)
		history = history[over:]
	}
	for _, op := range history {
		end := "…"
		if op.Return != always {
			end = time.Duration(op.Return).Round(10 * time.Microsecond).String()
		}
		fmt.Fprintf(&b, "  %v – %s  client %d: %v → %v\n", time.Duration(op.Call).Round(10*time.Microsecond), end, op.ClientId, op.Input, op.Output)
	}
	return b.String()
}
