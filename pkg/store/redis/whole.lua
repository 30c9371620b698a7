-- Writes once more what is there, unless that was done since the server started: see whole.go.
-- KEYS: those of the instance, meta first
-- ARGV: the server's run id
-- Returns {'ok'}.
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HGET', KEYS[1], 'server') == ARGV[1] then return {'ok'} end
-- First what is refused when memory is short.
redis.call('HSET', KEYS[1], 'server', ARGV[1])
for _, key in ipairs(KEYS) do
  local all = redis.call('DUMP', key)
  if all then redis.call('RESTORE', key, 0, all, 'REPLACE') end
end
return {'ok'}
