// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"fmt"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
)

func TestCompatMiddleend(t *testing.T) {
	t.Parallel()
	conn := compatBridge(t)
	encryption, qos := pb.NewMiddleendEncryptionServiceClient(conn), pb.NewMiddleendQosVolumeServiceClient(conn)
	encrypted := func(name, key string) *pb.EncryptedVolume {
		return &pb.EncryptedVolume{Name: name, VolumeNameRef: "Malloc1", Key: []byte(key), Cipher: pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_128}
	}
	life(t, "volumes", "opi-encrypted-volume3",
		made(encryption.CreateEncryptedVolume, func(id string) *pb.CreateEncryptedVolumeRequest {
			return &pb.CreateEncryptedVolumeRequest{EncryptedVolumeId: id, EncryptedVolume: encrypted("", "0123456789abcdef0123456789abcdee")}
		}),
		asked(encryption.UpdateEncryptedVolume, func(name string) *pb.UpdateEncryptedVolumeRequest {
			return &pb.UpdateEncryptedVolumeRequest{UpdateMask: everything(), EncryptedVolume: encrypted(name, "0123456789abcdef0123456789abcdff")}
		}),
		asked(encryption.ListEncryptedVolumes, func(string) *pb.ListEncryptedVolumesRequest {
			return &pb.ListEncryptedVolumesRequest{Parent: "todo"}
		}),
		asked(encryption.GetEncryptedVolume, func(name string) *pb.GetEncryptedVolumeRequest {
			return &pb.GetEncryptedVolumeRequest{Name: name}
		}),
		asked(encryption.StatsEncryptedVolume, func(name string) *pb.StatsEncryptedVolumeRequest {
			return &pb.StatsEncryptedVolumeRequest{Name: name}
		}),
		asked(encryption.DeleteEncryptedVolume, func(name string) *pb.DeleteEncryptedVolumeRequest {
			return &pb.DeleteEncryptedVolumeRequest{Name: name}
		}),
	)
	life(t, "volumes", "opi-qos-volume3",
		made(qos.CreateQosVolume, func(id string) *pb.CreateQosVolumeRequest {
			return &pb.CreateQosVolumeRequest{QosVolumeId: id, QosVolume: &pb.QosVolume{
				VolumeNameRef: "Malloc1", Limits: &pb.Limits{Max: &pb.QosLimit{RwBandwidthMbs: 2}},
			}}
		}),
		asked(qos.UpdateQosVolume, func(name string) *pb.UpdateQosVolumeRequest {
			return &pb.UpdateQosVolumeRequest{UpdateMask: everything(), QosVolume: &pb.QosVolume{
				Name: name, VolumeNameRef: "Malloc1", Limits: &pb.Limits{Max: &pb.QosLimit{RdBandwidthMbs: 2}},
			}}
		}),
		func(ctx context.Context, name string) error {
			v, err := qos.GetQosVolume(ctx, &pb.GetQosVolumeRequest{Name: name})
			if err == nil && (v.GetLimits().GetMax().GetRwBandwidthMbs() != 0 || v.GetLimits().GetMax().GetRdBandwidthMbs() != 2) {
				err = fmt.Errorf("limits are %v: the update named all of them", v.GetLimits())
			}
			return err
		},
		asked(qos.ListQosVolumes, func(string) *pb.ListQosVolumesRequest { return &pb.ListQosVolumesRequest{Parent: "todo"} }),
		asked(qos.StatsQosVolume, func(name string) *pb.StatsQosVolumeRequest { return &pb.StatsQosVolumeRequest{Name: name} }),
		asked(qos.DeleteQosVolume, func(name string) *pb.DeleteQosVolumeRequest { return &pb.DeleteQosVolumeRequest{Name: name} }),
	)
}
