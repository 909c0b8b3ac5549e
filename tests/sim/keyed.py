# SPDX-License-Identifier: Apache-2.0
"""Lists of Catalog: objects keyed by id, with filters, order, window and projection. And single
objects with their E-Tag."""
import re

from aiohttp import web

from catalog import equality, expression, list_bounds, order_key
from gateway import Refused, bad_request
from paging import window

COMMON = {"orderBy", "sort", "start", "offset", "limit", "property", "properties", "tags"}


def keyed_list(state, request, query, rows, equal):
    """The answer to a list. `rows` is a dict by id, `equal` the names of the simple filters."""
    start, limit = list_bounds(query)
    tests = [equality(name, query[name]) for name in equal if name in query]
    if "property" in query:
        tests.append(expression(query["property"]))
    if "tags" in query:
        tests.append(tagged(query["tags"]))
    found = [(key, row) for key, row in rows.items() if all(test(row) for test in tests)]
    orders = [order_key(item) for item in order_of(query).split(",") if item]
    for name, descending in reversed(orders):
        found.sort(key=lambda pair, n=name: rank(pair[1].get(n)), reverse=descending)
    page, _ = window(state, request, found, start, limit)
    return web.json_response({key: projected(row, query) for key, row in page})


def order_of(query):
    """orderBy, once called sort."""
    return query.get("orderBy") or query.get("sort") or ""


def rank(value):
    """Numbers and texts can be in one column; what is absent comes first."""
    if value is None:
        return (0, 0)
    return (1, value) if isinstance(value, (int, float)) else (2, str(value))


def projected(row, query):
    """`properties` keeps top-level members; an object that has none of them is {}."""
    wanted = query.get("properties")
    if not wanted:
        return row
    return {name: row[name] for name in wanted.split(",") if name in row}


def tagged(text):
    """The test of tags=name:value,name2:*; values are lists, now and then a bare value."""
    pairs = []
    for item in text.split(","):
        name, colon, pattern = item.partition(":")
        if not name or not colon:
            raise bad_request(f"bad tags filter '{item}'")
        pairs.append((name, re.compile(re.escape(pattern).replace(r"\*", ".*"))))

    def test(row):
        return all(any(pattern.fullmatch(str(value)) for value in values_of(row, name))
                   for name, pattern in pairs)

    return test


def values_of(row, tag):
    """The values of a tag as a list."""
    value = row.get("tags", {}).get(tag, [])
    return value if isinstance(value, list) else [value]


def single(request, key, row, query):
    """The answer to a single object: keyed as well, with the E-Tag of its version."""
    return web.json_response({key: projected(row, query)}, headers=guard(request, row))


def guard(request, row):
    """The E-Tag header; 412 if the request is for another version."""
    tag = f'"{row["version"]}"'
    wanted = request.headers.get("If-Match", "*")
    if wanted != "*" and tag not in [item.strip() for item in wanted.split(",")]:
        raise Refused(412, {"type": "http://ns.adobe.com/aep/errors/CATALOG-412", "status": 412,
                            "title": "PreconditionFailedError",
                            "detail": f"If-Match is {wanted}, the object has {tag}"})
    return {"E-Tag": tag}
