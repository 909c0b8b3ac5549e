# SPDX-License-Identifier: Apache-2.0
"""Data Access: the dataset files of a batch, the physical files in them, and their bytes."""
import asyncio
import gzip
import re
import socket
import struct
import time
import urllib.parse

from aiohttp import web

from content import overlaid
from gateway import EXPORT, Refused, bad_request, not_found, single_query, whole_number
from paging import part_of, stir_ties, window

ORIGIN = "https://platform.adobe.io:443"  # of links, whatever name the client used
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
STEP = 1 << 18
SLOW_STEP = 1 << 18
SEND_BUFFER = 1 << 16  # what counts as sent should be nearly what was received
RESET = struct.pack("ii", 1, 0)  # SO_LINGER that makes close() send RST


class Access:
    """The service."""

    def __init__(self, state):
        self.state = state

    def routes(self):
        """HEAD is a call of its own here."""
        return [
            web.get(EXPORT + "/batches/{id}/files", self.batch_files, name="batch_files",
                    allow_head=False),
            web.get(EXPORT + "/files/{id}", self.files, name="files", allow_head=False),
            web.head(EXPORT + "/files/{id}", self.files, name="files"),
        ]

    def hit(self, name, request):
        """The armed fault of this name, if it strikes this request."""
        return self.state.faults.hit(name, request["endpoint"], request["target"])

    async def batch_files(self, request):
        """GET /batches/{id}/files"""
        query = single_query(request, {"start", "limit"})
        name = request.match_info["id"]
        batch = self.state.world.batches.get(name)
        if batch is None or not self.visible(request, batch):
            raise not_found("batch", name)
        if batch.sub_of and self.hit("sub_batch_404", request):
            raise not_found("batch", name)
        rows = [directory_row(batch, item) for item in batch.files] if batch.readable() else []
        return self.listing(request, rows, whole_number(query, "start", 0), query)

    async def files(self, request):
        """GET and HEAD /files/{id}"""
        query = single_query(request, {"start", "limit", "path"})
        batch, directory = self.state.world.dataset_file(request.match_info["id"])
        if batch is None or not self.visible(request, batch) or not batch.readable():
            raise not_found("file", request.match_info["id"])
        if request["endpoint"] == "files":
            return self.physical(request, batch, directory, query)
        if "path" not in query:
            raise bad_request("'path' is required")
        file = next((item for item in directory.files if item.name == query["path"]), None)
        if file is None:
            raise not_found("path", query["path"])
        if request.method == "HEAD":
            return head_answer(file, self.hit("head_length", request))
        return await Sending(self, request, directory, file).run()

    def visible(self, request, batch):
        """Sandboxes isolate: what is in another one does not exist."""
        dataset = self.state.world.datasets[batch.dataset]
        return dataset.sandbox == request.headers["x-sandbox-name"] and not dataset.gone

    def physical(self, request, batch, directory, query):
        """What is in a dataset file: physical files, or further dataset files."""
        options = self.state.world.options
        if directory.nested:
            rows = [directory_row(batch, item) for item in directory.nested]
        else:
            wrong = self.hit("listing_length", request)
            rows = [file_row(directory, file, options["length"], wrong)
                    for file in directory.files]
        if options["marker"] == "name" and "start" in query:
            start = next((number for number, row in enumerate(rows)
                          if row.get("name") == query["start"]), len(rows))
        else:
            start = whole_number(query, "start", 0)
        return self.listing(request, rows, start, query)

    def listing(self, request, rows, start, query):
        """One page in the shape that the world asks for."""
        limit = whole_number(query, "limit", 100, 1, 100)
        stir = self.hit("unstable_order", request)
        if stir and not start:
            rows = stir_ties(stir, rows, lambda row: None)
        rows = part_of(self.hit("files_partial", request), request.path, rows, start)
        page, following = window(self.state, request, rows, start, limit)
        options = self.state.world.options
        if options["shape"] == "array" and request["endpoint"] == "files":
            return web.json_response(page)
        body = {"data": page, "_page": {"limit": limit, "count": len(rows)}}
        if following is not None or start:
            body["_links"] = {"page": {"href": link(request, 0, limit), "templated": True}}
        if following is not None:
            name = rows[min(following, len(rows) - 1)].get("name")
            marker = name if options["marker"] == "name" and name else following
            body["_links"]["next"] = {"href": link(request, marker, limit)}
        return web.json_response(body)


def link(request, start, limit):
    """The address of a page, as the service writes it."""
    marker = urllib.parse.quote(str(start), safe="")
    return f"{ORIGIN}{request.rel_url.raw_path}?start={marker}&limit={limit}"


def directory_row(batch, item):
    """One dataset file; numbers are text here, and isValid means nothing."""
    quoted = urllib.parse.quote(item.id, safe="")
    return {"dataSetFileId": item.id, "dataSetViewId": f"{batch.dataset}-view",
            "version": "1.0.0", "created": str(batch.created), "updated": str(batch.created),
            "isValid": False, "_links": {"self": {"href": f"{ORIGIN}{EXPORT}/files/{quoted}"}}}


def file_row(directory, file, length_kind, wrong=None):
    """One physical file; `wrong` is a fault that spoils its length."""
    quoted = urllib.parse.quote(directory.id, safe="")
    path = urllib.parse.quote(file.name, safe="")
    length = max(file.size + wrong.args["bytes"], 0) if wrong and file.size else file.size
    length = length if length_kind == "number" else str(length)
    return {"name": file.name, "length": length,
            "_links": {"self": {"href": f"{ORIGIN}{EXPORT}/files/{quoted}?path={path}"}}}


def head_answer(file, wrong=None):
    """Length and type of a file."""
    response = web.StreamResponse(headers={"Accept-Ranges": "bytes",
                                           "Content-Type": "application/parquet"})
    response.content_length = max(file.size + (wrong.args["bytes"] if wrong else 0), 0)
    return response


def asked_range(request, size):
    """(first, last) of the Range header, or None; 416 beyond the end."""
    header = request.headers.get("Range")
    if header is None:
        return None
    found = RANGE.fullmatch(header)
    if not found:
        raise bad_request(f"bad range '{header}'")
    first, last = int(found[1]), int(found[2] or size - 1)
    if first >= size or last < first:
        raise Refused(416, "Requested Range Not Satisfiable",
                      {"Content-Range": f"bytes */{size}"})
    return first, min(last, size - 1)


class Sending:
    """One answer with the bytes of a file."""

    def __init__(self, access, request, directory, file):
        self.request, self.file = request, file
        self.state = access.state
        self.name = f"{directory.id}/{file.name}"
        self.hit = lambda name: access.hit(name, request)
        self.first, self.last, self.status = 0, file.size - 1, 200
        self.total = file.size

    async def run(self):
        """Headers, then bytes at the pace and up to the point that faults allow."""
        span = asked_range(self.request, self.file.size)
        if span and not self.hit("full_200_to_range"):
            self.status = 206
            self.first, self.last = self.bent(*span)
        response = self.headers()
        if self.hit("gzip_body"):
            return await self.send_packed(response)
        if self.hit("chunked_body"):
            response.headers.popall("Content-Length")
            response.enable_chunked_encoding()
        cut, reset = self.hit("truncated_body"), self.hit("reset_mid_body")
        length = self.last - self.first + 1
        upto = self.last - (length + 1) // 2 if cut or reset else self.last
        try:
            await response.prepare(self.request)
        except ConnectionResetError:  # the client is gone
            return response
        self.state.counters.reads[self.name] += 1
        complete = await self.send(response, upto)
        if cut or reset or not complete:
            self.end_early(reset)
        return response

    def bent(self, first, last):
        """The range that is sent instead; Content-Range tells the truth."""
        shifted, short = self.hit("shifted_content_range"), self.hit("short_range")
        total = self.hit("total_changes")
        if shifted:
            first = min(first + shifted.args["bytes"], last)
        if short:
            last = first + (last - first) // 2
        if total:
            self.total += total.args["bytes"]
        return first, last

    def headers(self):
        """The header block of the answer."""
        kind = "text/html" if self.hit("wrong_content_type") else "application/parquet"
        response = web.StreamResponse(status=self.status, headers={
            "Accept-Ranges": "bytes", "Content-Type": kind})
        response.content_length = self.last - self.first + 1
        if self.status == 206 and not self.hit("no_content_range"):
            response.headers["Content-Range"] = f"bytes {self.first}-{self.last}/{self.total}"
        return response

    async def send_packed(self, response):
        """All of it in an encoding that nobody asked for."""
        content = self.file.content()
        packed = gzip.compress(b"".join(content.chunks(self.first, self.last)))
        response.headers["Content-Encoding"] = "gzip"
        response.content_length = len(packed)
        try:
            await response.prepare(self.request)
            await response.write(packed)
        except ConnectionResetError:
            pass
        return response

    async def send(self, response, upto):
        """Bytes up to `upto`; what the client did not wait for is not counted. False if the time
        was up before."""
        slow, stall, limit = map(self.hit, ("slow", "stall", "cut_off"))
        rate = (slow.args if slow else self.state.settings)["bytes_per_second"]
        half = (upto + 1 - self.first) // 2
        step = max(1, min(SLOW_STEP, rate // 20)) if rate else STEP
        step = max(1, min(step, half)) if stall else step
        self.request.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        began, sent = time.monotonic(), 0
        content, wrong = self.file.content(), self.wrong_bytes()
        for chunk in content.chunks(self.first, upto, step):
            if stall and sent >= half:
                await asyncio.sleep(stall.args["seconds"])
                stall = None
            if limit and time.monotonic() > began + limit.args["seconds"]:
                return False
            try:
                await response.write(overlaid(chunk, self.first + sent, *wrong))
            except (ConnectionError, asyncio.CancelledError):
                break
            sent += len(chunk)
            self.state.counters.sent[self.name] += len(chunk)
            if rate:
                await asyncio.sleep(began + sent / rate - time.monotonic())
        return True

    def wrong_bytes(self):
        """(where, what) is sent instead of the file's own bytes, if they are in this answer."""
        for fault in self.state.faults.named("bit_flip", self.request["endpoint"]):
            at = fault.args["at"] + (self.file.size if fault.args["at"] < 0 else 0)
            there = self.first <= at <= self.last
            if there and fault.strikes(self.request["endpoint"], self.request["target"]):
                return at, bytes([self.file.content().read(at, 1)[0] ^ 1])
        return 0, b""

    def end_early(self, reset):
        """Closes the connection in the middle of the body, with FIN or with RST."""
        transport = self.request.transport
        if transport is None:
            return
        if reset:
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.abort()
        else:
            transport.close()
