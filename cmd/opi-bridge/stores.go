// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/url"
	"slices"

	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
	"github.com/opi-bridge/opi-bridge/pkg/store"
	"github.com/opi-bridge/opi-bridge/pkg/store/bolt"
	"github.com/opi-bridge/opi-bridge/pkg/store/redis"
	"github.com/opi-bridge/opi-bridge/pkg/telemetry"
)

// checkStore says what is wrong with a store's URL. It does not repeat it: it may hold a password.
func checkStore(raw string) error {
	switch scheme := schemeOf(raw); {
	case slices.Contains(redis.Schemes(), scheme):
		_, err := redis.ParseURL(raw)
		return err
	case scheme == bolt.Scheme:
		return nil
	default:
		return errdefs.New(errdefs.InvalidArgument, "no store has URLs of scheme %q: want redis://host:port/db or bolt:///path", scheme)
	}
}

// openStore opens the store that the settings name. A Redis need not be there yet; a file must be
// free.
func openStore(s settings, build telemetry.Build) (store.LeasedStore, error) {
	schema := store.Schema{WrittenBy: build.Version}
	if schemeOf(s.store) == bolt.Scheme {
		return bolt.New(bolt.Config{URL: s.store, Schema: schema})
	}
	durability, err := redis.ParsePolicy(s.storeDurability)
	if err != nil {
		return nil, err
	}
	return redis.New(redis.Config{URL: s.store, Instance: s.instance, Schema: schema, Durability: durability})
}

// schemeOf returns the scheme of a URL, "" for what is none.
func schemeOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Scheme
}
