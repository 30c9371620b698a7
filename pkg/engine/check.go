// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/resource"
	"github.com/opi-bridge/opi-bridge/pkg/secret"
	"github.com/opi-bridge/opi-bridge/pkg/store"
)

// Finding is one thing that is wrong with stored records.
type Finding struct {
	// Name is the record's.
	Name resource.Name
	// Text says what is wrong. It holds no secrets.
	Text string
}

// Check looks at records without a data plane and returns what is wrong with them, in the order in which
// they stand: records that cannot be read, whose secrets do not open, which refer to what is not there,
// or have what another has. A nil sealer leaves the secrets closed.
func Check(documents []store.Document, kinds []*resource.Kind, sealer *secret.Sealer) ([]Finding, error) {
	registry, err := resource.NewRegistry(kinds)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg: Config{Sealer: sealer, Log: slog.New(slog.DiscardHandler)}, registry: registry,
		index: newIndex(registry), world: newWorld(),
	}
	var findings []Finding
	found := func(name resource.Name, format string, args ...any) {
		findings = append(findings, Finding{name, fmt.Sprintf(format, args...)})
	}
	var records []*resource.Record
	for _, d := range documents {
		if sealer == nil {
			d.Sealed = nil
		}
		rec, err := e.decodeRecord(d)
		if err != nil {
			found(resource.Name(d.Name), "%v", err)
			continue
		}
		e.index.put(&entry{rec: rec})
		records = append(records, rec)
	}
	holders, owners := map[string]resource.Name{}, map[driver.Key]resource.Name{}
	for _, rec := range records {
		for _, text := range e.dangling(rec) {
			found(rec.Name, "%s", text)
		}
		en, err := e.entryFor(rec)
		if err != nil {
			found(rec.Name, "%v", err)
			continue
		}
		for _, h := range en.holds {
			if other, taken := holders[h.Token]; taken && other != rec.Name {
				found(rec.Name, "%s is that of %s too", h.What, other)
			}
			holders[h.Token] = rec.Name
		}
		for _, o := range en.objects {
			if other, taken := owners[o.Key()]; taken && other != rec.Name {
				found(rec.Name, "%s in the data plane is that of %s too", o.Key(), other)
			}
			owners[o.Key()] = rec.Name
		}
	}
	return findings, nil
}

// dangling says what a record needs and is not there.
func (e *Engine) dangling(rec *resource.Record) (texts []string) {
	missing := func(what string, name resource.Name) {
		kind := e.registry.ByName(name)
		if kind != nil && kind.Derived() {
			name = name.Parent()
		}
		if e.index.entries[name] == nil {
			texts = append(texts, fmt.Sprintf("%s %s does not exist", what, name))
		}
	}
	if parent := rec.Name.Parent(); parent != "" {
		missing("the parent", parent)
	}
	for _, ref := range rec.Kind.Refs(rec.Message) {
		if ref.Plain || strings.Contains(ref.To, "/") {
			missing(ref.Field+":", resource.Name(ref.To))
		}
	}
	return texts
}
