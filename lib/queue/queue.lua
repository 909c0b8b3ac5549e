#!lua name=sluice1
-- SPDX-License-Identifier: Apache-2.0
--
-- The task tree of Sluice: tail | job > window > batch > file, kept in Redis.
--
-- KEYS[1] is the prefix of all keys, "sluice:" (on a cluster "{sluice}:"). One hash per task,
-- <prefix>t:<id>, is the truth. Every other key is an index that `fix` can derive from it:
--
--   up:<id> open:<id> dead:<id>      SET   parents; children not completed; those that failed
--   ready:<class>:<lane>:<dataset>   ZSET  claimable, by order; class x = tail and commit,
--                                          l = to be listed, f = file
--   delayed                          ZSET  pending, by the time when they become ready
--   lease:<x|f>:<dataset>            ZSET  running, by the end of their lease
--   shut:<dataset>                   ZSET  batches that wait for an older one, by order
--   order:<dataset>                  ZSET  batches not committed, by order; not of replays
--   unlisted:<dataset>               ZSET  tail, jobs and windows that may still yield a batch,
--                                          by the lowest order that it can have; not of replays
--   open-files:<dataset>             SET   files neither completed nor dead
--   dead, done                       ZSET  dead letters; ended tasks that expire; by time
--   gc                               LIST  ended tasks whose children are to be removed
--
-- Not derivable: rows:<batch> (results of its completed files), ds:<dataset> (options),
-- exported (HASH, bytes by dataset), datasets, daemons (live owners), inbox, inbox:rejected, seq
-- (counts mutations; if a client sees it fall, Redis lost writes), events (capped audit log).
--
--   status  pending -> in-progress -> completed, or failed until an operator retries it
--   phase   fan (being listed) -> wait (for children) -> fin (batch: to be committed, job: to be
--           noted as done) -> end. A window goes from wait to end. A file: run -> end. A tail
--           stays in fan. Failed and end: skipped or cancelled.
--
-- A replay copies batches once more, as a generation of their own (the server's time when it was
-- ordered). Its ids say so: j/<dataset>/replay/…, then w, b, f/<dataset>/<generation>/…; in an
-- ordered dataset it neither waits for the order nor holds it up.
--
-- A listing of a batch is what one holder reads from its beginning to its end: the fence of that
-- claim is its name. `listing` of a file: the last that named it; of a batch: the one of which it
-- counts the files (`listed`). Sealing it drops the files that only earlier ones have named, so
-- that a batch is committed as the last complete listing has it, whatever was renamed meanwhile.
--
-- A task that has not ended is in exactly one of ready, delayed, lease, shut, dead, or it is in
-- phase wait. Every function validates all before its first write: Redis undoes nothing.

local VERSION = 4

local ID_MAX = 400
local CHILDREN_MAX = 1000       -- of one fan
local FIELDS_MAX = 1000         -- of one task in one call
local CLAIM_MAX = 1000
local MOVES_MAX = 100           -- of one tick
local COLLECT_MAX = 500         -- children removed by one tick
local REVIVE_MAX = 1000         -- tasks revived by one retry
local LANE_MOVES_MAX = 1000     -- tasks moved by one priority
local DUE_MAX = 100             -- batches looked at for the oldest that is due
local RELISTS_MAX = 20          -- of a batch in a row, without one more file completed
local RELIST_DELAY_MAX = 30000
local REJECTED_MAX = 1000
local ELEMENT_MAX = 65536       -- of the inbox; what is longer no daemon looks at
local EVENTS_MAX = 10000
local COST_MIN = 65536          -- what a file costs of a claim's byte budget, at least
local OPEN_FILES_DEFAULT = 20000

local CHILD_OF = {
  tail = {}, job = {}, window = { job = true },
  batch = { tail = true, job = true, window = true }, file = { batch = true },
}
local ID_START = { tail = 'tail/', job = 'j/', window = 'w/', batch = 'b/', file = 'f/' }
local LANE = { live = true, backfill = true }
local MODE = { concurrent = true, commit = true, sequential = true }
local GATED_PHASE = { commit = 'fin', sequential = 'fan' } -- which a batch enters in order

-- Fields that only the functions below may write; a caller's field of that name is refused.
local RESERVED = {}
for name in ([[kind dataset lane parent order status phase gate owner fence attempts lost waits
    created_at updated_at not_before error class sealed_by listed listing relists
    relist_rows priority]]):gmatch('%S+') do
  RESERVED[name] = true
end

-- Of the running call: the prefix, and the server's time in ms.
local P, NOW

local function call(...)
  return redis.call(...)
end

local function now()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

------------------------------------------------------------------------------------------------
-- Arguments

local function refuse(text)
  error({ refused = text }, 0)
end

local function need(condition, text)
  if not condition then
    refuse('BADARG ' .. text)
  end
end

local function need_token(text, what, max)
  if not text or #text == 0 or #text > max or text:find('[^%w_.:@/-]') then
    need(false, what .. ': want 1 to ' .. max .. ' of A-Z a-z 0-9 _ . : @ / -')
  end
  return text
end

local function need_id(id)
  return need_token(id, 'id', ID_MAX)
end

local function need_dataset_name(ds)
  need_token(ds, 'dataset', 100)
  need(not ds:find('/'), 'dataset: no slash')
  return ds
end

local function need_int(text, what, min, max)
  local n = text and #text <= 16 and text:find('^-?%d+$') and tonumber(text)
  if not n or n < min or n > max then
    need(false, string.format('%s: want an integer from %.0f to %.0f', what, min, max))
  end
  return n
end

local function need_one_of(text, set, what)
  need(text and set[text], what .. ': unknown')
  return text
end

-- The generation in the id of a window, batch or file of a replay; nil in all others.
local function generation_of(id)
  return id:match('^[wb]/[^/]+/(%d+)/[^/]+$') or id:match('^f/[^/]+/(%d+)/[^/]+/[^/]+$')
end

local function is_replay(id)
  return id:find('^j/[^/]+/replay/') ~= nil or generation_of(id) ~= nil
end

local function rest(a, first)
  local out = {}
  for i = first, #a do
    out[#out + 1] = a[i]
  end
  return out
end

-- Name and value pairs a[first..last].
local function need_pairs(a, first, last)
  local out = {}
  need(last <= #a and (last - first) % 2 == 1, 'fields: want pairs of name and value')
  need(last - first < 2 * FIELDS_MAX, 'fields: too many')
  for i = first, last, 2 do
    need(#a[i] <= 64 and a[i]:find('^[a-z][a-z0-9_]*$'), 'field name: want a-z 0-9 _')
    out[#out + 1] = a[i]
    out[#out + 1] = a[i + 1]
  end
  return out
end

-- Pairs that a caller may write to a task. `offset` is his only where `offset` says so: in all
-- other tasks it is the listing cursor, which moves with its children.
local function need_fields(a, first, last, offset)
  local out = need_pairs(a, first, last)
  for i = 1, #out, 2 do
    need(not RESERVED[out[i]] and (offset or out[i] ~= 'offset'), 'field is the queue\'s own')
  end
  return out
end

local function known_datasets()
  local out = call('SMEMBERS', P .. 'datasets')
  table.sort(out)
  return out
end

local function need_known_dataset(ds)
  if ds and call('SISMEMBER', P .. 'datasets', ds) == 1 then
    return ds
  end
  local known = known_datasets()
  refuse('BADARG dataset: want one of ' .. table.concat(known, ' ', 1, math.min(20, #known)))
end

------------------------------------------------------------------------------------------------
-- Tasks

local TASK = {
  'kind', 'dataset', 'lane', 'status', 'phase', 'order', 'parent', 'owner', 'fence', 'gate',
  'class', 'offset', 'sealed_by', 'listed', 'listing',
}

local function load(id)
  local values = call('HMGET', P .. 't:' .. id, unpack(TASK))
  if not values[1] then
    return nil
  end
  local task = { id = id, key = P .. 't:' .. id }
  for i, name in ipairs(TASK) do
    task[name] = values[i] or ''
  end
  return task
end

local function need_task(id)
  local task = load(need_id(id))
  need(task, 'id: no such task')
  return task
end

-- Both must be equal: the fence alone is ambiguous once Redis went back in time (a replica that
-- was promoted too early), the owner alone after a lapse.
local function holds(task, owner, fence)
  return task and task.status == 'in-progress' and task.owner == owner and task.fence == fence
end

local function need_held(id, owner, fence)
  local task = load(need_id(id))
  if not holds(task, owner, fence) then
    refuse('FENCED lease lost')
  end
  return task
end

local function set(task, changes)
  local flat = { 'updated_at', NOW }
  for name, value in pairs(changes) do
    task[name] = tostring(value)
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  call('HSET', task.key, unpack(flat))
end

local function set_fields(task, fields)
  if #fields > 0 then
    call('HSET', task.key, unpack(fields))
  end
end

-- One line of the audit log, one step of the mutation counter.
local function note(id, event, who)
  call('XADD', P .. 'events', 'MAXLEN', '~', EVENTS_MAX, '*', 't', id, 'e', event,
    'w', who or '')
  return call('INCR', P .. 'seq')
end

local function seq()
  return tonumber(call('GET', P .. 'seq') or 0)
end

local function option(ds, name)
  return call('HGET', P .. 'ds:' .. ds, name)
end

local function order_mode(ds)
  local mode = option(ds, 'order')
  return MODE[mode] and mode or 'concurrent'
end

-- How many more files may be opened: it bounds the memory of Redis by configuration instead of
-- by the length of a backfill.
local function room(ds)
  local max = tonumber(option(ds, 'max_open_files') or '') or OPEN_FILES_DEFAULT
  return max - call('SCARD', P .. 'open-files:' .. ds)
end

local function parents(task)
  if task.kind == 'file' then
    return { task.parent }
  end
  return call('SMEMBERS', P .. 'up:' .. task.id)
end

-- Files of a batch that the queue knows, completed or not.
local function count_files(batch)
  return call('SCARD', P .. 'open:' .. batch) + call('HLEN', P .. 'rows:' .. batch)
end

------------------------------------------------------------------------------------------------
-- Places: where a task that has not ended is found

local function ready_key(task)
  local class = 'l'
  if task.kind == 'file' then
    class = 'f'
  elseif task.kind == 'tail' or task.phase == 'fin' then
    class = 'x'
  end
  return P .. 'ready:' .. class .. ':' .. task.lane .. ':' .. task.dataset
end

local function lease_key(task)
  return P .. 'lease:' .. (task.kind == 'file' and 'f' or 'x') .. ':' .. task.dataset
end

local function is_gated(task)
  if task.kind ~= 'batch' or task.gate == 'open' or is_replay(task.id) then
    return false
  end
  return task.phase == GATED_PHASE[order_mode(task.dataset)]
end

local function pass_gate(ds, id)
  local task = load(id)
  call('ZREM', P .. 'shut:' .. ds, id)
  if task and task.status == 'pending' then
    set(task, { gate = 'open' })
    call('ZADD', ready_key(task), task.order, id)
  end
end

-- Lets the oldest uncommitted batch pass, unless something not fully listed may still yield an
-- older one. In a dataset that is no longer ordered all may pass.
local function open_gate(ds)
  if order_mode(ds) == 'concurrent' then
    for _, id in ipairs(call('ZRANGE', P .. 'shut:' .. ds, 0, MOVES_MAX - 1)) do
      pass_gate(ds, id)
    end
    return
  end
  local head = call('ZRANGE', P .. 'order:' .. ds, 0, 0, 'WITHSCORES')
  local lowest = call('ZRANGE', P .. 'unlisted:' .. ds, 0, 0, 'WITHSCORES')
  if not head[1] or lowest[1] and tonumber(head[2]) >= tonumber(lowest[2]) then
    return
  end
  if call('ZSCORE', P .. 'shut:' .. ds, head[1]) then
    pass_gate(ds, head[1])
  end
end

local function enqueue(task)
  if not is_gated(task) then
    call('ZADD', ready_key(task), task.order, task.id)
    return
  end
  set(task, { gate = 'shut' })
  call('ZADD', P .. 'shut:' .. task.dataset, task.order, task.id)
  open_gate(task.dataset)
end

local function unqueue(task)
  call('ZREM', ready_key(task), task.id)
  call('ZREM', P .. 'delayed', task.id)
  call('ZREM', lease_key(task), task.id)
  call('ZREM', P .. 'shut:' .. task.dataset, task.id)
  call('ZREM', P .. 'dead', task.id)
end

-- The lowest order a child that is still to come can have: a tail's cursor begins with its
-- watermark, everything older than that is listed.
local function lower_bound(task)
  return task.kind == 'tail' and (task.offset:match('^%d+') or 0) or task.order
end

-- Enters an open task into the registers of its dataset; returns how many entries were missing.
local function enlist(task)
  if task.kind == 'file' then
    local opens = task.status ~= 'failed'
    return opens and call('SADD', P .. 'open-files:' .. task.dataset, task.id) or 0
  end
  if is_replay(task.id) then
    return 0
  end
  if task.kind == 'batch' then
    return call('ZADD', P .. 'order:' .. task.dataset, task.order, task.id)
  end
  if task.phase == 'fan' then
    return call('ZADD', P .. 'unlisted:' .. task.dataset, lower_bound(task), task.id)
  end
  return 0
end

local function delist(task)
  if task.kind == 'file' then
    call('SREM', P .. 'open-files:' .. task.dataset, task.id)
  else
    local register = task.kind == 'batch' and 'order:' or 'unlisted:'
    call('ZREM', P .. register .. task.dataset, task.id)
  end
end

------------------------------------------------------------------------------------------------
-- Ends, and what they mean for the parents

local settle

local function leave_parents(task)
  for _, id in ipairs(parents(task)) do
    if call('SREM', P .. 'open:' .. id, task.id) == 1 then
      call('SREM', P .. 'dead:' .. id, task.id)
      settle(load(id))
    end
  end
  call('DEL', P .. 'up:' .. task.id)
end

-- What is kept of a completed file is what recognises it again, and a repeated `done`.
local function shrink_file(task, row)
  local keep = call('HMGET', task.key, 'offset', 'created_at', 'length')
  call('HSET', P .. 'rows:' .. task.parent, task.id, row)
  call('DEL', task.key)
  call('HSET', task.key, 'kind', 'file', 'dataset', task.dataset, 'lane', task.lane,
    'parent', task.parent, 'order', task.order, 'status', 'completed', 'phase', 'end',
    'owner', task.owner, 'fence', task.fence, 'offset', keep[1], 'created_at', keep[2],
    'length', keep[3] or '', 'listing', task.listing, 'updated_at', NOW)
end

local function complete(task, row)
  delist(task)
  if task.kind == 'file' then
    shrink_file(task, row)
  else
    call('HDEL', task.key, 'error', 'class')
    call('DEL', P .. 'open:' .. task.id, P .. 'dead:' .. task.id)
    set(task, { status = 'completed', phase = 'end' })
    call('ZADD', P .. 'done', NOW, task.id)
    open_gate(task.dataset)
  end
  if task.kind == 'batch' then
    call('LPUSH', P .. 'gc', task.id)
  end
  leave_parents(task)
  return note(task.id, 'completed', task.owner)
end

local function bury(task, text, class)
  set(task, { status = 'failed', owner = '', error = text, class = class })
  call('ZADD', P .. 'dead', NOW, task.id)
  if task.kind == 'file' then
    delist(task)
  end
  for _, id in ipairs(parents(task)) do
    call('SADD', P .. 'dead:' .. id, task.id)
    settle(load(id))
  end
  return note(task.id, 'failed', class)
end

-- From the beginning: something that the listing made is gone, or the listing itself is void.
local function relist(task, delay)
  unqueue(task)
  call('HDEL', task.key, 'sealed_by')
  set(task, { status = 'pending', phase = 'fan', offset = '0', gate = '', owner = '',
    listed = count_files(task.id) })
  enlist(task)
  if delay then
    set(task, { not_before = NOW + delay })
    call('ZADD', P .. 'delayed', NOW + delay, task.id)
  else
    enqueue(task)
  end
  note(task.id, 'relisted')
end

-- A batch is committed from the rows of its files. Without all of them it must not be.
local function lacks_rows(task)
  return task.kind == 'batch'
    and call('HLEN', P .. 'rows:' .. task.id) < (tonumber(task.listed) or 0)
end

-- Fan-in, by membership and never by a counter. A task settles when nothing is open below it.
settle = function(task)
  if not task or task.phase ~= 'wait' then
    return
  end
  local open = call('SCARD', P .. 'open:' .. task.id)
  if open > 0 then
    if task.status ~= 'failed' and call('SCARD', P .. 'dead:' .. task.id) == open then
      bury(task, 'all that is left below it failed', 'children')
    end
    return
  end
  call('ZREM', P .. 'dead', task.id)
  if task.kind == 'window' then
    complete(task)
    return
  end
  if lacks_rows(task) then
    relist(task)
    return
  end
  call('HDEL', task.key, 'error', 'class')
  set(task, { phase = 'fin', status = 'pending' })
  enqueue(task)
end

-- Takes a task out of the tree for good. Its children follow, a few with each `collect`.
local function withdraw(task, class, reason, who)
  unqueue(task)
  delist(task)
  set(task, { status = 'failed', phase = 'end', class = class, error = reason, owner = '',
    gate = '' })
  leave_parents(task)
  call('LPUSH', P .. 'gc', task.id)
  if class == 'cancelled' then
    call('ZADD', P .. 'done', NOW, task.id)
  else -- remembered for ever, or the next listing would bring it back
    call('ZREM', P .. 'done', task.id)
  end
  open_gate(task.dataset)
  return note(task.id, class, who)
end

-- A withdrawn task from the beginning again. Children that `collect` has left stay valid.
local function restart(task)
  call('HDEL', task.key, 'error', 'class', 'sealed_by', 'not_before')
  call('ZREM', P .. 'done', task.id)
  set(task, { status = 'pending', phase = task.kind == 'file' and 'run' or 'fan', offset = '0',
    gate = '', attempts = 0, lost = 0, listed = count_files(task.id) })
  enlist(task)
  enqueue(task)
end

-- Brings back a dead letter, and the parents that failed only because of it. One that failed by
-- itself stays failed.
local function revive(task)
  local waits = task.phase == 'wait'
  call('ZREM', P .. 'dead', task.id)
  call('HDEL', task.key, 'error', 'class', 'not_before')
  set(task, { status = waits and 'in-progress' or 'pending', attempts = 0, lost = 0 })
  enlist(task)
  for _, id in ipairs(parents(task)) do
    call('SREM', P .. 'dead:' .. id, task.id)
    local parent = load(id)
    if parent and parent.phase == 'wait' and parent.status == 'failed' then
      revive(parent)
    end
  end
  if not waits then
    enqueue(task)
  end
  note(task.id, 'revived')
end

-- A dead letter and those below it, as far as budget.left goes.
local function revive_below(task, budget)
  if task.status == 'failed' then
    revive(task)
    budget.left = budget.left - 1
  end
  if budget.left <= 0 then
    return
  end
  for _, id in ipairs(call('SRANDMEMBER', P .. 'dead:' .. task.id, budget.left)) do
    local child = load(id)
    if child and budget.left > 0 then
      revive_below(child, budget)
    end
  end
end

------------------------------------------------------------------------------------------------
-- Removing what an ended task leaves behind

local function drop_child(parent, id)
  local child = load(id)
  call('SREM', P .. 'dead:' .. parent, id)
  if not child then
    return
  end
  if child.kind == 'file' then
    unqueue(child)
    delist(child)
    call('UNLINK', child.key)
    return
  end
  call('SREM', P .. 'up:' .. id, parent)
  if child.phase ~= 'end' and call('SCARD', P .. 'up:' .. id) == 0 then
    withdraw(child, 'cancelled', 'nobody asks for it any more')
  end
end

local function drop_children(parent, limit)
  local files = call('HRANDFIELD', P .. 'rows:' .. parent, limit)
  for _, id in ipairs(files) do
    call('HDEL', P .. 'rows:' .. parent, id)
    call('UNLINK', P .. 't:' .. id)
  end
  if #files == limit then
    return limit
  end
  local open = call('SPOP', P .. 'open:' .. parent, limit - #files)
  for _, id in ipairs(open) do
    drop_child(parent, id)
  end
  return #files + #open
end

-- A task restarted in the meantime keeps its children.
local function collect(limit)
  while limit > 0 do
    local id = call('LINDEX', P .. 'gc', -1)
    if not id then
      return
    end
    local phase = call('HGET', P .. 't:' .. id, 'phase')
    local dropped = 0
    if not phase or phase == 'end' then
      dropped = drop_children(id, limit)
    end
    if dropped < limit then
      call('RPOP', P .. 'gc')
    end
    limit = limit - math.max(dropped, 1)
  end
end

local function expire(retention_ms)
  local due = call('ZRANGEBYSCORE', P .. 'done', '-inf', NOW - retention_ms,
    'LIMIT', 0, MOVES_MAX)
  for _, id in ipairs(due) do
    call('ZREM', P .. 'done', id)
    call('UNLINK', P .. 't:' .. id)
  end
end

------------------------------------------------------------------------------------------------
-- Making tasks

-- A task to be made: its id must say its kind and dataset, so that no two can be confused.
local function need_spec(id, kind, ds, lane, order, parent, fields)
  need_id(id)
  need_one_of(kind, CHILD_OF, 'kind')
  need_one_of(lane, LANE, 'lane')
  need_int(order, 'order', 0, 9e15)
  local start = ID_START[kind] .. ds
  local matches = id == start
  if kind ~= 'tail' then
    matches = id:sub(1, #start + 1) == start .. '/'
  end
  need(matches, 'id: must begin with its kind and dataset')
  return { id = id, kind = kind, dataset = ds, lane = lane, order = order, parent = parent,
    fields = fields }
end

local function attach(id, status, parent)
  call('SADD', P .. 'up:' .. id, parent)
  call('SADD', P .. 'open:' .. parent, id)
  if status == 'failed' then
    call('SADD', P .. 'dead:' .. parent, id)
  end
end

-- Whether a task that has ended needs nothing more: it is completed, or an operator decided to
-- skip it. A file whose result was lost is not.
local function stays_ended(task)
  if task.kind == 'file' then
    return call('HEXISTS', P .. 'rows:' .. task.parent, task.id) == 1
  end
  return task.status == 'completed' or task.class == 'skipped'
end

-- What a replay makes is of its generation, and nothing else is.
local function need_generation(id, parent)
  local same = generation_of(id) == generation_of(parent)
  if parent:sub(1, 2) == 'j/' then
    same = is_replay(id) == is_replay(parent)
  end
  need(same, 'id: other generation than its parent')
end

-- Whether a file is listed with another length than it had: then it is another one of that name.
local function is_replaced(task, fields)
  for i = 1, #fields, 2 do
    if task.kind == 'file' and fields[i] == 'length' then
      local known = call('HGET', task.key, 'length')
      return known and known ~= '' and known ~= fields[i + 1]
    end
  end
  return false
end

-- What was done for the other one is worthless; whoever is at it is fenced.
local function replace_file(task, spec)
  unqueue(task)
  call('HDEL', P .. 'rows:' .. task.parent, task.id)
  call('SREM', P .. 'dead:' .. task.parent, task.id)
  call('HDEL', task.key, 'upload_id')
  set_fields(task, spec.fields)
  restart(task)
  call('SADD', P .. 'open:' .. task.parent, task.id)
  return 'revived'
end

-- A known task gets one more parent, unless there is nothing to wait for. One that was cancelled
-- is wanted again.
local function meet(task, spec)
  local answer, parent = 'dup', spec.parent
  if is_replaced(task, spec.fields) then
    return replace_file(task, spec)
  end
  if task.phase == 'end' then
    if stays_ended(task) then
      return 'have'
    end
    set_fields(task, spec.fields)
    restart(task)
    answer = 'revived'
  end
  if task.kind == 'file' then
    call('SADD', P .. 'open:' .. task.parent, task.id)
  elseif parent ~= '' then
    attach(task.id, task.status, parent)
  end
  return answer
end

local function create(spec)
  local known = load(spec.id)
  if known then
    return meet(known, spec)
  end
  call('HSET', P .. 't:' .. spec.id, 'kind', spec.kind, 'dataset', spec.dataset,
    'lane', spec.lane, 'parent', spec.parent, 'order', spec.order, 'status', 'pending',
    'phase', spec.kind == 'file' and 'run' or 'fan', 'fence', 0, 'attempts', 0, 'lost', 0,
    'offset', 0, 'created_at', NOW, 'updated_at', NOW)
  local task = load(spec.id)
  set_fields(task, spec.fields)
  if spec.kind == 'file' then
    call('SADD', P .. 'open:' .. spec.parent, spec.id)
    call('HDEL', P .. 'rows:' .. spec.parent, spec.id) -- of a record that was lost
  elseif spec.parent ~= '' then
    attach(spec.id, 'pending', spec.parent)
  end
  task.offset = call('HGET', task.key, 'offset')
  enlist(task)
  enqueue(task)
  return 'new'
end

-- A batch that ended without a copy (outdated by a newer snapshot, withdrawn at that time …)
-- begins anew if it is submitted by name. Listings may name it as often as they like.
local function reopen(task, spec)
  local result = task.kind == 'batch' and call('HGET', task.key, 'result')
  if not result or result == '' or result == 'manifest' or task.status ~= 'completed' then
    return 'have'
  end
  call('HDEL', task.key, 'result', 'looks', 'missing')
  set_fields(task, spec.fields)
  restart(task)
  if spec.parent ~= '' then
    attach(task.id, task.status, spec.parent)
  end
  return 'revived'
end

local function submit(a) -- id kind dataset lane order parent [field value]…
  local ds, parent = need_dataset_name(a[3]), a[6]
  local spec = need_spec(a[1], a[2], ds, a[4], a[5], parent, need_fields(a, 7, #a, true))
  if parent ~= '' then
    local above = need_task(parent)
    need(CHILD_OF[spec.kind][above.kind], 'parent: wrong kind')
    need(above.dataset == ds, 'parent: other dataset')
    need_generation(spec.id, parent)
    need(above.phase == 'fan', 'parent: takes no more children')
  end
  need(spec.kind ~= 'file' or parent ~= '', 'parent: a file needs its batch')
  local answer = create(spec)
  local task = load(a[1])
  if answer == 'have' then
    answer = reopen(task, spec)
  end
  if answer == 'dup' and task.status == 'failed' then
    revive_below(task, { left = REVIVE_MAX })
    answer = 'revived'
  end
  return { answer, note(a[1], answer) }
end

------------------------------------------------------------------------------------------------
-- Listing

local function need_children(a, first, task)
  local out, i = {}, first
  local moved = call('HGET', task.key, 'priority') -- whoever lists it may not know that yet
  while i <= #a do -- kind id lane order n (field value)*n
    local n = need_int(a[i + 4], 'number of fields', 0, FIELDS_MAX)
    local fields = need_fields(a, i + 5, i + 4 + 2 * n, true)
    local spec = need_spec(a[i + 1], a[i], task.dataset, moved or a[i + 2], a[i + 3], task.id,
      fields)
    need(CHILD_OF[spec.kind][task.kind], 'kind: wrong parent')
    need_generation(spec.id, task.id)
    out[#out + 1] = spec
    i = i + 5 + 2 * n
  end
  need(#out <= CHILDREN_MAX, 'children: at most ' .. CHILDREN_MAX)
  return out
end

-- Counts the files that this listing has named, each once.
local function count_listed(task, children)
  local listed = task.listing == task.fence and tonumber(task.listed) or 0
  for _, child in ipairs(children) do
    local key = P .. 't:' .. child.id
    if call('HGET', key, 'listing') ~= task.fence then
      call('HSET', key, 'listing', task.fence)
      listed = listed + 1
    end
  end
  set(task, { listed = listed, listing = task.fence })
end

local function completed_files(batch)
  local out, cursor = {}, '0'
  repeat
    local page = call('HSCAN', P .. 'rows:' .. batch, cursor, 'COUNT', 500)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      out[#out + 1] = page[2][i]
    end
  until cursor == '0'
  return out
end

-- Files that a complete listing did not name: renamed or removed at the source since they were
-- found. Returns how many of them had been completed: their objects are strays.
local function drop_unlisted(task)
  local strays = 0
  if count_files(task.id) <= tonumber(task.listed) then
    return strays
  end
  for _, id in ipairs(completed_files(task.id)) do
    if call('HGET', P .. 't:' .. id, 'listing') ~= task.fence then
      call('HDEL', P .. 'rows:' .. task.id, id)
      call('UNLINK', P .. 't:' .. id)
      strays = strays + 1
    end
  end
  for _, id in ipairs(call('SMEMBERS', P .. 'open:' .. task.id)) do
    if call('HGET', P .. 't:' .. id, 'listing') ~= task.fence then
      call('SREM', P .. 'open:' .. task.id, id)
      drop_child(task.id, id)
    end
  end
  note(task.id, 'unlisted')
  return strays
end

local function seal(task)
  local strays = 0
  call('ZREM', lease_key(task), task.id)
  set(task, { phase = 'wait', owner = '', sealed_by = task.owner .. ':' .. task.fence })
  if task.kind == 'batch' then
    strays = drop_unlisted(task)
  else
    delist(task)
  end
  settle(task)
  return strays
end

local function is_repeated_fan(task, owner, fence, cursor, sealed)
  if not task or task.offset ~= cursor then
    return false
  end
  if sealed then -- the lease went with the first call
    return task.sealed_by == owner .. ':' .. fence
  end
  return holds(task, owner, fence)
end

-- Children and the cursor of the listing move together, compared with the cursor that the
-- caller believes in: Redis may have gone back in time under a live worker.
local function fan(a) -- id owner fence cursor sealed previous (child)…
  local id, owner, fence, cursor, previous = need_id(a[1]), a[2], a[3], a[4], a[6]
  need(a[5] == '0' or a[5] == '1', 'sealed: want 0 or 1')
  need(previous and cursor ~= previous, 'cursor: must differ from the previous one')
  local sealed, task = a[5] == '1', load(id)
  if is_repeated_fan(task, owner, fence, cursor, sealed) then
    return { 0, seq(), room(task.dataset), 0 }
  end
  need_held(id, owner, fence)
  if task.phase ~= 'fan' then
    refuse('BADPHASE ' .. task.phase)
  end
  need(not (sealed and task.kind == 'tail'), 'sealed: a tail never ends')
  if task.offset ~= previous then
    refuse('FENCED stale cursor')
  end
  local children, new, strays = need_children(a, 7, task), 0, 0
  for _, child in ipairs(children) do
    new = new + (create(child) == 'new' and 1 or 0)
  end
  set(task, { offset = cursor, lost = 0 })
  if task.kind == 'batch' then
    count_listed(task, children)
  end
  if sealed then
    strays = seal(task)
  else
    enlist(task) -- the lower bound of a tail moves with its cursor
  end
  open_gate(task.dataset)
  collect(2 * #children) -- so that removing keeps up with making, whatever the load
  return { new, note(id, 'fan', owner), room(task.dataset), strays }
end

-- Children of a void listing that nobody has begun. The next one brings back what is still there,
-- and needs the room.
local function drop_idle(batch)
  for _, id in ipairs(call('SMEMBERS', P .. 'open:' .. batch.id)) do
    local known = call('HMGET', P .. 't:' .. id, 'status', 'upload_id')
    if known[1] == 'pending' and (not known[2] or known[2] == '') then
      call('SREM', P .. 'open:' .. batch.id, id)
      drop_child(batch.id, id)
    end
  end
end

-- How often a batch was listed anew without one more file completed, this time included.
local function count_relists(batch)
  local known = call('HMGET', batch.key, 'relists', 'relist_rows')
  local rows_now = call('HLEN', P .. 'rows:' .. batch.id)
  local barren = rows_now <= (tonumber(known[2] or '') or -1)
  local times = (barren and tonumber(known[1]) or 0) + 1
  set(batch, { relists = times > RELISTS_MAX and 0 or times, relist_rows = rows_now })
  return times
end

-- The holder of a file found that the source has it no more, or another one of its name: the listing
-- that named it is void. The file leaves the queue; if its batch may still be read and has it, the
-- listing to come names it again. `worn`: that has been tried often enough, and
-- the file is still the holder's.
local function relist_batch(a) -- file owner fence
  local file = need_held(need_id(a[1]), a[2], a[3])
  local batch = file.kind == 'file' and load(file.parent)
  if not batch or batch.phase ~= 'fan' and batch.phase ~= 'wait' then
    refuse('FENCED its batch is not there any more')
  end
  local lists_it = batch.status == 'in-progress' and file.listing == batch.fence
  local named = batch.phase == 'wait' or lists_it
  local times = named and count_relists(batch) or 0
  if times > RELISTS_MAX then
    return { 'worn', seq() }
  end
  call('SREM', P .. 'open:' .. batch.id, file.id)
  drop_child(batch.id, file.id)
  if named then
    drop_idle(batch)
    set(batch, { attempts = 1, lost = 0 })
    relist(batch, times > 1 and math.min(250 * 2 ^ (times - 1), RELIST_DELAY_MAX))
  end
  return { named and 'relisted' or 'dropped', note(file.id, 'unlisted', a[2]) }
end

------------------------------------------------------------------------------------------------
-- Leases

local function hold(task, owner, lease_ms)
  call('ZREM', ready_key(task), task.id)
  call('HINCRBY', task.key, 'attempts', 1)
  -- It grows, and is never given twice, not even by a Redis that went back in time.
  local time = call('TIME')
  local fence = math.max((tonumber(task.fence) or 0) + 1, time[1] * 1000000 + time[2])
  set(task, { status = 'in-progress', owner = owner, fence = string.format('%.0f', fence) })
  call('ZADD', lease_key(task), NOW + lease_ms, task.id)
  note(task.id, 'claimed', owner)
  return { task.id, call('HGETALL', task.key) }
end

local function cost(task, part)
  local length = tonumber(call('HGET', task.key, 'length') or '') or 0
  return math.min(math.max(length, COST_MIN), part)
end

-- Takes from one ready key while want.max, want.bytes and `limit` allow; returns how many.
local function take(key, want, limit, out)
  local taken = 0
  while taken < limit and want.max > 0 do
    local id = call('ZRANGE', key, 0, 0)[1]
    if not id then
      break
    end
    local task = load(id)
    if not task or task.status ~= 'pending' then
      call('ZREM', key, id)
    elseif is_gated(task) then -- it was made before its dataset was ordered
      call('ZREM', key, id)
      enqueue(task)
    else
      local bytes = want.class == 'f' and cost(task, want.part) or 0
      if bytes > want.bytes then
        want.max = 0 -- the oldest goes first: smaller ones must not overtake it for ever
        break
      end
      want.max, want.bytes, taken = want.max - 1, want.bytes - bytes, taken + 1
      out[#out + 1] = hold(task, want.owner, want.lease_ms)
    end
  end
  return taken
end

-- Of a dataset that no daemon has registered (Redis lost everything) the order is not known.
local function claim_dataset(ds, want, out)
  if call('SISMEMBER', P .. 'datasets', ds) == 0 then
    return
  end
  local limit = tonumber(option(ds, 'max_' .. want.class) or '')
  limit = limit and limit - call('ZCARD', P .. 'lease:' .. want.class .. ':' .. ds) or want.max
  if option(ds, 'paused') == '1' then
    return
  end
  local suffix = ':' .. want.lane .. ':' .. ds
  local taken = take(P .. 'ready:' .. want.class .. suffix, want, limit, out)
  if want.class == 'x' and room(ds) > 0 then -- commits first: they make room, listing needs it
    take(P .. 'ready:l' .. suffix, want, limit - taken, out)
  end
end

local function claim(a) -- owner lease_ms class lane max bytes part dataset…
  local want = {
    owner = need_token(a[1], 'owner', 200),
    lease_ms = need_int(a[2], 'lease', 1, 86400000),
    class = need_one_of(a[3], { x = true, f = true }, 'class'),
    lane = need_one_of(a[4], LANE, 'lane'),
    max = need_int(a[5], 'max', 0, CLAIM_MAX),
    bytes = need_int(a[6], 'bytes', 0, 9e15),
    part = need_int(a[7], 'part', 0, 9e15),
  }
  local datasets, out = rest(a, 8), {}
  for _, ds in ipairs(datasets) do
    need_dataset_name(ds)
  end
  -- Each call begins elsewhere, so that no dataset starves. The microseconds are as good as a
  -- counter for that, and cost no write.
  local start, trouble = tonumber(call('TIME')[2]), nil
  for i = 1, #datasets do
    local ok, problem = pcall(claim_dataset, datasets[(start + i) % #datasets + 1], want, out)
    trouble = not ok and problem or trouble
  end
  if trouble and #out == 0 then -- a key of a wrong type in one dataset must not stop the others
    error(trouble)
  end
  table.insert(out, 1, seq())
  return out
end

local function beat_one(owner, lease_ms, id, fence, offset)
  local task = load(id)
  if not holds(task, owner, fence) then
    return 'FENCED'
  end
  if task.kind == 'file' and call('HGET', P .. 't:' .. task.parent, 'phase') == 'end' then
    return 'CANCEL'
  end
  call('ZADD', lease_key(task), NOW + lease_ms, id)
  if offset ~= '' then
    local grew = tonumber(offset) > (tonumber(task.offset) or 0)
    set(task, grew and { offset = offset, lost = 0 } or { offset = offset })
  end
  return 'ok'
end

local function beat(a) -- owner lease_ms (id fence offset)…
  local owner, lease_ms, out = a[1], need_int(a[2], 'lease', 1, 86400000), {}
  need(#a % 3 == 2, 'tasks: want id fence offset')
  for i = 3, #a, 3 do
    need_id(a[i])
    need(a[i + 2] == '' or a[i]:sub(1, 2) == 'f/', 'offset: only a file\'s')
    need(a[i + 2] == '' or need_int(a[i + 2], 'offset', 0, 9e15), 'offset')
  end
  for i = 3, #a, 3 do
    out[#out + 1] = beat_one(owner, lease_ms, a[i], a[i + 1], a[i + 2])
  end
  return out
end

local function save(a) -- id owner fence field value…
  local task = need_held(a[1], a[2], a[3])
  set_fields(task, need_fields(a, 4, #a, task.kind == 'file'))
  set(task, {})
  return { 'ok', call('INCR', P .. 'seq') }
end

local function take_row(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'row' then
      table.remove(fields, i)
      return table.remove(fields, i)
    end
  end
  return ''
end

local function has_name(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then
      return true
    end
  end
  return false
end

local function done(a) -- id owner fence [field value]…
  local known = load(need_id(a[1]))
  if known and known.status == 'completed' and known.owner == a[2] and known.fence == a[3] then
    return { 'ok', seq() } -- the answer to an earlier call was lost
  end
  local task = need_held(a[1], a[2], a[3])
  if task.phase ~= 'fin' and task.phase ~= 'run' then
    refuse('BADPHASE ' .. task.phase)
  end
  local fields = need_fields(a, 4, #a, task.kind == 'file')
  local row = task.kind == 'file' and take_row(fields)
  call('ZREM', lease_key(task), task.id)
  set_fields(task, fields)
  if task.kind == 'batch' and has_name(fields, 'manifest') then
    call('HSET', P .. 'ds:' .. task.dataset, 'committed_at', NOW)
  end
  return { 'ok', complete(task, row) }
end

-- A worker that gives its task back in an orderly way was not killed by it: `lost` starts anew.
local function give_back(task, delay, counts)
  call('ZREM', lease_key(task), task.id)
  if not counts then
    call('HINCRBY', task.key, 'attempts', -1)
  end
  set(task, { status = 'pending', owner = '', lost = 0, not_before = NOW + delay })
  if delay > 0 then
    call('ZADD', P .. 'delayed', NOW + delay, task.id)
  else
    enqueue(task)
  end
end

local function fail(a) -- id owner fence delay_ms count error class
  local task = need_held(a[1], a[2], a[3])
  local delay = need_int(a[4], 'delay', -1, 9e12)
  need(a[5] == '0' or a[5] == '1', 'count: want 0 or 1')
  local text, class = (a[6] or ''):sub(1, 500), need_token(a[7], 'class', 40)
  if delay < 0 then
    call('ZREM', lease_key(task), task.id)
    return { 'dead', bury(task, text, class) }
  end
  set(task, { error = text, class = class })
  if a[5] == '0' then -- an attempt that does not count still makes the next wait longer
    call('HINCRBY', task.key, 'waits', 1)
  end
  give_back(task, delay, a[5] == '1')
  return { 'retry', note(task.id, 'retry', class) }
end

local function release(a) -- id owner fence delay_ms [field value]…
  local task = need_held(a[1], a[2], a[3])
  local delay = need_int(a[4], 'delay', 0, 9e12)
  set_fields(task, need_fields(a, 5, #a, task.kind == 'file'))
  give_back(task, delay, false)
  set(task, { waits = 0 })
  if task.kind == 'tail' then -- it never ends: old failures must not add up over months
    set(task, { attempts = 0 })
  end
  return { 'ok', note(task.id, 'released', a[2]) }
end

------------------------------------------------------------------------------------------------
-- Time

local function lapse(task, max_lost, seen)
  seen.lapsed = seen.lapsed + 1
  if call('HINCRBY', task.key, 'lost', 1) >= max_lost then
    bury(task, 'lost its lease ' .. max_lost .. ' times without progress', 'poison')
    seen.poisoned[#seen.poisoned + 1] = task.id
    return
  end
  set(task, { status = 'pending', owner = '' })
  enqueue(task)
  note(task.id, 'lease-lost')
end

local function move_lapsed(key, max_lost, limit, seen)
  local due = call('ZRANGEBYSCORE', key, '-inf', '(' .. NOW, 'LIMIT', 0, limit)
  for _, id in ipairs(due) do
    local task = load(id)
    call('ZREM', key, id)
    if task and task.status == 'in-progress' and task.phase ~= 'wait' then
      lapse(task, max_lost, seen)
    end
  end
  return #due
end

local function move_due(limit)
  local due = call('ZRANGEBYSCORE', P .. 'delayed', '-inf', NOW, 'LIMIT', 0, limit)
  for _, id in ipairs(due) do
    local task = load(id)
    call('ZREM', P .. 'delayed', id)
    if task and task.status == 'pending' then
      enqueue(task)
    end
  end
  return #due
end

-- "<dataset>", or "<dataset>=<bytes>": what it has cost at the source since the last tick.
local function need_costs(words)
  local datasets, bytes = {}, {}
  for i, word in ipairs(words) do
    local ds, count = word:match('^([^=]+)=(.+)$')
    datasets[i] = need_dataset_name(ds or word)
    bytes[i] = need_int(count or '0', 'bytes', 0, 9e15)
  end
  return datasets, bytes
end

local function tick(a) -- owner ttl_ms retention_ms max_lost dataset…
  local owner, ttl_ms = need_token(a[1], 'owner', 200), need_int(a[2], 'ttl', 1, 86400000)
  local retention_ms = need_int(a[3], 'retention', 0, 9e12)
  local max_lost, moved = need_int(a[4], 'max_lost', 1, 1000), 0
  local datasets, bytes = need_costs(rest(a, 5))
  local seen, unknown = { lapsed = 0, poisoned = {} }, 0
  local before = tonumber(call('ZSCORE', P .. 'daemons', owner) or 0) -- the owner knows better?
  call('ZADD', P .. 'daemons', NOW + ttl_ms, owner)
  call('ZREMRANGEBYSCORE', P .. 'daemons', '-inf', NOW)
  for i, ds in ipairs(datasets) do
    if bytes[i] > 0 then
      call('HINCRBY', P .. 'exported', ds, bytes[i])
    end
    for _, lease in ipairs({ 'lease:x:', 'lease:f:' }) do
      moved = moved + move_lapsed(P .. lease .. ds, max_lost, MOVES_MAX - moved, seen)
    end
    open_gate(ds)
    unknown = unknown + 1 - call('SISMEMBER', P .. 'datasets', ds)
  end
  moved = moved + move_due(MOVES_MAX - moved)
  collect(COLLECT_MAX)
  expire(retention_ms)
  return { moved, call('ZCARD', P .. 'daemons'), call('LLEN', P .. 'inbox'), NOW, seq(),
    seen.lapsed, seen.poisoned, before, unknown }
end

------------------------------------------------------------------------------------------------
-- Operators

local MONTH_DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function month_days(year, month)
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return month == 2 and leap and 29 or MONTH_DAYS[month]
end

-- Days since 1970-01-01 of a date in the proleptic Gregorian calendar, counted in years that
-- begin in March, so that the leap day is the last of its year.
local function days_since_epoch(year, month, day)
  local y = month > 2 and year or year - 1
  local m = (month + 9) % 12
  return y * 365 + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400)
    + math.floor((153 * m + 2) / 5) + day - 1 - 719468
end

-- Bare digits are milliseconds only if there are enough of them: 20240201 is a misspelt date.
local function parse_time(text)
  if text:find('^%d+$') then
    return #text >= 12 and #text <= 14 and tonumber(text) or nil
  end
  local y, mo, d, clock = text:match('^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$')
  if not y then
    return nil
  end
  local h, mi, s = '0', '0', '0'
  if clock ~= '' then
    h, mi, s = clock:match('^T(%d%d):(%d%d):(%d%d)Z$')
    if not h then
      h, mi = clock:match('^T(%d%d):(%d%d)Z$')
      s = '0'
    end
  end
  if not h then
    return nil
  end
  y, mo, d = tonumber(y), tonumber(mo), tonumber(d)
  h, mi, s = tonumber(h), tonumber(mi), tonumber(s)
  if y < 1970 or mo < 1 or mo > 12 or d < 1 or d > month_days(y, mo) then
    return nil
  end
  if h > 23 or mi > 59 or s > 59 then
    return nil
  end
  return (((days_since_epoch(y, mo, d) * 24 + h) * 60 + mi) * 60 + s) * 1000
end

local function need_time(text, what)
  local ms = text and parse_time(text)
  need(ms, what .. ': want YYYY-MM-DD, YYYY-MM-DDTHH:MM[:SS]Z or milliseconds since 1970')
  return ms
end

local function backfill(a) -- dataset from to [again]
  local ds = need_known_dataset(a[1])
  local from, to = need_time(a[2], 'from'), need_time(a[3], 'to')
  need(from < to, 'range: from must be before to')
  need(not a[4] or a[4] == 'again', 'after the range: want nothing or again')
  from, to = string.format('%.0f', from), string.format('%.0f', to)
  local base = 'j/' .. ds .. '/' .. from .. '-' .. to
  local id, n = base, 1
  local status = call('HGET', P .. 't:' .. id, 'status')
  while a[4] and (status == 'completed' or status == 'failed') do
    n = n + 1
    id = base .. '/' .. n
    status = call('HGET', P .. 't:' .. id, 'status')
  end
  if status then
    return 'exists ' .. id .. ' ' .. status
  end
  create({ id = id, kind = 'job', dataset = ds, lane = 'backfill', order = from, parent = '',
    fields = { 'from', from, 'to', to } })
  note(id, 'new', 'operator')
  return 'queued ' .. id
end

-- A range of creation times, or one batch: its name in the job's id, and the job's fields.
local function need_subject(a)
  if a[3] then
    local from, to = need_time(a[2], 'from'), need_time(a[3], 'to')
    need(from < to, 'range: from must be before to')
    from, to = string.format('%.0f', from), string.format('%.0f', to)
    return from .. '-' .. to, { 'from', from, 'to', to }
  end
  local batch = need_token(a[2], 'batch', 160)
  need(not batch:find('/') and batch:find('[^.]'), 'batch: no slash, and not only dots')
  local is_time = parse_time(batch) or batch:find('^%d%d%d%d%-%d%d%-%d%d')
  need(not is_time and not batch:find('^%d+%-%d+$'),
    'batch: this is a time; say from and to, or a batch id')
  return batch, { 'batch', batch }
end

-- No two orders get the same one, not even in one millisecond or of two datasets.
local function new_generation(ds)
  local last = 1
  for _, other in ipairs(known_datasets()) do
    last = math.max(last, tonumber(option(other, 'generation') or '') or 0)
  end
  local generation = string.format('%.0f', math.max(NOW, last + 1))
  call('HSET', P .. 'ds:' .. ds, 'generation', generation)
  return generation
end

-- One that has not ended is not ordered a second time; one that failed is to be retried.
local function replay(a) -- dataset (batch | from to)
  local ds = need_known_dataset(a[1])
  local what, fields = need_subject(a)
  need(not a[4], 'after the range: want nothing')
  local base = 'j/' .. ds .. '/replay/' .. what
  local id, n = base, 1
  local found = call('HMGET', P .. 't:' .. id, 'phase', 'status')
  while found[1] == 'end' do
    n = n + 1
    id = base .. '/' .. n
    found = call('HMGET', P .. 't:' .. id, 'phase', 'status')
  end
  if found[1] then
    return 'exists ' .. id .. ' ' .. found[2]
  end
  local generation = new_generation(ds)
  fields[#fields + 1] = 'generation'
  fields[#fields + 1] = generation
  create({ id = id, kind = 'job', dataset = ds, lane = 'backfill', parent = '',
    order = fields[1] == 'from' and fields[2] or '0', fields = fields })
  note(id, 'replay ' .. generation, 'operator')
  return 'queued ' .. id .. ' generation=' .. generation
end

local function retry(a) -- id
  local task, budget = need_task(a[1]), { left = REVIVE_MAX }
  if task.status ~= 'failed' and call('SCARD', P .. 'dead:' .. task.id) == 0 then
    refuse('NOTFAILED it is ' .. task.status .. ' and nothing below it failed')
  end
  if task.kind == 'file' then
    local batch = load(task.parent)
    need(batch and batch.phase ~= 'end', 'id: its batch was skipped or cancelled, retry that')
  end
  if task.phase == 'end' then
    restart(task)
    note(task.id, 'restarted', 'operator')
    budget.left = budget.left - 1
  end
  revive_below(task, budget)
  note(task.id, 'retried', 'operator')
  local revived = 'ok ' .. REVIVE_MAX - math.max(budget.left, 0)
  return budget.left > 0 and revived or revived .. ', repeat it for the rest'
end

-- A batch is committed whole or not at all: so a single file cannot be skipped.
local function skip(a) -- id reason
  local task = need_task(a[1])
  need(task.kind ~= 'file', 'id: a file cannot be left out of its batch, skip the batch')
  need(task.kind ~= 'tail', 'id: a tail cannot be skipped, pause the dataset')
  need(task.status ~= 'completed', 'id: completed already')
  need(a[2] and #a[2] > 0, 'reason: say why')
  if task.phase == 'end' and task.class == 'skipped' then
    return 'ok'
  end
  withdraw(task, 'skipped', a[2]:sub(1, 500), 'operator')
  return 'ok'
end

local function cancel(a) -- job
  local task = need_task(a[1])
  need(task.kind == 'job', 'id: want a job')
  need(task.status ~= 'completed', 'id: completed already')
  if task.phase ~= 'end' then
    withdraw(task, 'cancelled', 'cancelled by an operator', 'operator')
  end
  return 'ok'
end

local function pause(a) -- dataset [0|1]
  local ds, on = need_known_dataset(a[1]), a[2] or '1'
  need(on == '0' or on == '1', 'paused: want 0 or 1')
  call('HSET', P .. 'ds:' .. ds, 'paused', on)
  note('ds/' .. ds, on == '1' and 'paused' or 'resumed', 'operator')
  return 'ok'
end

local function resume(a) -- dataset
  need(not a[2], 'after the dataset: want nothing')
  return pause({ a[1], '0' })
end

local function move_task(task, lane)
  local key = ready_key(task)
  local score = call('ZSCORE', key, task.id)
  set(task, { lane = lane, priority = lane })
  if score then
    call('ZREM', key, task.id)
    call('ZADD', ready_key(task), score, task.id)
  end
end

-- What the tail wants as well stays in its lane.
local function move_below(task, lane, budget)
  if task.lane ~= lane then
    move_task(task, lane)
    budget.left = budget.left - 1
  end
  for _, id in ipairs(call('SMEMBERS', P .. 'open:' .. task.id)) do
    local tailed = call('SISMEMBER', P .. 'up:' .. id, 'tail/' .. task.dataset) == 1
    local child = budget.left > 0 and not tailed and load(id)
    if child then
      move_below(child, lane, budget)
    end
  end
end

local function priority(a) -- job lane
  local task, lane = need_task(a[1]), a[2]
  local budget = { left = LANE_MOVES_MAX }
  need(lane and LANE[lane], 'lane: want live or backfill')
  need(task.kind == 'job', 'id: want a job')
  need(task.phase ~= 'end', 'id: it has ended')
  move_below(task, lane, budget)
  note(task.id, 'priority ' .. lane, 'operator')
  local moved = 'ok ' .. LANE_MOVES_MAX - budget.left
  return budget.left > 0 and moved or moved .. ', repeat it for the rest'
end

-- Limits that live in Redis alone, whatever a daemon is configured with.
local SETTING = { max_f = true, max_x = true }

local function set_limit(a) -- dataset max_f|max_x number|none
  local ds, name = need_known_dataset(a[1]), a[2]
  need(name and SETTING[name], 'setting: want max_f (files in flight) or max_x (other tasks)')
  if a[3] == 'none' then
    call('HDEL', P .. 'ds:' .. ds, name)
  else
    need(a[3] and #a[3] <= 9 and a[3]:find('^%d+$'), name .. ': want a number, or none')
    call('HSET', P .. 'ds:' .. ds, name, tonumber(a[3]))
  end
  note('ds/' .. ds, name .. '=' .. a[3], 'operator')
  return 'ok'
end

local OPERATOR = {
  backfill = backfill, replay = replay, retry = retry, skip = skip, cancel = cancel,
  pause = pause, resume = resume, priority = priority, set = set_limit,
}

local function error_text(problem)
  return type(problem) == 'table' and (problem.refused or problem.err) or tostring(problem)
end

local function reject(raw, reason)
  call('LPUSH', P .. 'inbox:rejected', reason .. ' <- ' .. raw)
  call('LTRIM', P .. 'inbox:rejected', 0, REJECTED_MAX - 1)
  note('inbox', 'rejected', reason:sub(1, 200))
end

-- The oldest element. One that no daemon could take in never leaves Redis.
local function inbox_peek()
  local raw = call('LINDEX', P .. 'inbox', -1)
  if raw and #raw > ELEMENT_MAX then
    call('RPOP', P .. 'inbox')
    reject(raw:sub(1, 200), 'an element of ' .. #raw .. ' bytes')
    raw = ''
  end
  return raw or ''
end

-- Removing the element decides which daemon answers it. From then on it is either carried out
-- or kept with a reason.
local function inbox_take(a) -- raw (run word… | reject reason)
  local raw, verdict = a[1], a[2]
  need(verdict == 'run' or verdict == 'reject', 'verdict: want run or reject')
  need(a[3], 'verdict: want words to run, or a reason')
  if call('LREM', P .. 'inbox', -1, raw) == 0 then
    return { 'gone', '' }
  end
  local ok, answer = false, a[3]
  if verdict == 'run' and OPERATOR[a[3]] then
    ok, answer = pcall(OPERATOR[a[3]], rest(a, 4))
  elseif verdict == 'run' then
    answer = 'BADARG verb: want backfill, replay, retry, skip, cancel, pause, resume, priority '
      .. 'or set'
  end
  if ok then
    return { 'done', answer }
  end
  answer = error_text(answer)
  reject(raw, answer)
  return { 'rejected', answer }
end

local DATASET_LIMIT = { max_f = true, max_x = true, max_open_files = true }

local function dataset(a) -- dataset [option value]…
  local ds, fields = need_dataset_name(a[1]), need_pairs(a, 2, #a)
  for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    need(name ~= 'paused', 'paused: an operator\'s choice, see sluice_pause')
    need(name ~= 'generation', 'generation: counted by sluice_replay')
    need(name ~= 'committed_at', 'committed_at: noted by sluice_done')
    need(name ~= 'order' or MODE[value], 'order: want concurrent, commit or sequential')
    if DATASET_LIMIT[name] then
      need_int(value, name, 0, 9e15)
    end
  end
  call('SADD', P .. 'datasets', ds)
  set_fields({ key = P .. 'ds:' .. ds }, fields)
  return { 'ok', call('INCR', P .. 'seq'), NOW }
end

------------------------------------------------------------------------------------------------
-- Looking

local function rows(a) -- batch cursor
  need_id(a[1])
  need(a[2] and a[2]:find('^%d+$'), 'cursor')
  return call('HSCAN', P .. 'rows:' .. a[1], a[2], 'COUNT', 500)
end

local function ready_count(class, ds)
  return call('ZCARD', P .. 'ready:' .. class .. ':live:' .. ds)
    + call('ZCARD', P .. 'ready:' .. class .. ':backfill:' .. ds)
end

-- Creation of the oldest batch of the tail's time that is not committed though the source lets it
-- be read; 0 if there is none. Of many that the source keeps open the first ones are looked at.
local function oldest_due(ds, start)
  local ids = call('ZRANGEBYSCORE', P .. 'order:' .. ds, start, '+inf', 'WITHSCORES',
    'LIMIT', 0, DUE_MAX)
  for i = 1, #ids, 2 do
    local known = call('HMGET', P .. 't:' .. ids[i], 'phase', 'status_aep', 'class')
    local open = known[1] == 'fan' and known[2] and (known[3] or '') == ''
    if not open then
      return ids[i + 1]
    end
  end
  return '0'
end

local function stat_dataset(ds)
  local tail = call('HMGET', P .. 't:tail/' .. ds, 'offset', 'status', 'start', 'seen_to')
  return table.concat({ ds,
    'order=' .. order_mode(ds), 'paused=' .. (option(ds, 'paused') or '0'),
    'tail=' .. (tail[2] or 'none'), 'watermark=' .. (tail[1] or '0'):match('^%d*'),
    'to_list=' .. ready_count('l', ds), 'to_commit=' .. ready_count('x', ds),
    'to_copy=' .. ready_count('f', ds),
    'running=' .. call('ZCARD', P .. 'lease:x:' .. ds),
    'copying=' .. call('ZCARD', P .. 'lease:f:' .. ds),
    'open_files=' .. call('SCARD', P .. 'open-files:' .. ds),
    'uncommitted=' .. call('ZCARD', P .. 'order:' .. ds),
    'gated=' .. call('ZCARD', P .. 'shut:' .. ds),
    'unlisted=' .. call('ZCARD', P .. 'unlisted:' .. ds),
    'max_f=' .. (option(ds, 'max_f') or 'none'), 'max_x=' .. (option(ds, 'max_x') or 'none'),
    'exported=' .. (call('HGET', P .. 'exported', ds) or '0'),
    'seen_to=' .. (tail[4] or '0'), 'oldest_due=' .. oldest_due(ds, tail[3] or '0'),
    'committed_at=' .. (option(ds, 'committed_at') or '0') }, ' ')
end

local function stat()
  local lines = {}
  for _, ds in ipairs(known_datasets()) do
    lines[#lines + 1] = stat_dataset(ds)
  end
  lines[#lines + 1] = table.concat({ 'total',
    'delayed=' .. call('ZCARD', P .. 'delayed'), 'dead=' .. call('ZCARD', P .. 'dead'),
    'daemons=' .. call('ZCARD', P .. 'daemons'), 'inbox=' .. call('LLEN', P .. 'inbox'),
    'rejected=' .. call('LLEN', P .. 'inbox:rejected'), 'gc=' .. call('LLEN', P .. 'gc'),
    'seq=' .. seq() }, ' ')
  return table.concat(lines, '\n') .. '\n'
end

-- The index in which a task is found, with the score it has there; nil if it is in none.
local function place(task)
  for _, key in ipairs({ ready_key(task), P .. 'delayed', lease_key(task),
    P .. 'shut:' .. task.dataset, P .. 'dead' }) do
    local score = call('ZSCORE', key, task.id)
    if score then
      return key:sub(#P + 1) .. ' ' .. score
    end
  end
  return nil
end

local function show_set(lines, name, id)
  local members = call('SRANDMEMBER', P .. name .. ':' .. id, 10)
  table.sort(members)
  lines[#lines + 1] = name .. ' ' .. call('SCARD', P .. name .. ':' .. id) .. ' ' ..
    table.concat(members, ' ')
end

local function show(a) -- id
  local task, lines = need_task(a[1]), {}
  local flat = call('HGETALL', task.key)
  for i = 1, #flat, 2 do
    lines[#lines + 1] = flat[i] .. ' ' .. flat[i + 1]
  end
  table.sort(lines)
  table.insert(lines, 1, 'id ' .. task.id)
  table.insert(lines, 2, 'place ' .. (place(task) or task.phase))
  for _, name in ipairs({ 'up', 'open', 'dead' }) do
    show_set(lines, name, task.id)
  end
  return table.concat(lines, '\n') .. '\n'
end

------------------------------------------------------------------------------------------------
-- Repair: every index from the hashes. Pass a over all ids, then pass b over all ids. Daemons do
-- that in the background (daemon/repair.c).

-- The record of a child is gone. What is known of a batch of a tail makes it anew; in all other
-- cases its parent is listed once more.
local function recall(task, id)
  call('SREM', P .. 'open:' .. task.id, id)
  call('SREM', P .. 'dead:' .. task.id, id)
  local order = call('ZSCORE', P .. 'order:' .. task.dataset, id)
  if task.kind == 'tail' and order then
    create({ id = id, kind = 'batch', dataset = task.dataset, lane = task.lane, order = order,
      parent = task.id, fields = {} })
  elseif task.phase == 'fan' then
    set(task, { offset = '0' }) -- whoever is listing it now is fenced by its cursor
    enlist(task)
  elseif task.phase == 'wait' then
    relist(task)
  end
end

-- Children and parents as the open set of a task has them.
local function fix_children(task)
  local n = 0
  for _, id in ipairs(call('SMEMBERS', P .. 'open:' .. task.id)) do
    local child = load(id)
    if not child then
      recall(task, id)
      n = n + 1
    elseif child.phase == 'end' then
      n = n + call('SREM', P .. 'open:' .. task.id, id)
      call('SREM', P .. 'dead:' .. task.id, id)
    elseif child.kind ~= 'file' then
      n = n + call('SADD', P .. 'up:' .. id, task.id)
    end
  end
  for _, id in ipairs(call('SMEMBERS', P .. 'dead:' .. task.id)) do
    local child = load(id)
    if not child or child.status ~= 'failed' then
      n = n + call('SREM', P .. 'dead:' .. task.id, id)
    end
  end
  return n
end

-- The sets of parents and of children mirror each other: what one side lost the other knows.
local function fix_links(task, given)
  local n = fix_children(task)
  if task.kind ~= 'file' then
    given[#given + 1] = task.parent
    for _, id in ipairs(given) do
      local phase = call('HGET', P .. 't:' .. id, 'phase')
      if phase and phase ~= 'end' then
        n = n + call('SADD', P .. 'up:' .. task.id, id)
      end
    end
  end
  for _, id in ipairs(parents(task)) do
    n = n + call('SADD', P .. 'open:' .. id, task.id)
    if task.status == 'failed' then
      n = n + call('SADD', P .. 'dead:' .. id, task.id)
    end
  end
  return n
end

local function fix_place(task)
  if task.status == 'pending' then
    if place(task) then
      return 0
    end
    enqueue(task)
    return 1
  end
  if task.status == 'failed' then
    return call('ZADD', P .. 'dead', 'NX', NOW, task.id)
  end
  return task.phase == 'wait' and 0 or call('ZADD', lease_key(task), 'NX', NOW, task.id)
end

local function fix_end(task)
  local n = 0
  if task.kind ~= 'file' and task.class ~= 'skipped' then
    n = call('ZADD', P .. 'done', 'NX', NOW, task.id)
  end
  local left = call('EXISTS', P .. 'rows:' .. task.id, P .. 'open:' .. task.id)
  if left > 0 and not call('LPOS', P .. 'gc', task.id) then
    call('LPUSH', P .. 'gc', task.id)
    n = n + 1
  end
  return n
end

local function fix(a) -- a|b id [parent]…
  need(a[1] == 'a' or a[1] == 'b', 'pass: want a or b')
  local task, given = load(need_id(a[2])), rest(a, 3)
  for _, id in ipairs(given) do
    need_id(id)
  end
  if not task then
    return 0
  end
  if a[1] == 'b' then
    settle(task)
    open_gate(task.dataset)
    return 0
  end
  local n
  if task.phase == 'end' then
    n = fix_end(task)
  elseif task.phase == 'fin' and task.status == 'pending' and lacks_rows(task) then
    relist(task)
    n = 1
  else
    n = fix_links(task, given)
    n = n + enlist(task) + fix_place(task)
  end
  if n > 0 then
    note(task.id, 'fixed')
  end
  return n
end

local function version()
  return VERSION
end

------------------------------------------------------------------------------------------------
-- Registration

local function register(name, run, ...)
  local function callback(keys, args)
    if #keys ~= 1 then
      return redis.error_reply('BADARG keys: want one, the prefix')
    end
    P = keys[1]
    NOW = now()
    local ok, answer = pcall(run, args)
    if ok then
      return answer
    end
    if type(answer) == 'table' and answer.refused then
      return redis.error_reply(answer.refused)
    end
    error(answer)
  end
  redis.register_function {
    function_name = 'sluice_' .. name, callback = callback, flags = { ... },
  }
end

-- At maxmemory the system drains (allow-oom) but does not grow.
register('submit', submit)
register('fan', fan)
register('relist', relist_batch, 'allow-oom')
register('claim', claim)
register('beat', beat, 'allow-oom')
register('save', save, 'allow-oom')
register('done', done, 'allow-oom')
register('fail', fail, 'allow-oom')
register('release', release, 'allow-oom')
register('tick', tick, 'allow-oom')
register('fix', fix, 'allow-oom')
register('rows', rows, 'no-writes', 'allow-oom')
register('dataset', dataset)
register('backfill', backfill)
register('replay', replay)
register('retry', retry)
register('skip', skip, 'allow-oom')
register('cancel', cancel, 'allow-oom')
register('pause', pause, 'allow-oom')
register('resume', resume, 'allow-oom')
register('priority', priority, 'allow-oom')
register('set', set_limit, 'allow-oom')
register('inbox_peek', inbox_peek, 'allow-oom')
register('inbox_take', inbox_take)
register('stat', stat, 'no-writes', 'allow-oom')
register('show', show, 'no-writes', 'allow-oom')
register('version', version, 'no-writes', 'allow-oom')
