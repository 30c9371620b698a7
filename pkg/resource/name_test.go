// SPDX-License-Identifier: Apache-2.0

package resource_test

import (
	"errors"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

func TestNameParts(t *testing.T) {
	n := resource.Name("nvmeSubsystems/web-1/nvmeNamespaces/disk-1")
	if n.ID() != "disk-1" || n.Parent() != "nvmeSubsystems/web-1" || n.Collection() != "nvmeSubsystems/web-1/nvmeNamespaces" {
		t.Errorf("parts of %s: %q %q %q", n, n.ID(), n.Parent(), n.Collection())
	}
	if p := n.Parent().Parent(); p != "" {
		t.Errorf("a name at the top has parent %q", p)
	}
	for ancestor, want := range map[resource.Name]bool{
		"nvmeSubsystems/web-1": true, "nvmeSubsystems/web": false, n: false, "nvmeSubsystems": true,
	} {
		if n.Under(ancestor) != want {
			t.Errorf("%s under %s: got %v", n, ancestor, !want)
		}
	}
}

func TestCheckNewID(t *testing.T) {
	for id, ok := range map[string]bool{
		"vol-1": true, "abcd": true, strings.Repeat("a", 63): true,
		"": false, "abc": false, "1abc": false, "Abcd": false, "abc-": false, "ab_cd": false, "ab/cd": false,
		strings.Repeat("a", 64): false, "volé": false,
	} {
		err := resource.CheckNewID("volume_id", id)
		if (err == nil) != ok {
			t.Errorf("id %q: %v", id, err)
		}
		if err != nil && (!errors.Is(err, errdefs.InvalidArgument) || errdefs.Fields(err)[0].Field != "volume_id") {
			t.Errorf("id %q: error without class or field: %v", id, err)
		}
	}
}

func TestCheckShortID(t *testing.T) {
	for id, ok := range map[string]bool{
		"a": true, "a1": true, "vol-1": true, strings.Repeat("a", 63): true, "1b4e28ba-2fa1-11d2-883f-b9a761bde3fb": true,
		"": false, "1": false, "-": false, "a-": false, "A": false, "a/b": false, strings.Repeat("a", 64): false,
		"1b4e28ba-2fa1-11d2-883f-b9a761bde3f": false,
	} {
		if err := resource.CheckShortID("volume_id", id); (err == nil) != ok {
			t.Errorf("id %q: %v", id, err)
		}
	}
}

func namespaceKind(t testing.TB) *resource.Kind {
	t.Helper()
	k, err := resource.Declaration[*pb.NvmeNamespace]{Mutable: []string{"spec.volume_name_ref"}}.Kind()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKindNames(t *testing.T) {
	k := namespaceKind(t)
	if k.Pattern() != "nvmeSubsystems/{subsystem}/nvmeNamespaces/{namespace}" || k.ParentPattern() != "nvmeSubsystems/{subsystem}" {
		t.Fatalf("patterns %q, %q", k.Pattern(), k.ParentPattern())
	}
	if n := k.Join("nvmeSubsystems/web-1", "disk-1"); n != "nvmeSubsystems/web-1/nvmeNamespaces/disk-1" {
		t.Errorf("joined %s", n)
	}
	for name, ok := range map[string]bool{
		"nvmeSubsystems/web-1/nvmeNamespaces/disk-1":   true,
		"nvmeSubsystems/web-1/nvmeNamespaces/":         false,
		"nvmeSubsystems/web-1/nvmeNamespaces":          false,
		"nvmeSubsystems//nvmeNamespaces/disk-1":        false,
		"nvmeSubsystems/web-1/nvmeControllers/disk-1":  false,
		"nvmeSubsystems/web-1/nvmeNamespaces/disk-1/x": false,
		"/nvmeSubsystems/web-1/nvmeNamespaces/disk-1":  false,
		"nvmeSubsystems/../nvmeNamespaces/disk-1":      false,
		"": false,
	} {
		if _, err := k.Parse("name", name); (err == nil) != ok {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	k := namespaceKind(f)
	f.Add("nvmeSubsystems/web-1/nvmeNamespaces/disk-1")
	f.Add("nvmeSubsystems/\x00/nvmeNamespaces/🙂")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := k.Parse("name", s)
		if err != nil {
			return
		}
		if k.Join(n.Parent(), n.ID()) != n || !k.Owns(n) {
			t.Errorf("%q does not come back from its parts", s)
		}
	})
}
