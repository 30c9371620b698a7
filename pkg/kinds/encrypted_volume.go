// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"bytes"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
)

// encryptedVolume is another volume, encrypted. The key is raw bytes, both halves of an XTS key one
// after the other. It is fixed for ever: data written with one key cannot be read with another, so to
// change it, make a second encrypted volume and copy.
func encryptedVolume() resource.Declaration[*pb.EncryptedVolume] {
	return resource.Declaration[*pb.EncryptedVolume]{
		Secrets: []string{"key"},
		Fixed: map[string]string{
			"key": "cannot be changed: what was written with the old key could not be read any more: " +
				"create another volume with the new key, and copy",
		},
		Check: checkEncryption,
		Bdev:  func(name resource.Name, _ *pb.EncryptedVolume) string { return name.ID() },
		Refs: func(m *pb.EncryptedVolume) []resource.Ref {
			return []resource.Ref{{Field: "volume_name_ref", To: m.GetVolumeNameRef()}}
		},
		Holds: func(r *resource.Record, m *pb.EncryptedVolume, v resource.View) []resource.Hold {
			holds := []resource.Hold{{Token: "bdev/" + r.Name.ID(), Field: "name", What: "bdev name " + r.Name.ID()}}
			if bdev, err := v.Bdev(m.GetVolumeNameRef()); err == nil {
				holds = append(holds, claim("volume_name_ref", m.GetVolumeNameRef(), bdev))
			}
			return holds
		},
		Objects: func(r *resource.Record, m *pb.EncryptedVolume, v resource.View) ([]driver.Object, error) {
			base, err := v.Bdev(m.GetVolumeNameRef())
			if err != nil {
				return nil, err
			}
			half := len(m.GetKey()) / 2
			key := &driver.CryptoKey{
				Name: "opi-bridge:" + r.Name.ID(), Cipher: driver.CipherAESXTS,
				Data: secret.New(m.GetKey()[:half]), Tweak: secret.New(m.GetKey()[half:]),
			}
			return []driver.Object{key, &driver.Bdev{
				Name: r.Name.ID(), Kind: driver.BdevCrypto, Base: base, CryptoKey: key.Name,
			}}, nil
		},
		Stats: func(name resource.Name, _ *pb.EncryptedVolume, _ resource.View) []driver.Key { return bdevStats(name) },
	}
}

// checkEncryption says nothing of the key but its length.
func checkEncryption(m *pb.EncryptedVolume, v *resource.Violations) {
	v.Check(m.GetVolumeNameRef() != "", "volume_name_ref", "must be set to the name of a volume, or the bare name of a bdev")
	var keyBytes int
	switch m.GetCipher() {
	case pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_128:
		keyBytes = 32
	case pb.EncryptionType_ENCRYPTION_TYPE_AES_XTS_256:
		keyBytes = 64
	default:
		v.Check(false, "cipher", "%s is not supported: use ENCRYPTION_TYPE_AES_XTS_128 or ENCRYPTION_TYPE_AES_XTS_256", m.GetCipher())
		return
	}
	if len(m.GetKey()) != keyBytes {
		v.Check(false, "key", "has %d bytes, and %s takes %d: data key and tweak key, one after the other",
			len(m.GetKey()), m.GetCipher(), keyBytes)
		return
	}
	v.Check(!bytes.Equal(m.GetKey()[:keyBytes/2], m.GetKey()[keyBytes/2:]), "key", "must have two different halves")
}

// claim says that a bdev has one exclusive writer: a namespace, or an encrypted volume on it.
func claim(field, ref, bdev string) resource.Hold {
	return resource.Hold{Token: "claim/" + bdev, Field: field, What: "volume " + ref, Class: errdefs.FailedPrecondition}
}

// referredBdev lists the bdev that a reference leads to.
func referredBdev(ref string, v resource.View) []driver.Key {
	bdev, err := v.Bdev(ref)
	if err != nil {
		return nil
	}
	return []driver.Key{driver.BdevKey(bdev)}
}
