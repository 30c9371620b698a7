// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/server"
)

func volumeServer(b *testing.B) *running {
	b.Helper()
	return start(b, func(cfg *server.Config) {
		cfg.Log = quiet()
		cfg.Register = getting(func(_ context.Context, req *pb.GetNullVolumeRequest) (*pb.NullVolume, error) {
			return &pb.NullVolume{Name: req.GetName(), BlockSize: 512, BlocksCount: 131072}, nil
		})
	})
}

// What the front door costs a gRPC request: listener, interceptors, metrics.
func BenchmarkGRPC(b *testing.B) {
	client := pb.NewNullVolumeServiceClient(volumeServer(b).dial(b))
	b.ResetTimer()
	for b.Loop() {
		if _, err := client.GetNullVolume(b.Context(), &pb.GetNullVolumeRequest{Name: "nullVolumes/vol-0"}); err != nil {
			b.Fatal(err)
		}
	}
}

// What it costs a REST request, which passes through the in-process connection too.
func BenchmarkREST(b *testing.B) {
	r := volumeServer(b)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	b.ResetTimer()
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+r.HTTPAddr()+"/v1/nullVolumes/vol-0", nil)
		if err != nil {
			b.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}
