# SPDX-License-Identifier: Apache-2.0
"""Windows over listings, with the faults that spoil them without losing a row."""
import itertools
import re

START = re.compile(r"[?&](start|offset)=[^&]*")


def window(state, request, rows, start, limit):
    """The rows of one page, and where the next one begins (None after the last)."""
    def hit(name):
        return state.faults.hit(name, request["endpoint"], request["target"])

    empty, short = hit("list_empty_then_full"), hit("short_pages")
    if empty and count_calls(empty, request.path) <= empty.args["calls"]:
        return [], None
    limit = min(limit, state.world.options["page_max"])
    if short:
        limit = min(limit, short.args["rows"])
    walking = start or request["endpoint"] == "batches"
    if walking and start < len(rows) and hit("empty_page"):
        return [], None
    walk = START.sub("", request["target"])
    begin = max(start - pushed(hit("duplicate_rows"), walk, start, len(rows)), 0)
    following = start + limit if begin + limit < len(rows) else None
    return rows[begin:begin + limit], following


def part_of(fault, path, rows, start):
    """files_partial: the index knows half of the rows during the first walks."""
    if not fault:
        return rows
    walks = fault.memory.get(path, 0) if start else count_calls(fault, path)
    return rows[:len(rows) // 2] if walks <= fault.args["calls"] else rows


def count_calls(fault, path):
    """How often this object was listed since the fault was armed."""
    fault.memory[path] = fault.memory.get(path, 0) + 1
    return fault.memory[path]


def pushed(fault, walk, start, count):
    """How far rows that came in at the head pushed the others during this walk: whoever pages
    by offset meets the last row of a page again on the next. At some time no more come."""
    if not fault or start >= count + fault.memory.get(walk, 0):
        return 0
    fault.memory[walk] = 0 if start == 0 else fault.memory.get(walk, 0) + 1
    return min(fault.memory[walk], fault.args["rows"])


def stir_ties(fault, rows, key):
    """Shuffles the rows that have the same key; `rows` is sorted by it."""
    stirred = []
    for _, group in itertools.groupby(rows, key):
        group = list(group)
        fault.random.shuffle(group)
        stirred += group
    return stirred
