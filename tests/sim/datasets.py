# SPDX-License-Identifier: Apache-2.0
"""Catalog: datasets, their last batches, and the older ways to their files and schemas."""
import copy

from aiohttp import web

import xdm
from conditions import guard
from dataset_row import (batches_by_dataset, dataset_file_rows, dataset_row, last_batches,
                         view_of, xdm_path)
from gateway import CATALOG, bad_request, not_found, single_query, whole_number
from keyed import COMMON, keyed_list, single

DATASET_EQUAL = ("id", "name", "state", "created", "updated", "createdClient", "createdUser",
                 "updatedUser", "version", "viewId", "namespace", "lastBatchId",
                 "lastBatchStatus")
FILE_EQUAL = ("id", "batchId", "dataSetViewId", "created", "updated", "createdClient",
              "createdUser", "updatedUser", "version")
LAST_EQUAL = ("lastBatchId", "lastBatchStatus", "lastSuccessfulBatchId", "lastFailedBatchId",
              "created", "updated")
OBSERVABLE_MAX = 20  # rows of a page that shows observableSchema
PATCHABLE = ("name", "description", "tags", "state")


class Datasets:
    """The service."""

    def __init__(self, state):
        self.state = state

    def routes(self):
        """Lists and single objects."""
        def get(path, handler, name):
            return web.get(CATALOG + path, handler, name=name, allow_head=False)

        return [
            get("/dataSets", self.list, "datasets"),
            get("/dataSets/{id}", self.single, "dataset"),
            web.patch(CATALOG + "/v2/dataSets/{id}", self.patch, name="dataset_patch"),
            get("/dataSets/{id}/views/{view}/files", self.view_files, "view_files"),
            get("/dataSetFiles", self.files, "dataset_files"),
            get("/dataSetFiles/{id}", self.single_file, "dataset_file"),
            get("/lastBatches", self.last, "last_batches"),
            get("/xdms/{path:.+}", self.xdm, "xdm"),
        ]

    def visible(self, request):
        """The datasets of the caller's sandbox."""
        return {name: dataset for name, dataset in self.state.world.datasets.items()
                if dataset.sandbox == request.headers["x-sandbox-name"]}

    def dataset(self, request, name):
        """One dataset, or 404."""
        found = self.visible(request).get(name)
        if found is None:
            raise not_found("dataSet", name)
        return found

    def row(self, dataset):
        """The object of one dataset."""
        world = self.state.world
        return dataset_row(world, dataset, batches_by_dataset(world)[dataset.id])

    async def list(self, request):
        """GET /dataSets"""
        query = single_query(request, COMMON | set(DATASET_EQUAL))
        if "observableSchema" in query.get("properties", "").split(","):
            whole_number(query, "limit", OBSERVABLE_MAX, 1, OBSERVABLE_MAX)
        for name in ("created", "updated"):
            whole_number({name: query.get(name, "0").lstrip("!").split(",")[0]}, name)
        world = self.state.world
        batches = batches_by_dataset(world)
        rows = {name: dataset_row(world, dataset, batches[name])
                for name, dataset in self.visible(request).items()}
        return keyed_list(self.state, request, query, rows, DATASET_EQUAL)

    async def single(self, request):
        """GET /dataSets/{id}"""
        query = single_query(request, {"properties"})
        dataset = self.dataset(request, request.match_info["id"])
        return single(request, dataset.id, self.row(dataset), query)

    async def patch(self, request):
        """PATCH /v2/dataSets/{id}: a deep merge."""
        dataset = self.dataset(request, request.match_info["id"])
        guard(request, self.row(dataset))
        changes = await request.json()
        unknown = set(changes) - set(PATCHABLE)
        if unknown:
            raise bad_request(f"cannot change {sorted(unknown)}")
        if request.headers.get("Pragma") != "validate-only":
            about = {name: dataset[name] for name in changes}
            dataset.about.update(deep_merge(about, changes))
        return web.json_response([f"@/dataSets/{dataset.id}"])

    async def last(self, request):
        """GET /lastBatches"""
        query = single_query(request, (COMMON - {"tags"}) | set(LAST_EQUAL) | {"dataSetId"})
        world = self.state.world
        batches = batches_by_dataset(world)
        wanted = query["dataSetId"].split(",") if "dataSetId" in query else None
        rows = {name: last_batches(world, dataset, batches[name])
                for name, dataset in self.visible(request).items()
                if wanted is None or name in wanted}
        return keyed_list(self.state, request, query, rows, LAST_EQUAL)

    def file_rows(self, request, dataset_id=None):
        """The dataset files of the caller's sandbox, or of one dataset in it."""
        world = self.state.world
        if world.options["dataset_files"] == "empty":
            return {}
        batches = batches_by_dataset(world)
        names = self.visible(request)
        return dataset_file_rows(world, [
            batch for name in names if dataset_id in (None, name) for batch in batches[name]])

    async def files(self, request):
        """GET /dataSetFiles"""
        query = single_query(request, (COMMON - {"tags"}) | set(FILE_EQUAL) | {"dataSetId"})
        rows = self.file_rows(request, query.get("dataSetId"))
        return keyed_list(self.state, request, query, rows, FILE_EQUAL)

    async def single_file(self, request):
        """GET /dataSetFiles/{id}"""
        query = single_query(request, {"properties"})
        name = request.match_info["id"]
        row = self.file_rows(request).get(name)
        if row is None:
            raise not_found("dataSetFile", name)
        return single(request, name, row, query)

    async def view_files(self, request):
        """GET /dataSets/{id}/views/{view}/files, as the guide has it."""
        query = single_query(request, (COMMON - {"tags"}) | set(FILE_EQUAL))
        dataset = self.dataset(request, request.match_info["id"])
        view = request.match_info["view"]
        if view != view_of(dataset.id):
            raise not_found("dataSetView", view)
        return keyed_list(self.state, request, query, self.file_rows(request, dataset.id),
                          FILE_EQUAL)

    async def xdm(self, request):
        """GET /xdms/{path}?expansion=xdm: the schema, resolved if asked."""
        query = single_query(request, {"expansion"})
        path = request.match_info["path"]
        world = self.state.world
        found = [dataset for dataset in self.visible(request).values()
                 if xdm_path(dataset) == path]
        if not world.options["xdms"] or not found:
            raise not_found("xdm", path)
        full = query.get("expansion") == "xdm"
        return web.json_response(xdm.schema(world, found[0], full=full))


def deep_merge(base, changes):
    """A copy of `base` with the changes in it; objects in between are made."""
    merged = copy.deepcopy(base)
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(name), dict):
            value = deep_merge(merged[name], value)
        merged[name] = value
    return merged
