# SPDX-License-Identifier: Apache-2.0
"""Batch Ingestion: batches that clients write, from the first call to what readers see.

A batch is `loading` while its files come in (upload.py has the calls for files). COMPLETE looks
at them and lets the batch run through loaded, staging and staged to success or failed; then
readers see the very bytes that were sent, under the names they were sent as.
"""
import collections
import time
from dataclasses import dataclass, field

from aiohttp import web

import ground
from catalog import USER
from gateway import bad_request, gateway_error, single_query
from ground import Batch, DatasetFile, File
from spool import STORED, Spool
from upload import Uploads, refused, short_url
from validate import judge

IMPORT = "/data/foundation/import"
FORMATS = ("json", "parquet", "csv")
ACTIONS = ("COMPLETE", "ABORT", "REVERT", "FAIL")
ABORTABLE = ("loading", "queued", "processing", "retrying")
ENDED = ("aborted", "abandoned", "failed", "failure", "inactive", "deleted")


@dataclass
class Load:
    """A batch that is being written: path -> what was sent so far."""
    batch: Batch
    files: dict = field(default_factory=dict)
    percent: float = 0
    form: str = "parquet"
    predecessors: list = field(default_factory=list)


class Ingestion:
    """The service."""

    def __init__(self, state):
        self.state = state
        self.loads = {}
        self.spool = Spool()
        self.created = collections.deque()  # when batches were created lately

    def routes(self):
        """Batches here; files in upload.py."""
        return [web.post(IMPORT + "/batches", self.create, name="create_batch"),
                web.post(IMPORT + "/batches/{id}", self.act, name="batch_action"),
                *Uploads(self).routes(IMPORT)]

    def option(self, name):
        """An option of the world."""
        return self.state.world.options[name]

    async def create(self, request):
        """POST /batches"""
        short_url(request)
        single_query(request, set())
        self.count_batches()
        fields = await self.body(request)
        dataset = self.state.world.datasets.get(fields.get("datasetId"))
        if dataset is None or dataset.sandbox != request.headers["x-sandbox-name"]:
            raise bad_request(f"datasetId {fields.get('datasetId')!r} does not exist")
        load = self.open(dataset, fields)
        reply = {"id": load.batch.id, "imsOrg": self.state.world.org, "updated": 0,
                 "status": "loading", "created": 0, "version": "1.0.0",
                 "relatedObjects": [{"type": "dataSet", "id": dataset.id}],
                 "tags": load.batch.tags, "createdUser": USER, "updatedUser": USER}
        if load.batch.replay:
            reply["replay"] = load.batch.replay
        if self.option("create_reply") == "keyed":
            reply = {load.batch.id: reply | {"created": load.batch.created}}
        return web.json_response(reply, status=201)

    def count_batches(self):
        """The guardrail on batches per minute."""
        now, limit = time.monotonic(), self.option("batches_per_minute")
        while self.created and self.created[0] <= now - 60:
            self.created.popleft()
        if len(self.created) >= limit:
            wait = int(self.created[0] + 60 - now) + 1
            raise gateway_error(429, "429050", "Too many requests", {"Retry-After": str(wait)})
        self.created.append(now)

    async def body(self, request):
        """The JSON of a creation. The guide's sample sent no content type at all."""
        strict = self.option("create_reply") == "flat"
        if strict and request.content_type != "application/json":
            raise bad_request("A valid content-type must be specified")
        try:
            fields = await request.json()
        except ValueError:
            raise bad_request("the body is not JSON") from None
        if not isinstance(fields, dict):
            raise bad_request("the body is not an object")
        return fields

    def open(self, dataset, fields):
        """A new batch of the world, loading."""
        world = self.state.world
        given = fields.get("inputFormat", {})
        form = str(given.get("format", dataset["format"])).lower()
        if form not in FORMATS:
            raise bad_request(f"inputFormat.format '{form}' is none of {', '.join(FORMATS)}")
        replay, predecessors = self.replay(dataset, fields.get("replay") or {})
        percent = fields.get("partialIngestionPercent",
                             fields.get("partialIngestionPercentage", 0))
        if not isinstance(percent, (int, float)) or not 0 <= percent <= 100:
            raise bad_request(f"partialIngestionPercent must be between 0 and 100: {percent!r}")
        now = ground.now_ms()
        batch = Batch(world.new_id("ulid", now), dataset.id, now, "loading", updated=now,
                      version=0, replay=replay, tags=tags_of(fields, percent),
                      extra={"inputFormat": given | {"format": form}})
        if "externalId" in fields:
            batch.extra["externalId"] = fields["externalId"]
        multi = form == "json" and given.get("isMultiLineJson")
        self.loads[batch.id] = Load(world.add(batch), {}, percent,
                                    "document" if multi else form, predecessors)
        return self.loads[batch.id]

    def replay(self, dataset, wanted):
        """(replay as the batch shows it, the batches that it will replace)."""
        if not wanted:
            return {}, []
        batches = [batch for batch in self.state.world.batches.values()
                   if batch.dataset == dataset.id]
        names = [name.removeprefix("$") for name in wanted.get("predecessors", [])]
        others = [name.removeprefix("$") for name in wanted.get("predecessorsByExternalId", [])]
        by_id = {batch.id: batch for batch in batches}
        by_external = {batch.extra.get("externalId", batch.id): batch for batch in batches}
        missing = ([name for name in names if name not in by_id]
                   + [name for name in others if name not in by_external])
        if missing:
            raise bad_request(f"replay: no batch {', '.join(missing)} in dataset {dataset.id}")
        found = [by_id[name] for name in names] + [by_external[name] for name in others]
        listing = wanted.get("predecessorListingType", "IMMEDIATE")
        if listing == "ALL":
            found = with_ancestors(found, by_id)
        shown = {"predecessors": names, "predecessorsByExternalId": others,
                 "predecessorListingType": listing, "reason": wanted.get("reason", "replace")}
        return shown, found

    async def act(self, request):
        """POST /batches/{id}?action="""
        short_url(request)
        query = single_query(request, {"action"})
        action = query.get("action", "").upper()
        if action not in ACTIONS:
            raise bad_request(f"action '{query.get('action', '')}' is none of "
                              f"{', '.join(ACTIONS)}")
        batch = self.batch(request)
        getattr(self, action.lower())(batch, batch.current()[0])
        return web.Response()

    def batch(self, request):
        """The batch of the path, or 404."""
        world, name = self.state.world, request.match_info["id"]
        batch = world.batches.get(name)
        if batch is None or world.sandbox_of(batch) != request.headers["x-sandbox-name"]:
            raise refused(404, "NotFoundError", f"batch {name} not found")
        return batch

    def complete(self, batch, status):
        """All files are there. Repeating it is safe."""
        if status in ENDED:
            raise bad_request(f"batch {batch.id} is {status}, it cannot be completed")
        load = self.loads.get(batch.id)
        if status != "loading" or load is None:
            return
        open_files = [path for path, file in load.files.items() if not file.done]
        if open_files:
            raise bad_request(f"files are not complete: {', '.join(open_files)}")
        files = [File(path, sent.size, STORED + sent.path) for path, sent in load.files.items()]
        if files:
            batch.files = [DatasetFile(f"{batch.id}-1", files)]
            self.state.world.index[batch.files[0].id] = (batch, batch.files[0])
        fails, batch.failed_records = judge(load.form, files, load.percent)
        self.promote(batch, "failed" if fails else "success")

    def promote(self, batch, last):
        """The way of a completed batch; when it has become readable, what it replaces goes."""
        delay = self.option("promotion_ms")
        batch.version, batch.updated, batch.born = 3, 0, ground.now_ms()
        batch.status = "loaded"
        batch.life = [[0, "loaded"], [delay // 3, "staging"], [delay * 2 // 3, "staged"],
                      [delay, last]]
        load = self.loads.pop(batch.id)
        for old in load.predecessors if last == "success" else ():
            old.status, old.updated = old.current()
            old.life, old.held_until = [], 0
            old.life = [[ground.now_ms() - old.born + delay, "inactive"]]
            old.successor, old.version = batch.id, old.version + 1

    def abort(self, batch, status):
        """Only before the data is complete."""
        if status == "aborted":
            return
        if status not in ABORTABLE:
            raise bad_request(f"batch {batch.id} is {status}, it can no longer be aborted")
        self.loads.pop(batch.id, None)
        batch.set_status("aborted")

    def revert(self, batch, status):
        """Readable batches become inactive, and are deleted later."""
        if status in ("inactive", "deleted"):
            return
        if status not in ground.READABLE:
            raise bad_request(f"batch {batch.id} is {status}, it cannot be reverted")
        batch.set_status("inactive")
        batch.life = [[ground.now_ms() - batch.born + self.option("deletion_ms"), "deleted"]]

    def fail(self, batch, status):
        """The writer gives up."""
        if status not in ABORTABLE:
            raise bad_request(f"batch {batch.id} is {status}, it can no longer fail")
        self.loads.pop(batch.id, None)
        batch.set_status("failed")


def tags_of(fields, percent):
    """The tags of a creation, and those that its switches become."""
    tags = dict(fields.get("tags", {}))
    if "enableErrorDiagnostics" in fields:
        tags["acp_enableErrorDiagnostics"] = [str(fields["enableErrorDiagnostics"]).lower()]
    if percent:
        tags["acp_partialIngestionPercent"] = percent
    return tags


def with_ancestors(batches, by_id):
    """The batches, and all that they replaced."""
    found, left = {}, list(batches)
    while left:
        batch = left.pop(0)
        if batch.id not in found:
            found[batch.id] = batch
            left += [by_id[name] for name in batch.replay.get("predecessors", [])
                     if name in by_id]
    return list(found.values())
