# SPDX-License-Identifier: Apache-2.0
"""Lists of Catalog: objects keyed by id, with filters, order, window and projection. And single
objects with their E-Tag."""
from aiohttp import web

from catalog import equality, expression, list_bounds, order_key
from conditions import guard, tagged
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


def single(request, key, row, query):
    """The answer to a single object: keyed as well, with the E-Tag of its version."""
    return web.json_response({key: projected(row, query)}, headers=guard(request, row))
