# SPDX-License-Identifier: Apache-2.0
"""What the platform does to batches after their success: it merges them, replaces them, takes
them back. The methods of a World that know about it."""
import itertools

ROW_BYTES = 100
BAD_ENDS = ("failed", "failure", "aborted", "abandoned")
# What a batch passes on its way; the last word stays.
PATHS = {
    "straight": ("loading", "loaded", "queued", "processing", "staging", "staged", "success"),
    "active": ("loading", "loaded", "staging", "staged", "active"),
    "retrying": ("loading", "loaded", "processing", "retrying", "processing", "retrying",
                 "staging", "success"),
    "stalled": ("loading", "loaded", "staging", "retrying", "stalled", "staging", "success"),
    "failed": ("loading", "loaded", "processing", "failed"),
    "failure": ("loading", "loaded", "queued", "retrying", "failure"),
    "aborted": ("loading", "aborted"),
    "abandoned": ("loading", "abandoned"),
}


def life(path, step_ms):
    """The life of a batch that takes one of the paths, in steps of equal length."""
    return [[number * step_ms, status] for number, status in enumerate(PATHS[path])]


def shares(rows, parts):
    """Rows as [origin, begin, end], in order, in `parts` lists of nearly equal length."""
    total = sum(end - begin for _, begin, end in rows)
    bounds = [total * number // parts for number in range(1, parts + 1)]
    lists, at, left = [[]], 0, list(rows)
    while left:
        origin, begin, end = left.pop(0)
        while at == bounds[len(lists) - 1]:
            lists.append([])
        upto = min(end, begin + bounds[len(lists) - 1] - at)
        lists[-1].append([origin, begin, upto])
        at += upto - begin
        if upto < end:
            left.insert(0, [origin, upto, end])
    return lists + [[] for _ in range(parts - len(lists))]


class Lineage:
    """Of World, which has `batches` and `datasets`."""

    def consolidate(self, batches, *, into=1, after_ms=0, **more):
        """A new batch with the rows of `batches`, which become inactive `after_ms` later. Its
        own life may be given: it need not be readable at that time."""
        rows = [row for batch in batches for row in batch.held()]
        parts = [part for part in shares(rows, into) if part] if rows else []
        sizes = [max(sum(end - begin for _, begin, end in part) * ROW_BYTES - 60, 1)
                 for part in parts]
        replay = {"predecessors": [batch.id for batch in batches], "reason": "consolidation"}
        made = self.datasets[batches[0].dataset].batch(sizes, replay=replay, **more)
        for (_, file), part in zip(made.rows(), parts):
            file.rows = part
        return self._succeed(made, batches, after_ms)

    def replace(self, batches, files, *, reason="replace", listing="IMMEDIATE", after_ms=0,
                external=False, **more):
        """A new batch with other rows. `listing` ALL names also those that `batches` had
        replaced or merged; `external` names all by their external ids."""
        named = list(batches) + (self.ancestors(batches) if listing == "ALL" else [])
        member = "predecessorsByExternalId" if external else "predecessors"
        replay = {member: [batch.id for batch in named], "reason": reason}
        if listing == "ALL":
            replay["predecessorListingType"] = "ALL"
        made = self.datasets[batches[0].dataset].batch(files, replay=replay, **more)
        return self._succeed(made, batches, after_ms)

    @staticmethod
    def _succeed(made, batches, after_ms):
        for batch in batches:
            batch.successor = made.id
            batch.plan((after_ms, "inactive"))
        return made

    def ancestors(self, batches):
        """All that these batches have merged or replaced, directly or not."""
        found, left = {}, list(batches)
        while left:
            replay = left.pop().replay
            for name in (*replay.get("predecessors", ()),
                         *replay.get("predecessorsByExternalId", ())):
                if name in self.batches and name not in found:
                    found[name] = self.batches[name]
                    left.append(found[name])
        return list(found.values())

    @staticmethod
    def revert(batch, deleted_ms=60_000):
        """The batch is taken back, its data collected later."""
        batch.plan((0, "inactive"), (deleted_ms, "deleted"))

    def delete_dataset(self, dataset_id):
        """The dataset and all that it had are gone."""
        self.datasets[dataset_id].gone = True
        for batch in self.of_dataset(dataset_id):
            batch.set_status("deleted")

    def of_dataset(self, dataset_id):
        """Its batches."""
        return [batch for batch in self.batches.values() if batch.dataset == dataset_id]

    def eldest(self, dataset_id, count):
        """The oldest readable batches with rows of a dataset: what platforms like to merge."""
        found = (batch for batch in sorted(self.of_dataset(dataset_id), key=lambda b: b.created)
                 if batch.free() and batch.held())
        return list(itertools.islice(found, count))
