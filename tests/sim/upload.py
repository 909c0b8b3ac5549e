# SPDX-License-Identifier: Apache-2.0
"""Batch Ingestion: the files of a batch that is loading, whole or in chunks."""
import re
from dataclasses import dataclass, field

from aiohttp import web

from gateway import Refused, bad_request, single_query

CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)(?:/(\d+|\*))?")
PATH = "/batches/{id}/{word:datasets|dataSets}/{dataset}/files/{path:.+}"
READ = 1 << 18
URL_MAX = 2000


@dataclass
class Sent:
    """What came of one file. `chunks` are the ranges [first, last] of a large one; `size` is
    what the client says or, if it has not said, what is there."""
    path: str
    size: int = 0
    done: bool = False
    chunks: list = field(default_factory=list)
    total: int = None

    def prefix(self):
        """How many bytes are there without a gap."""
        end = 0
        for first, last in sorted(self.chunks):
            if first > end:
                break
            end = max(end, last + 1)
        return end

    def fault(self):
        """What is wrong with the chunks, or None."""
        end = 0
        for first, last in sorted(self.chunks):
            if first != end:
                return f"chunks overlap at byte {first}" if first < end else \
                    f"bytes {end} to {first - 1} are missing"
            end = last + 1
        if self.total is not None and end != self.total:
            return f"{end} bytes came, {self.total} were announced"
        return None


class Uploads:
    """The calls for files, of the service in ingestion.py."""

    def __init__(self, ingestion):
        self.ingestion = ingestion

    def routes(self, base):
        """Both spellings of datasets."""
        return [web.put(base + PATH, self.put, name="upload"),
                web.post(base + PATH, self.mark, name="upload_mark"),
                web.patch(base + PATH, self.patch, name="upload_chunk"),
                web.head(base + PATH, self.head, name="upload_head")]

    def load(self, request):
        """The batch that is loading, or what is wrong."""
        short_url(request)
        batch = self.ingestion.batch(request)
        name = request.match_info["dataset"]
        if batch.dataset != name:
            raise refused(404, "NotFoundError", f"batch {batch.id} is not of dataset {name}")
        status = batch.current()[0]
        load = self.ingestion.loads.get(batch.id)
        if load is None or status != "loading":
            raise bad_request(f"batch {batch.id} is {status}, it takes no files")
        path = request.match_info["path"]
        limit = self.ingestion.option("files_per_batch")
        if request.method in ("PUT", "POST") and path not in load.files and \
                len(load.files) >= limit:
            raise bad_request(f"a batch takes {limit} files at most")
        return load, path

    async def put(self, request):
        """PUT: a whole file; the same path again replaces it."""
        single_query(request, set())
        load, path = self.load(request)
        only_octets(request)
        sent = Sent(self.ingestion.spool.new())
        sent.size = await self.receive(request, sent.path, 0, self.ingestion.option("put_max"))
        sent.done = True
        load.files[path] = sent
        if self.ingestion.option("create_reply") == "keyed":
            return web.json_response({load.batch.id: {"name": path, "sizeInBytes": sent.size}})
        return web.Response()

    async def receive(self, request, path, offset, limit):
        """Writes the body at this place; answers its length. Too much is refused."""
        problem = refused(413, "PayloadTooLargeError", f"more than {limit} bytes in one call")
        if (request.content_length or 0) > limit:
            raise problem
        received = 0
        with open(path, "r+b") as file:
            file.seek(offset)
            async for piece in request.content.iter_chunked(READ):
                received += len(piece)
                if received > limit:
                    raise problem
                file.write(piece)
        return received

    async def mark(self, request):
        """POST ?action=INITIALIZE and ?action=COMPLETE"""
        action = single_query(request, {"action"}).get("action", "").upper()
        load, path = self.load(request)
        if action == "INITIALIZE":
            load.files[path] = Sent(self.ingestion.spool.new())
            return web.Response(status=201)
        if action != "COMPLETE":
            raise bad_request(f"action '{action}' is none of INITIALIZE, COMPLETE")
        sent = self.begun(load, path)
        problem = sent.fault()
        if problem:
            raise bad_request(f"{path}: {problem}")
        if not sent.done:
            sent.done, sent.size = True, sent.prefix()
        return web.Response()

    def begun(self, load, path):
        """A file that INITIALIZE began, or 404."""
        if path not in load.files:
            raise refused(404, "NotFoundError", f"file {path} was not initialized")
        return load.files[path]

    async def patch(self, request):
        """PATCH: one chunk. Order and gaps are looked at by COMPLETE only."""
        single_query(request, set())
        load, path = self.load(request)
        only_octets(request)
        sent = self.begun(load, path)
        if sent.done:
            raise bad_request(f"{path} is complete")
        found = CONTENT_RANGE.fullmatch(request.headers.get("Content-Range", ""))
        if not found:
            raise bad_request("Content-Range must be: bytes first-last/total")
        first, last = int(found[1]), int(found[2])
        limit = self.ingestion.option("chunk_max")
        length = await self.receive(request, sent.path, first, limit)
        if length != last - first + 1:
            raise bad_request(f"Content-Range says {last - first + 1} bytes, {length} came")
        if found[3] and found[3] != "*":
            sent.total = int(found[3])
        replaces = self.ingestion.option("repeated_chunk") == "replaces"
        if not replaces or [first, last] not in sent.chunks:
            sent.chunks.append([first, last])
        return web.Response()

    async def head(self, request):
        """HEAD: Range says what came so far, without gaps."""
        load, path = self.load(request)
        sent = self.begun(load, path)
        size = sent.size if sent.done else sent.prefix()
        return web.Response(headers={"Range": f"bytes=0-{size - 1}"} if size else {})


def short_url(request):
    """414 where the address is too long."""
    if len(str(request.url)) > URL_MAX:
        raise refused(414, "UriTooLongError", f"the URL is longer than {URL_MAX} characters")


def only_octets(request):
    """Multipart forms are not taken, nor is anything else but bytes."""
    if request.content_type != "application/octet-stream":
        raise refused(415, "UnsupportedMediaTypeError",
                      f"content-type {request.content_type} is not application/octet-stream")


def refused(status, title, detail):
    """An error in the service's shape."""
    return Refused(status, {"type": "/placeholder/type/uri", "status": status, "title": title,
                            "detail": detail})
