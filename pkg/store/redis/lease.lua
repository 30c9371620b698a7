-- The lease.
-- KEYS: lease
-- ARGV: 'acquire', holder, ttl in ms | 'renew', token, ttl in ms | 'release', token
-- Returns {'ok', token}, to a renewal {'ok', '1'} if another has asked lately and {'ok', '0'} if none has, or {'held', holder, remaining ms} or {'fenced', token, holder}.
local lease = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local got = redis.call('HMGET', lease, 'holder', 'token', 'until_ms', 'asked_until_ms')
local holder, token, ends = got[1] or '', got[2] or '0', tonumber(got[3] or '0') or 0
local asked = tonumber(got[4] or '0') or 0
if ARGV[1] == 'acquire' then
  if holder ~= '' and holder ~= ARGV[2] and ends > now then
    -- The holder is told that somebody waits. One who waits asks often: a write now and then will do.
    local lately = 10 * tonumber(ARGV[3])
    if asked < now + lately / 2 then
      redis.call('HSET', lease, 'asked_until_ms', string.format('%.0f', now + lately))
    end
    return {'held', holder, string.format('%.0f', ends - now)}
  end
  -- From the clock on, so that tokens rise even when the server lost its data in between.
  token = string.format('%.0f', math.max((tonumber(token) or 0) + 1, now))
  redis.call('HSET', lease, 'holder', ARGV[2], 'token', token, 'until_ms', string.format('%.0f', now + tonumber(ARGV[3])), 'asked_until_ms', '0')
  return {'ok', token}
end
if holder == '' or token ~= ARGV[2] then return {'fenced', token, holder} end
if ARGV[1] == 'renew' then
  redis.call('HSET', lease, 'until_ms', string.format('%.0f', now + tonumber(ARGV[3])))
  return {'ok', asked > now and '1' or '0'}
end
redis.call('HSET', lease, 'holder', '', 'until_ms', '0')
return {'ok', token}
