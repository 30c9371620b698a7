// SPDX-License-Identifier: Apache-2.0

package openapi_test

import (
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/opi-bridge/opi-bridge/pkg/api"
	"github.com/opi-bridge/opi-bridge/pkg/api/openapi"
)

func document(t *testing.T) *openapi3.T {
	t.Helper()
	raw, err := openapi.Document("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestTheDocumentIsValid(t *testing.T) {
	t.Parallel()
	doc := document(t)
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	if doc.Info.Version != "1.2.3" {
		t.Errorf("version is %q", doc.Info.Version)
	}
}

// Every route of every served method is there, and every method with its own operation.
func TestEveryRouteIsDescribed(t *testing.T) {
	t.Parallel()
	doc := document(t)
	operations := map[string]bool{}
	count := 0
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			count++
			operations[operation.OperationID] = true
			if operation.Responses.Default() == nil || operation.Responses.Status(200) == nil {
				t.Errorf("%s %s does not say what it answers", method, path)
			}
		}
	}
	distinct := map[string]bool{}
	for _, route := range api.Routes() {
		distinct[route.HTTPMethod+" "+route.Template] = true
		if id := string(route.Method.Parent().Name()) + "_" + string(route.Method.Name()); !operations[id] && !operations[id+"2"] {
			t.Errorf("%s is not described", id)
		}
	}
	if count != len(distinct) {
		t.Errorf("%d operations are described, the services have %d routes", count, len(distinct))
	}
}

func TestFormsOfOperations(t *testing.T) {
	t.Parallel()
	doc := document(t)
	for _, row := range []struct{ method, path, operation, parameters string }{
		{"GET", "/v1/nullVolumes/{nullVolume}:stats", "NullVolumeService_StatsNullVolume", "path nullVolume"},
		{"POST", "/v1/nullVolumes", "NullVolumeService_CreateNullVolume", "query nullVolumeId"},
		{
			"PATCH", "/v1/nvmeSubsystems/{nvmeSubsystem}/nvmeNamespaces/{nvmeNamespace}", "FrontendNvmeService_UpdateNvmeNamespace",
			"path nvmeSubsystem, path nvmeNamespace, query updateMask, query allowMissing",
		},
		{"GET", "/v1/encryptedVolumes", "MiddleendEncryptionService_ListEncryptedVolumes2", "query parent, query pageSize, query pageToken"},
		{"GET", "/v1/qosVolumes", "MiddleendQosVolumeService_ListQosVolumes2", "query parent, query pageSize, query pageToken"},
		{"GET", "/v1/volumes", "MiddleendQosVolumeService_ListQosVolumes", "query pageSize, query pageToken"},
		{"GET", "/v1/virtioScsiTargets", "FrontendVirtioScsiService_ListVirtioScsiTargets", "query pageSize, query pageToken"},
		{"GET", "/v1/inventory/{inventory}/inventory/{inventory2}", "InventoryService_GetInventory", "path inventory, path inventory2"},
		{"GET", "/opi-bridge/v1/stats/{name}", "BridgeService_GetStats", "path name"},
	} {
		item := doc.Paths.Value(row.path)
		if item == nil || item.GetOperation(row.method) == nil {
			t.Errorf("%s %s is not described", row.method, row.path)
			continue
		}
		operation := item.GetOperation(row.method)
		var parameters []string
		for _, p := range operation.Parameters {
			parameters = append(parameters, p.Value.In+" "+p.Value.Name)
		}
		if got := strings.Join(parameters, ", "); operation.OperationID != row.operation || got != row.parameters {
			t.Errorf("%s %s is %s with %s, want %s with %s", row.method, row.path, operation.OperationID, got, row.operation, row.parameters)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for _, p := range operation.Parameters {
				if p.Value.Description == "" {
					t.Errorf("%s %s does not say what %s is", method, path, p.Value.Name)
				}
			}
		}
	}
	volume := doc.Components.Schemas["opi_api.storage.v1.NullVolume"].Value
	if count := volume.Properties["blocksCount"].Value; !count.Type.Is("string") || count.Format != "int64" {
		t.Errorf("blocksCount is %v %s: in JSON 64 bits are a string", count.Type, count.Format)
	}
	if key := doc.Components.Schemas["opi_api.storage.v1.EncryptedVolume"].Value.Properties["key"].Value; key.Format != "byte" {
		t.Errorf("key is %v", key)
	}
}
