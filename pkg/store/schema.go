// SPDX-License-Identifier: Apache-2.0

package store

// Schema says which format a build reads and writes, and how older formats get there. The zero
// Schema is format 1.
type Schema struct {
	// Migrations are the steps, in order: the first goes from format 1 to 2. A store runs those it
	// needs in one transaction, when it is first used. It does not run any that is newer than what
	// it finds, and refuses a format that is newer than Format.
	Migrations []Migration
	// WrittenBy is the version of the build; it is stored with the format, for people.
	WrittenBy string
}

// Migration changes all documents from one format to the next. It gets them in order of their names
// and may change, drop or add any; revisions stay, and an added document has the revision it is given.
// It must not do anything else, for it may run again.
type Migration func(documents []Document) ([]Document, error)

// Format returns the format that the schema describes.
func (s Schema) Format() int { return 1 + len(s.Migrations) }
