# SPDX-License-Identifier: Apache-2.0
"""Conditions on Catalog objects: tags and available dates in lists, versions of single ones."""
import re

from gateway import Refused, bad_request, whole_number

# parameter: (member of availableDates, must it lie behind the value?)
DATED = {"startAfter": ("startDate", True), "startBefore": ("startDate", False),
         "endAfter": ("endDate", True), "endBefore": ("endDate", False)}


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


def dated(query):
    """The tests of startAfter and the like: they look at availableDates, which few have."""
    return [dated_test(member, behind, whole_number(query, name))
            for name, (member, behind) in DATED.items() if name in query]


def dated_test(member, behind, bound):
    """One of them; the dates are in seconds, the parameters in milliseconds."""
    def test(row):
        when = row.get("availableDates", {}).get(member)
        return when is not None and (when * 1000 > bound if behind else when * 1000 < bound)

    return test


def guard(request, row):
    """The E-Tag header; 412 if the request is for another version."""
    tag = f'"{row["version"]}"'
    wanted = request.headers.get("If-Match", "*")
    if wanted != "*" and tag not in [item.strip() for item in wanted.split(",")]:
        raise Refused(412, {"type": "http://ns.adobe.com/aep/errors/CATALOG-412", "status": 412,
                            "title": "PreconditionFailedError",
                            "detail": f"If-Match is {wanted}, the object has {tag}"})
    return {"E-Tag": tag}
