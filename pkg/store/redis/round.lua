-- Begins a round: no commit of an earlier one is carried out from now on.
-- KEYS: meta
-- Returns {'ok', round}.
return {'ok', tostring(redis.call('HINCRBY', KEYS[1], 'round', 1))}
