# SPDX-License-Identifier: Apache-2.0
"""What the platform looks at when a batch is complete: the form of its files, and rows where the
form has lines. The forms: parquet, csv, json (one object a line), document (JSON of many lines).
Files that were generated are never looked at; their fate is in their script."""
import json

from spool import STORED

MAGIC = b"PAR1"
PARQUET_MIN = 12  # magic, length of the footer, magic


def is_stored(file):
    """Was the file sent by a client?"""
    return file.key.startswith(STORED)


def whole(form, file):
    """Is the file as a whole of this form?"""
    content = file.content()
    if form == "parquet":
        return (file.size >= PARQUET_MIN and content.read(0, 4) == MAGIC
                and content.read(file.size - 4, 4) == MAGIC)
    if form == "csv":
        return bool(next(content.lines(), b"").replace(b",", b"").strip())
    if form == "document":
        return is_json(file.content().read(0, file.size), (dict, list))
    return file.size > 0


def rows(form, file):
    """(all rows, the bad ones as bytes). Only JSON lines are judged one by one."""
    if form in ("parquet", "document"):
        return file.size // 100 + 1, []
    lines = [line for line in file.content().lines() if line.strip()]
    if form == "csv":
        return len(lines) - 1, []
    return len(lines), [line for line in lines if not is_json(line, dict)]


def is_json(text, kinds):
    """Is this one JSON value of these kinds?"""
    try:
        return isinstance(json.loads(text), kinds)
    except ValueError:
        return False


def judge(form, files, allowed_percent):
    """(does the batch fail?, bad rows). Bad rows within the percentage are left out."""
    total = bad = 0
    if not any(file.size for file in files):
        return True, 0
    for file in files:
        if not whole(form, file):
            return True, 0
        count, wrong = rows(form, file)
        total, bad = total + count, bad + len(wrong)
    return bad * 100 > total * allowed_percent, bad
