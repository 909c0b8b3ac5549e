# SPDX-License-Identifier: Apache-2.0
"""What a reader of the bucket reads: which manifests count, and which rows that makes. Written
from the rules that are told to readers, not from the daemon:

    a manifest counts if its batch has no revocation record and no manifest that counts names it
    in `replaces`; one with `consolidates` has no entries, its predecessors' manifests have them;
    of a dataset of snapshots only the newest that counts is read.
"""
import collections


def counting(manifests, revoked):
    """Of {batch id: head}, those that count."""
    rivals = collections.defaultdict(list)  # batch -> those that replace it
    for name, head in manifests.items():
        for replaced in head.get("replaces", ()):
            rivals[replaced].append(name)
    known = {}

    def counts(name):
        if name not in known:
            known[name] = False  # for a circle of replacements, which nobody may write
            known[name] = name not in revoked and not any(map(counts, rivals[name]))
        return known[name]
    return {name for name in manifests if counts(name)}


def merged(rows):
    """Rows as [origin, begin, end], in any order: ({origin: disjoint spans in order}, those that
    came twice)."""
    spans, doubles = collections.defaultdict(list), []
    for origin, begin, end in sorted(rows):
        mine = spans[origin]
        if mine and begin < mine[-1][1]:
            doubles.append((origin, begin, min(end, mine[-1][1])))
        if mine and begin <= mine[-1][1]:
            mine[-1][1] = max(end, mine[-1][1])
        else:
            mine.append([begin, end])
    return spans, doubles


def beyond(spans, others):
    """What is in `spans` and not in `others`: [(origin, begin, end)]"""
    found = []
    for origin, mine in spans.items():
        for begin, end in mine:
            for other_begin, other_end in others.get(origin, ()):
                if begin < other_begin < end:
                    found.append((origin, begin, other_begin))
                if other_begin < end and other_end > begin:
                    begin = max(begin, other_end)
            if begin < end:
                found.append((origin, begin, end))
    return found
