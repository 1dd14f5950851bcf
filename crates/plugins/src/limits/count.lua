-- Counts in windows of time, all or nothing, in one step.
--
-- KEYS[1]  a hash, with three fields for each window: when it began (s), what was used in it (n), and in the one
--          before (p)
-- ARGV     what to add; 1 to add it come what may; after how many seconds all is forgotten; then for each window:
--          its name, when it and the one before began, how much of the one before counts (in millionths), the most
--
-- The answer: whether it was added; then for each window what was used in it, and in the one before. What is added come
-- what may is in it, and anything else is not.
local add, always, life = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3])
local windows, answer, room = {}, { 1 }, true
for i = 4, #ARGV, 5 do
    local name, start, before = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
    local weight, most = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
    local held = redis.call('HMGET', KEYS[1], name .. 's', name .. 'n', name .. 'p')
    local s, n, p = tonumber(held[1]) or 0, tonumber(held[2]) or 0, tonumber(held[3]) or 0
    -- The gate with the fastest clock opens a window; the others count in it.
    local late = s > start
    if s < start then
        if s == before then p = n else p = 0 end
        s, n = start, 0
    end
    local used = n + math.floor(p * weight / 1000000)
    if used + add > most then room = false end
    -- What a gate tells afterwards belongs to the window that it was used in.
    if always and late then windows[#windows + 1] = { name, s, n, p }
    else windows[#windows + 1] = { name, s, n + add, p } end
    answer[#answer + 1] = always and windows[#windows][3] or n
    answer[#answer + 1] = p
end
if always or room then
    if add > 0 then
        for _, w in ipairs(windows) do
            redis.call('HSET', KEYS[1], w[1] .. 's', w[2], w[1] .. 'n', w[3], w[1] .. 'p', w[4])
        end
        redis.call('EXPIRE', KEYS[1], life)
    end
else
    answer[1] = 0
end
return answer
