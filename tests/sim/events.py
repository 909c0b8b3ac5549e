# SPDX-License-Identifier: Apache-2.0
"""Faults that change the world at the moment of a call: what the caller knew is no longer so."""
import ground
from ground import ODD_NAMES


def batch_of(world, request):
    """The batch that a call is about, or None."""
    name = request.match_info.get("id", "")
    return world.batches.get(name) or world.dataset_file(name)[0]


def dataset_of(world, request):
    """The dataset that a call is about, or None."""
    batch = batch_of(world, request)
    name = batch.dataset if batch else request.query.get("dataSet", "")
    return world.datasets.get(name)


def compaction(world, request, args):
    """The files of the batch get other names, or become one file."""
    batch = batch_of(world, request)
    if batch and batch.readable():
        batch.rename_files() if args["how"] == "rename" else batch.compact()


def reverted(world, request, args):
    """The batch is taken back, and deleted some time later."""
    batch = batch_of(world, request)
    if batch and batch.free() and (args["merged"] or not batch.merges()):
        world.revert(batch, args["deleted_ms"])


def row_expiry(world, request, _args):
    """Some of the batch's files vanish with their rows."""
    batch = batch_of(world, request)
    if batch and batch.free():
        batch.expire()


def consolidation(world, request, args):
    """The oldest batches of the dataset are merged into one."""
    merge(world, request, args["batches"], lambda batches: world.consolidate(
        batches, created=ground.now_ms(), after_ms=args["after_ms"]))


def replacement(world, request, args):
    """The oldest batches of the dataset are replaced by one with other rows."""
    merge(world, request, args["batches"], lambda batches: world.replace(
        batches, [700, 900], reason=args["reason"].replace("_", " "), listing=args["listing"],
        created=ground.now_ms()))


def merge(world, request, count, make):
    """Applies to what exists."""
    dataset = dataset_of(world, request)
    batches = world.eldest(dataset.id, count) if dataset else []
    if batches:
        make(batches)


def dataset_deleted(world, request, _args):
    """The dataset is gone."""
    dataset = dataset_of(world, request)
    if dataset:
        world.delete_dataset(dataset.id)


def odd_batches(world, request, _args):
    """Batches appear: an empty one, one with nothing but a marker, with an empty part, with odd
    names, with the same name under two dataset files; and a sub-batch."""
    dataset = dataset_of(world, request)
    if not dataset:
        return
    parent = dataset.batch([500], created=ground.now_ms())
    for directories in ([], [[("_SUCCESS", 0)]], [[0]], [[0, 300]],
                        [[(name, 200) for name in ODD_NAMES]],
                        [[("part.parquet", 100)], [("part.parquet", 200)]]):
        dataset.batch(directories=directories, created=ground.now_ms())
    dataset.sub_batch(parent)


def huge_file(world, request, args):
    """A batch with a file that is longer than 32 bits can say appears."""
    dataset = dataset_of(world, request)
    if dataset:
        dataset.batch([("huge.parquet", args["size"])], created=ground.now_ms())


EVENTS = {make.__name__: make for make in (
    compaction, reverted, row_expiry, consolidation, replacement, dataset_deleted, odd_batches,
    huge_file)}
