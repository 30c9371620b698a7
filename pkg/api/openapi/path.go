// SPDX-License-Identifier: Apache-2.0

package openapi

import (
	"strconv"
	"strings"
)

// variable is a part of a path that the caller chooses.
type variable struct{ name, description string }

// expand turns a template of google.api.http into a path of OpenAPI: "/v1/{name=nullVolumes/*}:stats"
// becomes "/v1/nullVolumes/{nullVolume}:stats". A "*" is named after the collection before it.
func expand(template string) (path string, variables []variable) {
	var b strings.Builder
	taken := map[string]bool{}
	for template != "" {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before)
		if !found {
			break
		}
		inside, after, _ := strings.Cut(rest, "}")
		template = after
		field, pattern, given := strings.Cut(inside, "=")
		if !given {
			pattern = "*"
		}
		collection := field
		for i, segment := range strings.Split(pattern, "/") {
			if i > 0 {
				b.WriteByte('/')
			}
			switch segment {
			case "*":
				name := unique(strings.TrimSuffix(collection, "s"), taken)
				b.WriteString("{" + name + "}")
				variables = append(variables, variable{name, "The id of the " + strings.TrimSuffix(collection, "s") + "."})
			case "**":
				name := unique(field, taken)
				b.WriteString("{" + name + "}")
				variables = append(variables, variable{name, "A full resource name; its slashes stand as they are."})
			default:
				b.WriteString(segment)
				collection = segment
			}
		}
	}
	return b.String(), variables
}

func unique(name string, taken map[string]bool) string {
	chosen := name
	for n := 2; taken[chosen]; n++ {
		chosen = name + strconv.Itoa(n)
	}
	taken[chosen] = true
	return chosen
}
