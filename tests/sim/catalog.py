# SPDX-License-Identifier: Apache-2.0
"""Catalog: batches by filter and by id. Answers are objects keyed by batch id."""
import hashlib
import operator
import re

from aiohttp import web

import ground
from gateway import CATALOG, bad_request, not_found, single_query, whole_number
from paging import stir_ties, window

EQUAL = ("batch", "externalId", "created", "updated", "started", "completed", "status",
         "createdClient", "createdUser", "updatedUser", "version")
TIMES = ("created", "updated", "started", "completed", "createdAfter", "createdBefore")
PARAMETERS = {*EQUAL, *TIMES, "dataSet", "orderBy", "sort", "start", "offset", "limit",
              "property", "properties"}
OPERATORS = {"==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge,
             "<": operator.lt, ">": operator.gt}
EXPRESSION = re.compile(r"(!?)([A-Za-z]+)(?:(==|!=|<=|>=|<|>|~)(.*))?")
CLIENT = "acp_foundation_push"
USER = "acp_foundation_dataTracker@AdobeID"


class Catalog:
    """The service."""

    def __init__(self, state):
        self.state = state

    def routes(self):
        """The plural form, and the singular alias of single batches."""
        return [
            web.get(CATALOG + "/batches", self.list, name="batches", allow_head=False),
            web.get(CATALOG + "/batches/{id}", self.single, name="batch", allow_head=False),
            web.get(CATALOG + "/batch/{id}", self.single, name="batch_v2", allow_head=False),
        ]

    async def list(self, request):
        """GET /batches"""
        query = single_query(request, PARAMETERS)
        start, limit = list_bounds(query)
        self.appear("many_files", request, query)
        rows = self.matching(request, query)
        rows = self.sorted(request, rows, query.get("orderBy") or query.get("sort") or "")
        page, _ = window(self.state, request, rows, start, limit)
        late = self.hit("late_success", request)
        if late:
            page = [self.hold(row, late.args["ms"]) for row in page]
        self.appear("new_batches_while_paging", request, query)
        return web.json_response({row["id"]: self.shown(row, query) for row in page})

    async def single(self, request):
        """GET /batches/{id}"""
        single_query(request, {"aggregate", "properties"})
        name = request.match_info["id"]
        batch = self.state.world.batches.get(name)
        if batch is None or not self.visible(request, batch):
            raise not_found("batch", name)
        row = self.row(batch)
        return web.json_response({name: self.shown(row, dict(request.query))},
                                 headers={"E-Tag": f'"{row["version"]}"'})

    def hit(self, name, request):
        """The armed fault of this name, if it strikes this request."""
        return self.state.faults.hit(name, request["endpoint"], request["target"])

    def visible(self, request, batch):
        """Sandboxes isolate: what is in another one does not exist."""
        return self.state.world.sandbox_of(batch) == request.headers["x-sandbox-name"]

    def matching(self, request, query):
        """The rows that pass all filters, in the order in which the batches were added."""
        after = whole_number(query, "createdAfter", -1)
        before = whole_number(query, "createdBefore", 2**63)
        for name in TIMES:
            whole_number({name: query.get(name, "0").lstrip("!").split(",")[0]}, name)
        tests = [equality(name, query[name]) for name in EQUAL if name in query]
        if "property" in query:
            tests.append(expression(query["property"]))
        of_dataset = equality("dataset", query.get("dataSet", "!"))
        batches = [batch for batch in self.state.world.batches.values()
                   if after < batch.created < before and self.visible(request, batch)
                   and of_dataset(vars(batch))]
        rows = (self.row(batch) for batch in batches)
        return [row for row in rows if all(test(row) for test in tests)]

    def sorted(self, request, rows, order):
        """By orderBy=asc:a,desc:b (ascending where not said); ties stay as they are."""
        keys = [order_key(item) for item in order.split(",") if item]
        for name, descending in reversed(keys):
            rows = sorted(rows, key=lambda row, n=name: row.get(n) or 0, reverse=descending)
        stir = self.hit("unstable_order", request)
        if stir:
            rows = stir_ties(stir, rows, lambda row: [row.get(name) for name, _ in keys])
        return rows

    def row(self, batch):
        """The batch object, as real ones look."""
        status, updated = batch.current()
        world = self.state.world
        row = {
            "id": batch.id, "imsOrg": world.org, "sandboxId": "a" * 32,
            "created": batch.created, "updated": updated, "createdClient": CLIENT,
            "createdUser": USER, "updatedUser": USER, "status": status,
            "version": f"1.0.{batch.version}", "externalId": batch.id,
            "relatedObjects": related(batch), "replay": batch.replay, "availableDates": {},
            "metrics": {}, "errors": [],
            "tags": {"acp_type": ["ingest"], "acp_finalized": "finalized",
                     "numberOfDSFs": ["0"]} | batch.tags,
        }
        if batch.successor:
            row["tags"]["acp_successor"] = [batch.successor]
        if status in ground.READABLE + ground.WITHDRAWN:
            row |= {"started": batch.created + 5000, "completed": updated,
                    "metrics": metrics(batch)}
        return row

    def shown(self, row, query):
        """Projection. `id` inside the object is missing from some, as in reality."""
        wanted = query.get("properties")
        row = dict(row)
        if digest(row["id"]) % 3 == 0:
            del row["id"]
        if wanted:
            return {name: row[name] for name in wanted.split(",") if name in row}
        return row

    def hold(self, row, delay_ms):
        """late_success: readable now becomes readable later, once for each batch."""
        batch = self.state.world.batches[row["id"]]
        if batch.readable() and not batch.held_until:
            batch.held_until = ground.now_ms() + delay_ms
        return self.row(batch)

    def appear(self, name, request, query):
        """Faults that add a batch to the dataset that is being listed."""
        dataset = self.state.world.datasets.get(query.get("dataSet"))
        fault = dataset and self.hit(name, request)
        if not fault:
            return
        args = fault.args
        shape = [[args["size"]] * args["files"]] + [[args["size"]]] * args.get("directories", 0)
        dataset.batch(directories=shape, created=args.get("created") or ground.now_ms())


def list_bounds(query):
    """start (once: offset) and limit of a Catalog list."""
    limit = whole_number(query, "limit", 20, 1, 100)
    return whole_number(query, "start", whole_number(query, "offset", 0)), limit


def order_key(item):
    """(property, descending) of one item of orderBy."""
    direction, _, name = item.rpartition(":")
    if direction not in ("", "asc", "desc") or not name.isalpha():
        raise bad_request(f"bad order '{item}'")
    return name, direction == "desc"


def equality(name, text):
    """The test of prop=a,b and prop=!a,b."""
    negated, values = text.startswith("!"), text.removeprefix("!").split(",")
    member = {"batch": "id"}.get(name, name)
    return lambda row: (str(row.get(member)) in values) != negated


def expression(text):
    """The test of property=name, !name, name~regex, name>=value ..."""
    found = EXPRESSION.fullmatch(text)
    if not found:
        raise bad_request(f"bad property expression '{text}'")
    absent, name, sign, value = found.groups()
    if sign is None:
        return lambda row: (name in row) != bool(absent)
    if sign == "~":
        return lambda row: re.search(value, str(row.get(name, ""))) is not None
    if value.isdigit():
        return lambda row: OPERATORS[sign](row.get(name) or 0, int(value))
    return lambda row: OPERATORS[sign](str(row.get(name, "")), value)


def digest(text):
    """A number that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def related(batch):
    """relatedObjects: the dataset is not always the first."""
    objects = [{"type": "dataSet", "id": batch.dataset},
               {"type": "dataSetView", "id": f"{batch.dataset}-view"}]
    if batch.sub_of:
        objects.append({"type": "batch", "id": batch.sub_of})
    turn = digest(batch.id) % len(objects)
    return objects[turn:] + objects[:turn]


def metrics(batch):
    """Of lake batches, and the other names that sub-batches use."""
    if batch.sub_of:
        return {"recordsRead": 10, "recordsWritten": 10, "recordsFailed": 0,
                "recordsSkipped": 0, "startTime": batch.created, "endTime": batch.created + 1}
    sizes = [file.size for _, file in batch.data()]
    return {"inputFileCount": -1, "outputFileCount": len(sizes), "outputByteSize": sum(sizes),
            "outputRecordCount": batch.records(),
            "failedRecordCount": batch.failed_records}
