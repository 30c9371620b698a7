// SPDX-License-Identifier: Apache-2.0

package bdev_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/opi-bridge/opi-bridge/pkg/bdev"
	"github.com/opi-bridge/opi-bridge/pkg/bdev/bdevtest"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

// The keys of the known answers.
const (
	data128  = "00112233445566778899aabbccddeeff"
	tweak128 = "ffeeddccbbaa99887766554433221100"
	data256  = data128 + "0123456789abcdef0123456789abcdef"
	tweak256 = tweak128 + "fedcba9876543210fedcba9876543210"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func xtsKey(t testing.TB, data, tweak string) *bdev.XTSKey {
	t.Helper()
	key, err := bdev.NewXTSKey(unhex(t, data), unhex(t, tweak))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// crypto makes a crypto bdev c on a malloc bdev m, and opens it. The base is returned too, as it
// reads without the key.
func crypto(t testing.TB, o bdev.MallocOptions, key *bdev.XTSKey) (r *bdev.Registry, c, base *bdev.Desc) {
	t.Helper()
	r = bdev.NewRegistry()
	t.Cleanup(func() { _ = r.Close(t.Context()) })
	o.Name = "m"
	if _, err := bdev.CreateMalloc(r, o); err != nil {
		t.Fatal(err)
	}
	if err := bdev.NewCryptos(r).Create(bdev.CryptoOptions{Name: "c", Base: "m", KeyName: "k", Key: key}); err != nil {
		t.Fatal(err)
	}
	base, err := r.Open("m", false, bdev.Events{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = base.Close() })
	return r, openDesc(t, r, "c"), base
}

// pattern is the plaintext of the known answers.
func pattern(size int, block uint64) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(uint64(i*7+i/251) + block)
	}
	return b
}

func do(t testing.TB, d bdev.Device, op bdev.Op, block, count uint64, data []byte) {
	t.Helper()
	if err := bdevtest.Do(t, d, op, block, count, data); err != nil {
		t.Fatalf("operation %d at block %d, %d blocks: %v", op, block, count, err)
	}
}

// TestCryptoAtRest compares what is on the base with answers that were computed apart from this
// program: XTS by hand over OpenSSL's AES in ECB mode, after that computation had given the vectors
// 2, 4 and 15 of IEEE 1619, and with the tweak as SPDK's software module has it, eight bytes of zero
// and then the block number.
func TestCryptoAtRest(t *testing.T) {
	for _, tc := range []struct {
		data, tweak string
		size        int // of a block, 8 bytes of metadata included
		block       uint64
		first       string // 16 bytes
		sum         string
	}{
		{data128, tweak128, 512, 0, "4ba201db650b4f432ee54f852cfa07ec", "6fd68e72bfd82fe2e379ef2776203dfe323efc56b7f64a2f3a87a649cf950311"},
		{data128, tweak128, 512, 1, "1a167870574db4e41c92c82feea2ec4e", "126db735c7c23d731b03a666889d8aaa33255c92fdec28673eea5905c051b665"},
		{data128, tweak128, 512, 1027, "1788bfaa4c8ae504431716c7dca454f3", "75d0b477db1e3e1da396a04b44c47ba72d15bd24e4a453194bfb2545f32ebe82"},
		{data128, tweak128, 4096, 1, "1a167870574db4e41c92c82feea2ec4e", "2d05585efaad7c0196ef123bd991ee7bab2d80210488f2ddf0f1d3f2226e27dc"},
		{data128, tweak128, 520, 1, "1a167870574db4e41c92c82feea2ec4e", "725097c8b3c9abc96b98eff4153bc0b61c93e2b5a63243c0c58fda8e79176800"},
		{data256, tweak256, 512, 0, "1d06d7ce2f2590b7910199d17d5b8bc5", "cae140997e0e7e17edc124525c75c2d7fdbe7e5796127b18f8461863176b4202"},
		{data256, tweak256, 4096, 1027, "e11edcfa3c01297e7db79406c88f94d7", "6d31d83ab9830dcdd77f30b9bc4871c6998fa668e30a96944429159f0ded5be9"},
		{data256, tweak256, 520, 1027, "e11edcfa3c01297e7db79406c88f94d7", "6a553c93927f05ba874e1d2997b33132abb2eaa56483911751662cc4199c9e11"},
		// Vector 4 of IEEE 1619; at block 0 all ways to write the tweak are one.
		{
			"27182818284590452353602874713526", "31415926535897932384626433832795", 512, 0,
			"27a7479befa1d476489f308cd4cfa6e2", "ebee4d64dd2395bb2d6a2d37a0a48ecb2bf4913cfc99d27c2214f2f4144715ea",
		},
	} {
		t.Run(fmt.Sprintf("%d/%d/%d", len(tc.data)*4, tc.size, tc.block), func(t *testing.T) {
			o := bdev.MallocOptions{BlockSizeBytes: uint32(tc.size), Blocks: 2048}
			if tc.size == 520 {
				o.BlockSizeBytes, o.Metadata = 512, bdev.Metadata{SizeBytes: 8, Interleaved: true}
			}
			_, c, base := crypto(t, o, xtsKey(t, tc.data, tc.tweak))
			plain := pattern(tc.size, tc.block)
			if tc.data == "27182818284590452353602874713526" {
				for i := range plain {
					plain[i] = byte(i)
				}
			}
			do(t, c, bdev.OpWrite, tc.block, 1, plain)
			got := make([]byte, tc.size)
			do(t, base, bdev.OpRead, tc.block, 1, got)
			if sum := sha256.Sum256(got); hex.EncodeToString(got[:16]) != tc.first || hex.EncodeToString(sum[:]) != tc.sum {
				t.Errorf("at rest: %x... with sum %x, want %s... and %s", got[:16], sum, tc.first, tc.sum)
			}
			do(t, c, bdev.OpRead, tc.block, 1, got)
			if !bytes.Equal(got, plain) {
				t.Error("what was read is not what was written")
			}
		})
	}
}

// TestCryptoLargeAtRest: a large request is encrypted block by block as small ones are, zeroes too.
func TestCryptoLargeAtRest(t *testing.T) {
	const blocks = 4096
	_, c, base := crypto(t, bdev.MallocOptions{BlockSizeBytes: 512, Blocks: blocks}, xtsKey(t, data128, tweak128))
	all := pattern(blocks*512, 0)
	do(t, c, bdev.OpWrite, 0, blocks, all)
	large, one := make([]byte, len(all)), make([]byte, 512)
	do(t, base, bdev.OpRead, 0, blocks, large)
	for block := range uint64(blocks) {
		do(t, c, bdev.OpWrite, block, 1, all[block*512:(block+1)*512])
		do(t, base, bdev.OpRead, block, 1, one)
		if !bytes.Equal(one, large[block*512:(block+1)*512]) {
			t.Fatalf("block %d at rest differs between a large write and a small one", block)
		}
	}
	do(t, c, bdev.OpWriteZeroes, 0, blocks, nil)
	do(t, base, bdev.OpRead, 5, 1, one)
	const zeroes = "cd348eac10431e6abcd863acd7c66289ec8c8d4a393b7c4e5e78b661b2739fd9" // of block 5, computed likewise
	if sum := sha256.Sum256(one); hex.EncodeToString(sum[:]) != zeroes {
		t.Errorf("zeroes at rest have the sum %x, want %s", sum, zeroes)
	}
}

func TestCryptoConforms(t *testing.T) {
	for _, o := range []bdev.MallocOptions{
		{BlockSizeBytes: 512, Blocks: 4096},
		{BlockSizeBytes: 4096, Blocks: 512},
		{BlockSizeBytes: 512, Blocks: 4096, Metadata: bdev.Metadata{SizeBytes: 8, Interleaved: true}},
	} {
		t.Run(fmt.Sprint(o.BlockSizeBytes+o.Metadata.SizeBytes), func(t *testing.T) {
			bdevtest.Run(t, bdevtest.Config{Scrambles: true, Open: func(t *testing.T) bdev.Device {
				_, c, _ := crypto(t, o, xtsKey(t, data256, tweak256))
				return c
			}})
		})
	}
}

// TestCryptoConformsOnAIO runs the suite on a base that ends requests on goroutines of its own, and looks
// whether what was written is there for the next crypto bdev with the key.
func TestCryptoConformsOnAIO(t *testing.T) {
	key := xtsKey(t, data128, tweak128)
	registries, paths := map[bdev.Device]*bdev.Registry{}, map[bdev.Device]string{}
	open := func(t *testing.T, path string) bdev.Device {
		r := newRegistry(t)
		cryptos := bdev.NewCryptos(r)
		if err := cryptos.Create(bdev.CryptoOptions{Name: "c", Base: "a", Key: key}); err != nil {
			t.Fatal(err)
		}
		if _, err := bdev.CreateAIO(r, bdev.AIOOptions{Name: "a", Filename: path, BlockSizeBytes: 512, Fallocate: true}); err != nil {
			t.Fatal(err)
		}
		d := openDesc(t, r, "c")
		registries[d], paths[d] = r, path
		return d
	}
	bdevtest.Run(t, bdevtest.Config{
		Scrambles: true,
		Open:      func(t *testing.T) bdev.Device { return open(t, sizedFile(t, 4096*512)) },
		Resize: func(t *testing.T, d bdev.Device, blocks uint64) {
			if err := os.Truncate(paths[d], int64(d.Geometry().Blocks+blocks)*512); err != nil {
				t.Fatal(err)
			}
			if err := bdev.RescanAIO(t.Context(), registries[d], "a"); err != nil {
				t.Fatal(err)
			}
		},
		Reopen: func(t *testing.T, d bdev.Device) bdev.Device {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if err := registries[d].Unregister(t.Context(), "a", bdev.ModuleAIO); err != nil {
				t.Fatal(err)
			}
			return open(t, paths[d])
		},
	})
}

// TestCryptoLargeBlocks has blocks larger than what is encrypted at once.
func TestCryptoLargeBlocks(t *testing.T) {
	const size = 160 << 10
	_, c, _ := crypto(t, bdev.MallocOptions{BlockSizeBytes: size, Blocks: 4}, xtsKey(t, data128, tweak128))
	want, got := pattern(3*size, 0), make([]byte, 3*size)
	do(t, c, bdev.OpWrite, 0, 0, nil)
	do(t, c, bdev.OpWrite, 1, 3, want)
	do(t, c, bdev.OpRead, 1, 3, got)
	do(t, c, bdev.OpCompare, 1, 3, want)
	if !bytes.Equal(got, want) {
		t.Error("what was read is not what was written")
	}
}

func TestXTSKeyRefuses(t *testing.T) {
	for _, keys := range [][2]string{
		{data128, data128},
		{data128, tweak256},
		{data128, ""},
		{data128[:30], tweak128[:30]},
		{data128 + data128[:16], tweak128 + tweak128[:16]},
		{"", ""},
	} {
		_, err := bdev.NewXTSKey(unhex(t, keys[0]), unhex(t, keys[1]))
		wantErrno(t, err, errdefs.InvalidArgument, syscall.EINVAL)
	}
}

// wantBdevs wants these bdevs, in order of registration.
func wantBdevs(t *testing.T, r *bdev.Registry, names ...string) {
	t.Helper()
	var got []string
	for _, info := range r.List() {
		got = append(got, info.Name)
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		t.Fatalf("bdevs %v, want %v", got, names)
	}
}

// TestCryptoComesAndGoesWithItsBase walks through what SPDK does with names, bases and claims.
func TestCryptoComesAndGoesWithItsBase(t *testing.T) {
	r := newRegistry(t)
	cryptos, key := bdev.NewCryptos(r), xtsKey(t, data128, tweak128)
	create := func(name, base string) error {
		return cryptos.Create(bdev.CryptoOptions{Name: name, Base: base, KeyName: "k", Key: key})
	}
	if err := create("c", "m"); err != nil {
		t.Fatalf("on a base that does not exist: %v", err)
	}
	wantErrno(t, create("c", "m"), errdefs.AlreadyExists, syscall.EEXIST)
	wantBdevs(t, r)
	id := uuid.MustParse("11111111-1111-4111-8111-111111111111")
	base := bdev.MallocOptions{Name: "m", UUID: id, BlockSizeBytes: 512, Blocks: 64}
	if _, err := bdev.CreateMalloc(r, base); err != nil {
		t.Fatal(err)
	}
	wantBdevs(t, r, "m", "c")
	info, err := r.Lookup("c")
	if err != nil {
		t.Fatal(err)
	}
	if want := "1041bf5b-f0db-563a-ac61-99e1bc993cfe"; info.UUID.String() != want {
		t.Errorf("uuid %v, SPDK has %s", info.UUID, want)
	}
	if m, _ := r.Lookup("m"); !m.Claimed() || !info.WriteCache {
		t.Errorf("base %+v, crypto bdev %+v", m, info)
	}
	wantErrno(t, create("c2", "m"), errdefs.FailedPrecondition, syscall.EPERM)
	malloc(t, r, "other")
	wantErrno(t, create("other", "other"), errdefs.InvalidArgument, syscall.EINVAL)
	if m, _ := r.Lookup("other"); m.Claimed() {
		t.Error("a crypto bdev that could not be made keeps its base")
	}

	// The base goes, and takes the crypto bdev along once its users have let go.
	removed := make(chan struct{})
	user, err := r.Open("c", true, bdev.Events{Removed: func() { close(removed) }})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Unregister(t.Context(), "m", bdev.ModuleMalloc) }()
	<-removed
	wantBdevs(t, r, "other")
	_ = user.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	wantNotified(t, r, bdev.NotifyUnregister, "c", "m")

	// The name is remembered: it comes back, until it is forgotten.
	if _, err := bdev.CreateMalloc(r, base); err != nil {
		t.Fatal(err)
	}
	wantBdevs(t, r, "other", "m", "c")
	if err := r.Unregister(t.Context(), "c", bdev.ModuleCrypto); err != nil {
		t.Fatal(err)
	}
	if !cryptos.Forget("c") || cryptos.Forget("c") {
		t.Error("forget does not say whether there was something")
	}
	if err := r.Unregister(t.Context(), "m", bdev.ModuleMalloc); err != nil {
		t.Fatal(err)
	}
	if _, err := bdev.CreateMalloc(r, base); err != nil {
		t.Fatal(err)
	}
	wantBdevs(t, r, "other", "m")
	// A base may be given by its uuid.
	if err := create("by-uuid", id.String()); err != nil {
		t.Fatal(err)
	}
	wantBdevs(t, r, "other", "m", "by-uuid")
}

// wantNotified wants the latest notifications of a kind to be about these bdevs, in order.
func wantNotified(t *testing.T, r *bdev.Registry, kind string, names ...string) {
	t.Helper()
	var got []string
	for _, n := range r.Notifications(0, 1<<20) {
		if n.Type == kind {
			got = append(got, n.Context)
		}
	}
	if got = got[max(len(got)-len(names), 0):]; fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("%s: %v, want %v", kind, got, names)
	}
}

// TestCryptoGrowsWithItsBase: users of the crypto bdev hear of it.
func TestCryptoGrowsWithItsBase(t *testing.T) {
	r := newRegistry(t)
	if _, err := bdev.CreateNull(r, bdev.NullOptions{Name: "n", BlockSizeBytes: 512, Blocks: 2048}); err != nil {
		t.Fatal(err)
	}
	cryptos := bdev.NewCryptos(r)
	if err := cryptos.Create(bdev.CryptoOptions{Name: "c", Base: "n", Key: xtsKey(t, data128, tweak128)}); err != nil {
		t.Fatal(err)
	}
	resized := false
	user, err := r.Open("c", true, bdev.Events{Resized: func() { resized = true }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = user.Close() })
	if err := bdev.ResizeNull(r, "n", 2); err != nil {
		t.Fatal(err)
	}
	if got := user.Geometry().Blocks; got != 4096 || !resized {
		t.Errorf("%d blocks, heard of it: %t", got, resized)
	}
	wantNotified(t, r, bdev.NotifyResize, "n", "c")
	if info, _ := r.Lookup("c"); info.WriteCache || !info.IOTypes.Has(bdev.IOWriteZeroes) || info.IOTypes.Has(bdev.IOUnmap) || info.IOTypes.Has(bdev.IOFlush) {
		t.Errorf("abilities %b are not those of a crypto bdev on a null bdev", info.IOTypes)
	}
}

// TestCryptoChurn takes the base away under users, again and again, and gives it back.
func TestCryptoChurn(t *testing.T) {
	r := newRegistry(t)
	if err := bdev.NewCryptos(r).Create(bdev.CryptoOptions{Name: "c", Base: "m", Key: xtsKey(t, data128, tweak128)}); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := bdev.CreateMalloc(r, bdev.MallocOptions{Name: "m", BlockSizeBytes: 512, Blocks: 1024}); err != nil {
			t.Fatal(err)
		}
		var l load
		var users []*bdev.Desc
		for i := range 3 {
			removed := make(chan struct{})
			d, err := r.Open("c", true, bdev.Events{Removed: func() { close(removed) }})
			if err != nil {
				t.Fatal(err)
			}
			users = append(users, d)
			l.run(d, []bdev.Op{bdev.OpRead, bdev.OpWrite, bdev.OpCompare}[i], 2, []uint64{1, 512, 64}[i])
			go func() {
				<-removed
				l.stop.Store(true)
				l.wg.Wait()
				_ = users[i].Close()
			}()
		}
		if err := r.Unregister(t.Context(), "m", bdev.ModuleMalloc); err != nil {
			t.Fatal(err)
		}
		wantBdevs(t, r)
	}
}

// TestCryptoErrors: what fails below fails above.
func TestCryptoErrors(t *testing.T) {
	r := newRegistry(t)
	broken := errors.New("broken")
	if _, err := r.Register(bdev.Spec{Name: "bad", Device: failing{broken}}); err != nil {
		t.Fatal(err)
	}
	if err := bdev.NewCryptos(r).Create(bdev.CryptoOptions{Name: "c", Base: "bad", Key: xtsKey(t, data128, tweak128)}); err != nil {
		t.Fatal(err)
	}
	c := openDesc(t, r, "c")
	for _, count := range []uint64{1, 1024} {
		data := make([]byte, count*512)
		for _, op := range []bdev.Op{bdev.OpRead, bdev.OpWrite, bdev.OpCompare} {
			if err := bdevtest.Do(t, c, op, 0, count, data); !errors.Is(err, broken) {
				t.Errorf("operation %d on %d blocks: %v", op, count, err)
			}
		}
		for _, op := range []bdev.Op{bdev.OpWriteZeroes, bdev.OpUnmap, bdev.OpFlush} {
			if err := bdevtest.Do(t, c, op, 0, count, nil); !errors.Is(err, broken) {
				t.Errorf("operation %d on %d blocks: %v", op, count, err)
			}
		}
	}
}

// failing is a device of 1,024 blocks that does nothing.
type failing struct{ err error }

func (f failing) Submit(r *bdev.Request) { r.Complete(f.err) }
func (failing) Geometry() bdev.Geometry  { return bdev.Geometry{BlockSizeBytes: 512, Blocks: 1024} }
func (failing) Close() error             { return nil }

// BenchmarkCrypto measures reads and writes of one submitter through a crypto bdev on memory.
func BenchmarkCrypto(b *testing.B) {
	for _, size := range []int{4 << 10, 128 << 10} {
		for op, name := range map[bdev.Op]string{bdev.OpRead: "read", bdev.OpWrite: "write"} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				_, c, _ := crypto(b, bdev.MallocOptions{BlockSizeBytes: 4096, Blocks: 1024}, xtsKey(b, data128, tweak128))
				done := make(chan error, 1)
				r := &bdev.Request{
					Op: op, Count: uint64(size / 4096), Data: make([]byte, size),
					Done: func(_ *bdev.Request, err error) { done <- err },
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					c.Submit(r)
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
