// SPDX-License-Identifier: Apache-2.0

package redis

import "context"

// A server that dies in the middle of writing a script's commands to its log leaves part of a transaction
// there. When it starts again it carries out none of it, and cuts the log off behind the last whole
// command: the transaction stays open in the log. What is written next goes behind that, so at the start
// after this one the server carries out what is there of the old transaction together with the next one
// that ends: a commit that nobody got an answer to, and that was not there meanwhile, comes back, even
// half of it. (So do Redis 7.0 and newer; that the log ends within a transaction is noticed only when it
// ends with a whole command.)
//
// So everything is written once more after each start of a server, before anything else: behind whatever
// the log may have left open, it is true. One command for each key does it, so that no part of this is
// worse than all.

// makeWhole sees to that, unless it was done since the server started. A server that tells no run id, or
// does not allow it, is left as it is.
func (s *Store) makeWhole(ctx context.Context, t *terms) error {
	run := t.settings.run
	if known := s.whole.Load(); run == "" || known != nil && *known == run {
		return nil
	}
	err := s.scripts.whole.Run(ctx, t.client, s.keys, run).Err()
	switch {
	case err == nil:
		s.whole.Store(&run)
	case isAnswer(err):
		t.settings.torn = err.Error()
		return nil
	}
	return err
}
