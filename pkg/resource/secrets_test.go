// SPDX-License-Identifier: Apache-2.0

package resource_test

import (
	"bytes"
	"strings"
	"testing"

	pb "github.com/opiproject/opi-api/storage/v1alpha1/gen/go"
	"google.golang.org/protobuf/proto"

	"github.com/opi-bridge/opi-bridge/pkg/resource"
)

func subsystemKind(t *testing.T) *resource.Kind {
	t.Helper()
	k, err := resource.Declaration[*pb.NvmeSubsystem]{Secrets: []string{"spec.psk"}}.Kind()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSecretsGoApart(t *testing.T) {
	k := subsystemKind(t)
	m := &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: "n", Psk: []byte("hush")}}
	r := &resource.Record{Name: "nvmeSubsystems/web-1", Kind: k, State: resource.StateUpdating, Message: m, Prior: m}
	body, secrets, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(body, []byte("hush")) || bytes.Contains(body, []byte("aHVzaA")) || bytes.Contains(body, []byte("psk")) {
		t.Errorf("the body tells the secret: %s", body)
	}
	if v := secrets["message.spec.psk"]; v.RevealString() != "hush" || len(secrets) != 2 {
		t.Errorf("secrets %v", secrets)
	}
	if string(m.GetSpec().GetPsk()) != "hush" {
		t.Error("Encode took the secret out of the record itself")
	}
	got, err := k.Decode(r.Name, 1, body, secrets)
	if err != nil || !proto.Equal(got.Message, m) || !proto.Equal(got.Prior, m) {
		t.Errorf("got %v, %v", got, err)
	}
	if live := k.Live(r, nil); strings.Contains(live.(*pb.NvmeSubsystem).String(), "hush") || !k.HasSecrets(m) || k.HasSecrets(live) {
		t.Errorf("an answer tells the secret: %v", live)
	}
}

func TestSecretsLeftOutStay(t *testing.T) {
	k := subsystemKind(t)
	prior := &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: "n", Psk: []byte("hush")}}
	for given, want := range map[string]string{"": "hush", "new": "new"} {
		m := &pb.NvmeSubsystem{Spec: &pb.NvmeSubsystemSpec{Nqn: "n", Psk: []byte(given)}}
		if err := k.Complete(m, resource.Completion{Prior: prior}); err != nil || string(m.GetSpec().GetPsk()) != want {
			t.Errorf("given %q: got %q, %v", given, m.GetSpec().GetPsk(), err)
		}
	}
}

func TestSecretsMustBeBytes(t *testing.T) {
	for _, path := range []string{"spec.nqn", "spec.none", "name.x", "spec"} {
		if _, err := (resource.Declaration[*pb.NvmeSubsystem]{Secrets: []string{path}}).Kind(); err == nil {
			t.Errorf("%s was taken as a secret", path)
		}
	}
}
