# SPDX-License-Identifier: Apache-2.0
"""Data Access for people: previews of datasets, files of failed batches, diagnostics."""
import csv
import io
import itertools
import urllib.parse

from aiohttp import web

import xdm
from access import ORIGIN, Sending
from failures import FAILED, meta_files, records
from gateway import EXPORT, bad_request, not_found, single_query, whole_number
from paging import window
from validate import is_stored

PREVIEW_ROWS = 100
PREVIEWED = ("csv", "parquet")
CSV_MAX = 1 << 20  # bytes of a file that are looked at


class Diagnose:
    """The service."""

    def __init__(self, state):
        self.state = state

    def routes(self):
        """All are read only."""
        return [
            web.get(EXPORT + "/datasets/{id}/preview", self.preview, name="preview",
                    allow_head=False),
            web.get(EXPORT + "/batches/{id}/failed", self.failed, name="failed",
                    allow_head=False),
            web.get(EXPORT + "/batches/{id}/meta", self.meta, name="meta", allow_head=False),
        ]

    def hit(self, name, request):
        """The armed fault of this name, if it strikes this request."""
        return self.state.faults.hit(name, request["endpoint"], request["target"])

    async def preview(self, request):
        """GET /datasets/{id}/preview"""
        single_query(request, set())
        name = request.match_info["id"]
        world = self.state.world
        dataset = world.datasets.get(name)
        if dataset is None or dataset.sandbox != request.headers["x-sandbox-name"]:
            raise not_found("dataset", name)
        if dataset["format"] not in PREVIEWED:
            raise bad_request(f"preview: format {dataset['format']} is not supported")
        rows = itertools.islice(rows_of(world, dataset), PREVIEW_ROWS)
        return web.json_response({"data": list(rows)})

    def batch(self, request):
        """The batch of the path, or 404."""
        world, name = self.state.world, request.match_info["id"]
        batch = world.batches.get(name)
        if batch is None or world.sandbox_of(batch) != request.headers["x-sandbox-name"]:
            raise not_found("batch", name)
        return batch

    async def failed(self, request):
        """GET /batches/{id}/failed: what was sent, as it was sent."""
        query = single_query(request, {"start", "limit", "path"})
        batch = self.batch(request)
        files = {}
        if batch.current()[0] in FAILED:
            for item in batch.dataset_files():
                for file in item.files:
                    files.setdefault(file.name, (item, file))
        if "path" not in query:
            rows = [entry(request, name, name, file.size) for name, (_, file) in files.items()]
            return self.listing(request, rows, query)
        if query["path"] not in files:
            raise not_found("path", query["path"])
        return await Sending(self, request, *files[query["path"]]).run()

    async def meta(self, request):
        """GET /batches/{id}/meta: a small tree of directories and files."""
        query = single_query(request, {"start", "limit", "path"})
        files = meta_files(self.state.world, self.batch(request))
        path = query.get("path", "").rstrip("/")
        if path in files:
            return web.Response(text=files[path], content_type="application/json")
        directory = f"{path}/" if path else ""
        lengths = {}
        for name, text in files.items():
            if name.startswith(directory):
                inner = name.removeprefix(directory).split("/")[0]
                whole = directory + inner
                lengths[inner] = len(files[whole].encode()) if whole in files else 0
        if not lengths:
            raise not_found("path", path)
        rows = [entry(request, name, directory + name, length)
                for name, length in lengths.items()]
        return self.listing(request, rows, query)

    def listing(self, request, rows, query):
        """One page in the shape of Data Access."""
        limit = whole_number(query, "limit", 100, 1, 100)
        start = whole_number(query, "start", 0)
        page, following = window(self.state, request, rows, start, limit)
        body = {"data": page, "_page": {"limit": limit, "count": len(rows)}}
        if following is not None:
            path = f"path={quoted(query['path'])}&" if "path" in query else ""
            body["_links"] = {"next": {"href": f"{ORIGIN}{request.rel_url.raw_path}?{path}"
                                               f"start={following}&limit={limit}"}}
        return web.json_response(body)


def quoted(path):
    """Percent-encoded, slashes as well."""
    return urllib.parse.quote(path, safe="")


def entry(request, name, path, length):
    """One row of a listing; numbers are text here."""
    return {"name": name, "length": str(length), "_links": {"self": {
        "href": f"{ORIGIN}{request.rel_url.raw_path}?path={quoted(path)}"}}}


def rows_of(world, dataset):
    """The rows of a dataset in the order of its batches. CSV that was really sent is read, all
    other rows are made from the schema, as many as the metrics of the batch claim."""
    batches = sorted((batch for batch in world.batches.values()
                      if batch.dataset == dataset.id and batch.readable()),
                     key=lambda batch: batch.created)
    for batch in batches:
        for _, file in batch.data():
            if dataset["format"] == "csv" and is_stored(file):
                yield from csv_rows(file)
            else:
                for number in range(records(file.size)):
                    yield xdm.example_row(dataset["fields"], file.key, number)


def csv_rows(file):
    """The rows of a CSV file with a header."""
    text = file.content().read(0, CSV_MAX).decode(errors="replace")
    return csv.DictReader(io.StringIO(text))
