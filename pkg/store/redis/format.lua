-- Writes the format: into an empty store, or with all documents of a migration.
-- KEYS: meta, documents, sealed
-- ARGV: format and revision counter that were seen ('' for none), new format, written by,
--       then for each document: name, value, 1 or 0 (sealed or not), sealed
-- Returns {'ok'} or {'changed'} when the store is not as it was seen.
local meta, documents, sealed = KEYS[1], KEYS[2], KEYS[3]
local seen = redis.call('HMGET', meta, 'format', 'revision')
if (seen[1] or '') ~= ARGV[1] or (seen[2] or '') ~= ARGV[2] then return {'changed'} end
if ARGV[1] == '' then
  if redis.call('EXISTS', documents) == 1 then return {'changed'} end
else
  redis.call('DEL', documents, sealed)
end
for at = 5, #ARGV, 4 do
  redis.call('HSET', documents, ARGV[at], ARGV[at + 1])
  if ARGV[at + 2] == '1' then redis.call('HSET', sealed, ARGV[at], ARGV[at + 3]) end
end
redis.call('HSET', meta, 'format', ARGV[3], 'written_by', ARGV[4])
return {'ok'}
