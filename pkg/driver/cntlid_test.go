// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opi-bridge/opi-bridge/pkg/driver"
	"github.com/opi-bridge/opi-bridge/pkg/errdefs"
)

func TestControllerIDs(t *testing.T) {
	for text, want := range map[string]driver.ControllerIDs{
		"1-65519": driver.AllControllerIDs(), "7-7": {Min: 7, Max: 7}, "32768-65519": {Min: 32768, Max: 65519},
	} {
		if got, err := driver.ParseControllerIDs(text); err != nil || got != want || got.String() != text {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1", "-", "0-5", "1-65520", "9-8", "1-2-3", " 1-2", "a-b", "1-99999", "-1-5"} {
		if got, err := driver.ParseControllerIDs(text); !errors.Is(err, errdefs.InvalidArgument) || !strings.Contains(err.Error(), "65519") {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
