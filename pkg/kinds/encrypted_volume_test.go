// SPDX-License-Identifier: Apache-2.0

package kinds_test

import (
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// A new key is refused with what would be lost, and neither key is in the refusal.
func TestNewKeyIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	prior := &pb.EncryptedVolume{
		VolumeNameRef: "mallocVolumes/memo-1", Key: xtsKey(32), Cipher: pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_128,
	}
	next := proto.CloneOf(prior)
	next.Key = xtsKey(64)[32:]
	const want = "cannot be changed: what was written with the old key could not be read any more: create another volume with the new key, and copy"
	err := all(t)["encryptedVolume"].CheckChange(prior, next)
	if fields := errdefs.Fields(err); len(fields) != 1 || fields[0].Field != "key" || fields[0].Description != want {
		t.Errorf("got %v", err)
	}
}
