-- One commit. Nothing is written before everything has been checked.
-- KEYS: meta, documents, sealed, lease
-- ARGV: format, fence ('' for none), round, then for each write: name, base, kind, body, sealed
--       where kind is 'delete', 'plain' (no sealed) or 'sealed'
-- Returns {'ok', first new revision} or {reason, details…}.
local meta, documents, sealed, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local format = redis.call('HGET', meta, 'format') or ''
if format ~= ARGV[1] then return {'format', format} end
if ARGV[2] ~= '' then
  local held = redis.call('HMGET', lease, 'token', 'holder')
  if held[1] ~= ARGV[2] or not held[2] or held[2] == '' then
    return {'fenced', held[1] or '0', held[2] or ''}
  end
end
local round = redis.call('HGET', meta, 'round') or ''
if round ~= ARGV[3] then return {'stale', round} end
local count = (#ARGV - 3) / 5
for i = 0, count - 1 do
  local at = 4 + i * 5
  local value = redis.call('HGET', documents, ARGV[at])
  local have = '0'
  if value then
    have = string.match(value, '^%s*{%s*"revision"%s*:%s*([1-9]%d*)')
    if not have then return {'unreadable', ARGV[at]} end
  end
  if have ~= ARGV[at + 1] then return {'conflict', ARGV[at], ARGV[at + 1], have} end
end
local last = redis.call('HINCRBY', meta, 'revision', count)
for i = 0, count - 1 do
  local at = 4 + i * 5
  local name, kind = ARGV[at], ARGV[at + 2]
  if kind == 'delete' then
    redis.call('HDEL', documents, name)
  else
    local revision = string.format('%.0f', last - count + i + 1)
    redis.call('HSET', documents, name, '{"revision":' .. revision .. ',"body":' .. ARGV[at + 3] .. '}')
  end
  if kind == 'sealed' then
    redis.call('HSET', sealed, name, ARGV[at + 4])
  else
    redis.call('HDEL', sealed, name)
  end
end
return {'ok', string.format('%.0f', last - count + 1)}
