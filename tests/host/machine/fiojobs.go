// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// FioJob is one job of fio: I/O around the page cache, for a while.
type FioJob struct {
	// Name is that of the job in report and error.
	Name string
	// RW is fio's rw: randread, randwrite, read, write.
	RW string
	// BlockBytes is the size of a request.
	BlockBytes int
	// Depth is how many requests are in flight in each of Threads; one thread if 0.
	Depth, Threads int
	// Time is how long it takes. With 0 all of SizeBytes is written, and read again and compared.
	Time time.Duration
	// SizeBytes is how much of the device, from its start, is used; of each thread.
	SizeBytes int64
}

// FioResult is what a job came to: of all its threads together.
type FioResult struct {
	Name          string
	Reads, Writes uint64 // requests
	// IOPS and BytesPerSecond are of reads or of writes, whichever were more.
	IOPS, BytesPerSecond float64
	// Median is the median time of a request.
	Median time.Duration
}

// section is the job as part of a job file.
func (j FioJob) section() string {
	s := fmt.Sprintf("[%s]\nstonewall\nrw=%s\nbs=%d\niodepth=%d\nnumjobs=%d\nsize=%d\n",
		j.Name, j.RW, j.BlockBytes, j.Depth, max(j.Threads, 1), j.SizeBytes)
	if j.Time == 0 {
		return s + "verify=crc32c\nverify_fatal=1\n"
	}
	return s + fmt.Sprintf("time_based\nruntime=%dms\n", j.Time.Milliseconds())
}

// fioReport is what is used of fio's report.
type fioReport struct {
	Jobs []struct {
		Name  string   `json:"jobname"`
		Error int      `json:"error"`
		Read  fioShare `json:"read"`
		Write fioShare `json:"write"`
	} `json:"jobs"`
}

type fioShare struct {
	Requests  uint64  `json:"total_ios"`
	IOPS      float64 `json:"iops"`
	Bandwidth float64 `json:"bw_bytes"`
	Latency   struct {
		Percentile map[string]float64 `json:"percentile"`
	} `json:"clat_ns"`
}

// RunFio runs jobs one after the other on a device, with the fio that Fio put into the machine. None may
// fail, and each must have done something.
func (m *Machine) RunFio(device string, jobs []FioJob) []FioResult {
	m.tb.Helper()
	var file strings.Builder
	fmt.Fprintf(&file, "[global]\nfilename=%s\nioengine=libaio\ndirect=1\nthread\ngroup_reporting\n", device)
	for _, j := range jobs {
		file.WriteString(j.section())
	}
	out := m.Shell("cat > /tmp/jobs <<'END'\n" + file.String() + "END\nfio --output-format=json --output=/tmp/report /tmp/jobs >&2 && cat /tmp/report")
	var report fioReport
	if _, body, found := strings.Cut(out, "{"); !found || json.Unmarshal([]byte("{"+body), &report) != nil {
		m.tb.Fatalf("fio has printed no report: %s", out)
	}
	if len(report.Jobs) != len(jobs) {
		m.tb.Fatalf("fio reports on %d jobs of %d", len(report.Jobs), len(jobs))
	}
	results := make([]FioResult, 0, len(jobs))
	for i, r := range report.Jobs {
		if r.Error != 0 || r.Read.Requests+r.Write.Requests == 0 || jobs[i].Time == 0 && r.Read.Requests == 0 {
			m.tb.Errorf("%s: error %d, %d reads and %d writes", r.Name, r.Error, r.Read.Requests, r.Write.Requests)
		}
		share := r.Read
		if share.Requests < r.Write.Requests {
			share = r.Write
		}
		results = append(results, FioResult{
			Name: r.Name, Reads: r.Read.Requests, Writes: r.Write.Requests, IOPS: share.IOPS, BytesPerSecond: share.Bandwidth,
			Median: time.Duration(share.Latency.Percentile["50.000000"]),
		})
	}
	return results
}
