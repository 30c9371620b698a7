-- Writes what is there already, so that waiting for this write is waiting for all that was read before.
-- KEYS: meta
return {'ok', tostring(redis.call('HINCRBY', KEYS[1], 'revision', 0))}
