// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opi-bridge/opi-bridge/pkg/bdev/ioload"
)

// ioReport adds up what came of the parts of an io command, and is what it prints.
type ioReport struct {
	Event      string          `json:"event"`
	Mode       string          `json:"mode"`
	OK         bool            `json:"ok"`
	Namespace  namespaceReport `json:"namespace"`
	Reads      uint64          `json:"reads"`
	Writes     uint64          `json:"writes"`
	Errors     uint64          `json:"errors"`
	Mismatched uint64          `json:"mismatched_blocks"`
	Bytes      uint64          `json:"bytes"`
	ElapsedMS  int64           `json:"elapsed_ms"`
	IOPS       float64         `json:"iops"`
	Latency    latencyReport   `json:"latency_us"`
	FirstError string          `json:"first_error,omitempty"`
	Mismatches []string        `json:"mismatches,omitempty"`

	out     io.Writer
	json    bool
	elapsed time.Duration
	before  uint64 // requests of earlier parts
	now     uint64 // requests of the running part
}

// latencyReport is in microseconds, of the part that took the most requests.
type latencyReport struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

type progressReport struct {
	Event string `json:"event"`
	Done  uint64 `json:"done"`
}

// start prints what is about to be used.
func (r *ioReport) start() error {
	if r.json {
		return printJSON(r.out, struct {
			Event     string          `json:"event"`
			Namespace namespaceReport `json:"namespace"`
		}{"start", r.Namespace})
	}
	printNamespace(r.out, &r.Namespace)
	return nil
}

// progress returns what is called after each request; it prints the number of requests so far every
// so often.
func (r *ioReport) progress(every time.Duration) func(uint64) {
	if every <= 0 {
		return nil
	}
	next := time.Now().Add(every)
	return func(done uint64) {
		if done < r.now { // the next part has begun
			r.before += r.now
		}
		r.now = done
		if time.Now().Before(next) {
			return
		}
		next = time.Now().Add(every)
		if r.json {
			_ = printJSON(r.out, progressReport{Event: "progress", Done: r.before + done}) // the result will tell
			return
		}
		fmt.Fprintf(r.out, "%d requests\n", r.before+done)
	}
}

// take adds the outcome of a part.
func (r *ioReport) take(part *ioload.Result, err error) error {
	if part != nil {
		if part.Latency.Count() > 0 && (r.Reads+r.Writes < part.Reads+part.Writes || r.Latency == latencyReport{}) {
			us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
			r.Latency = latencyReport{
				Mean: us(part.Latency.Mean()), P50: us(part.Latency.Percentile(50)),
				P99: us(part.Latency.Percentile(99)), Max: us(part.Latency.Max()),
			}
		}
		r.Reads += part.Reads
		r.Writes += part.Writes
		r.Errors += part.Errors
		r.Mismatched += part.Mismatched
		r.Bytes += part.Bytes
		r.elapsed += part.Elapsed
		if r.FirstError == "" && part.FirstError != nil {
			r.FirstError = part.FirstError.Error()
		}
		for _, m := range part.Mismatches {
			r.Mismatches = append(r.Mismatches, m.String())
		}
	}
	return err
}

// verdict says whether all held.
func (r *ioReport) verdict() error {
	switch {
	case r.Mismatched > 0:
		return fmt.Errorf("%d blocks are not as they were written", r.Mismatched)
	case r.Errors > 0:
		return fmt.Errorf("%d requests failed, the first: %s", r.Errors, r.FirstError)
	default:
		return nil
	}
}

// print writes the result; failure is what cut the work short.
func (r *ioReport) print(failure error) error {
	r.OK = failure == nil && r.verdict() == nil
	r.ElapsedMS = r.elapsed.Milliseconds()
	if r.elapsed > 0 {
		r.IOPS = float64(r.Reads+r.Writes) / r.elapsed.Seconds()
	}
	if r.FirstError == "" && failure != nil {
		r.FirstError = failure.Error()
	}
	if r.json {
		return printJSON(r.out, r)
	}
	verdict := "all held"
	if !r.OK {
		verdict = "NOT all held"
	}
	_, err := fmt.Fprintf(r.out, "%s: %s\n  %d reads, %d writes, %s in %.1f s: %.0f/s, %.1f MiB/s\n"+
		"  latency   mean %.0f µs, half within %.0f, 99%% within %.0f, longest %.0f\n  failed    %d requests, %d blocks wrong\n",
		r.Mode, verdict, r.Reads, r.Writes, mebibytes(r.Bytes), r.elapsed.Seconds(), r.IOPS,
		float64(r.Bytes)/(1<<20)/max(r.elapsed.Seconds(), 1e-9),
		r.Latency.Mean, r.Latency.P50, r.Latency.P99, r.Latency.Max, r.Errors, r.Mismatched)
	for _, m := range r.Mismatches {
		fmt.Fprintf(r.out, "    %s\n", m)
	}
	if err != nil {
		return errors.Join(errors.New("print the result"), err)
	}
	return nil
}
