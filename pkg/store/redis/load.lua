-- Everything as of one moment. A script, for a transaction is refused when memory is short.
-- KEYS: meta, documents, sealed
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3])}
