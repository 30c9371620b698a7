// SPDX-License-Identifier: Apache-2.0

package redis

// Sending reports whether so many groups of commits are on their way.
func (s *Store) Sending(groups int) bool {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return s.group.sending == groups
}
