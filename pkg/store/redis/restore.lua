-- Puts an image in the place of all there is, in one step.
-- KEYS: meta, documents, sealed, lease
-- ARGV: 1 to replace documents that are there, format, written by, revision counter,
--       then for each document: name, value, 1 or 0 (sealed or not), sealed
-- Returns {'ok'} or {'held', holder} or {'full', how many documents}.
local meta, documents, sealed, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local got = redis.call('HMGET', lease, 'holder', 'until_ms', 'token')
if (got[1] or '') ~= '' and (tonumber(got[2] or '0') or 0) > now then return {'held', got[1]} end
local count = redis.call('HLEN', documents)
if count > 0 and ARGV[1] ~= '1' then return {'full', tostring(count)} end
local revision = math.max(tonumber(redis.call('HGET', meta, 'revision') or '0') or 0, tonumber(ARGV[4]))
-- First what is refused when memory is short, so that nothing has been removed then.
redis.call('HSET', meta, 'format', ARGV[2], 'written_by', ARGV[3], 'revision', string.format('%.0f', revision))
-- A bridge that was frozen and goes on must not write any more.
local token = string.format('%.0f', math.max((tonumber(got[3] or '0') or 0) + 1, now))
redis.call('HSET', lease, 'holder', '', 'token', token, 'until_ms', '0')
redis.call('DEL', documents, sealed)
for at = 5, #ARGV, 4 do
  redis.call('HSET', documents, ARGV[at], ARGV[at + 1])
  if ARGV[at + 2] == '1' then redis.call('HSET', sealed, ARGV[at], ARGV[at + 3]) end
end
return {'ok'}
