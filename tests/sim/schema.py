# SPDX-License-Identifier: Apache-2.0
"""Schema Registry: lists and look-ups of schemas, and its strict rules on Accept.

A look-up must name a version, a list must not. The codes: 1006 what a list cannot take, 1007 a
look-up without version, 1008 a form that look-ups do not have, 1009 no Accept at all.
"""
import re
import time
import urllib.parse
import uuid

from aiohttp import web

import xdm
from gateway import Refused, bad_request, single_query, whole_number

REGISTRY = "/data/foundation/schemaregistry"
TYPE = re.compile(r"application/vnd\.adobe\.([a-z-]+)\+json(?:\s*;\s*version=(\d+(?:\.\d+)?))?")
LIST_FORMS = ("xed-id", "xed", "xdm")
LOOKUP_FORMS = {
    "xed": {"full": False}, "xed-full": {"full": True},
    "xed-notext": {"full": False, "text": False},
    "xed-full-notext": {"full": True, "text": False},
    "xed-full-desc": {"full": True, "descriptors": True},
}
SUMMARY = ("$id", "meta:altId", "version", "title")
LIMIT_MAX = 500
PAGE_MAX = 300  # what a list without limit returns at most


class Schemas:
    """The service."""

    def __init__(self, state):
        self.state = state

    def routes(self):
        """Both containers."""
        return [web.get(REGISTRY + "/{container:tenant|global}/schemas", self.list,
                        name="schemas", allow_head=False),
                web.get(REGISTRY + "/{container:tenant|global}/schemas/{id}", self.single,
                        name="schema", allow_head=False)]

    def datasets(self, request):
        """Schema URI -> a dataset that has it, in the container and the sandbox asked for."""
        world = self.state.world
        found = {}
        for dataset in world.datasets.values():
            head = xdm.head(world, dataset)
            if (dataset.sandbox == request.headers["x-sandbox-name"]
                    and head["meta:containerId"] == request.match_info["container"]):
                found.setdefault(head["$id"], dataset)
        return found

    async def list(self, request):
        """GET /{container}/schemas: keyset pages, `start` is the last value of the sort key."""
        query = single_query(request, {"start", "limit", "orderby", "property"})
        form, version = accepted(request)
        if form not in LIST_FORMS or version:
            raise accept_error(1006, request, "application/vnd.adobe.{xed|xdm}+json")
        key, descending = order(query.get("orderby", "asc:title"))
        limit = whole_number(query, "limit", PAGE_MAX, 0, LIMIT_MAX) or PAGE_MAX
        world = self.state.world
        rows = [xdm.schema(world, dataset, full=False)
                for dataset in self.datasets(request).values()]
        rows.sort(key=lambda row: (row[key], row["$id"]), reverse=descending)
        if "start" in query:
            rows = [row for row in rows if after(row[key], query["start"], descending)]
        page = whole_ties(rows, key, limit)
        following = page[-1][key] if len(page) < len(rows) else None
        body = {"results": [shown(row, form) for row in page],
                "_page": {"orderby": key, "next": following, "count": len(page)},
                "_links": {"next": None, "global_schemas": {"href": f"{REGISTRY}/global/schemas"}}}
        if following is not None:
            body["_links"]["next"] = {"href": f"{request.path}?" + urllib.parse.urlencode(
                {"orderby": query.get("orderby", "title"), "start": following, "limit": limit})}
        return web.json_response(body)

    async def single(self, request):
        """GET /{container}/schemas/{URI or meta:altId}"""
        single_query(request, set())
        form, version = accepted(request)
        valid = "application/vnd.adobe.{xed|xed-full|xed-notext|...}+json; version=1"
        if form is None:
            raise accept_error(1009, request, valid)
        if form not in LOOKUP_FORMS:
            raise accept_error(1008, request, valid)
        if not version:
            raise accept_error(1007, request, valid)
        name = request.match_info["id"]
        for uri, dataset in self.datasets(request).items():
            if name in (uri, xdm.alternative_id(uri)) and version in (str(xdm.MAJOR),
                                                                      xdm.VERSION):
                body = xdm.schema(self.state.world, dataset, **LOOKUP_FORMS[form])
                return web.json_response(body, content_type=f"application/vnd.adobe.{form}+json")
        raise registry_error(1012, 404, "Resource not found",
                             f"The requested schema resource {name} with version {version} is "
                             "not found.")


def accepted(request):
    """(form, version) of the Accept header; (None, None) where there is nothing to go by."""
    header = request.headers.get("Accept", "*/*").strip()
    if header in ("", "*/*"):
        return None, None
    found = TYPE.fullmatch(header)
    return (found[1], found[2]) if found else (header, None)


def accept_error(number, request, valid):
    """The refusal of an Accept header."""
    header = request.headers.get("Accept", "")
    return registry_error(number, 400, "Accept header invalid",
                          f"The supplied Accept header is not valid: {header} - A valid Accept "
                          f"value should look like {valid}")


def registry_error(number, status, title, detail):
    """An error in the registry's shape."""
    return Refused(status, {
        "type": f"http://ns.adobe.com/aep/errors/XDM-{number}-{status}", "title": title,
        "status": status,
        "report": {"registryRequestId": str(uuid.uuid4()),
                   "timestamp": time.strftime("%m-%d-%Y %H:%M:%S", time.gmtime()),
                   "detailed-message": detail, "sub-errors": []},
        "detail": detail})


def order(text):
    """(member, descending) of orderby."""
    direction, _, name = text.rpartition(":")
    if direction not in ("", "asc", "desc") or name not in SUMMARY:
        raise bad_request(f"bad order '{text}'")
    return name, direction == "desc"


def after(value, start, descending):
    """Does a row with this value come after the page that ended with `start`?"""
    return value < start if descending else value > start


def whole_ties(rows, key, limit):
    """At most `limit` rows, and those that tie with the last: a keyset must not split ties."""
    end = limit
    while 0 < end < len(rows) and rows[end][key] == rows[end - 1][key]:
        end += 1
    return rows[:end]


def shown(row, form):
    """A row of a list: a summary, or all of the raw form."""
    return {name: row[name] for name in SUMMARY} if form == "xed-id" else row
