# SPDX-License-Identifier: Apache-2.0
"""An S3 store in memory that forgives nothing: signatures, payload hashes, checksums, part
sizes, conditions. What it stores it never changes."""
import base64
import email.utils
import hashlib
import hmac
import itertools
import re
import struct
import time
import urllib.parse
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from aiohttp import web

from content import crc32c
from wire import Half, Lost, Op

ACCESS_KEY, SECRET_KEY, REGION, BUCKET = "AKFAULTS", "secret/of+the=lab", "us-east-1", "lake"
PART_MIN = 5 << 20
PAGE = 2  # of every listing
NEVER = "Thu, 01 Jan 2026 00:00:00 GMT"
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
SIGNATURE = re.compile(r"AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?"
                       r"Signature=([0-9a-f]{64})")


class Refused(Exception):
    """An error answer."""

    def __init__(self, status, code):
        super().__init__(status, code)
        self.status, self.code = status, code


STATUS = {
    "500": (500, "InternalError"), "503": (503, "SlowDown"),
    "RequestTimeout": (400, "RequestTimeout"), "AccessDenied": (403, "AccessDenied"),
    "ExpiredToken": (403, "ExpiredToken"), "BadDigest": (400, "BadDigest"),
    "RequestTimeTooSkewed": (403, "RequestTimeTooSkewed"),
    "OperationAborted": (409, "OperationAborted"), "NoSuchUpload": (404, "NoSuchUpload"),
    "InvalidPart": (400, "InvalidPart"), "EntityTooSmall": (400, "EntityTooSmall"),
    "200-error": (200, "InternalError"),
}


@dataclass
class Object:
    """What a key holds."""
    body: bytes
    etag: str
    crc: str
    meta: dict
    parts: int = 0
    made: float = field(default_factory=time.time)


@dataclass
class Upload:
    """A multipart upload in progress."""
    key: str
    meta: dict
    initiated: float
    parts: dict = field(default_factory=dict)  # number -> Object


def crc_text(data):
    """CRC-32C as S3 writes it."""
    return base64.b64encode(struct.pack(">I", crc32c(data))).decode()


def error(status, code):
    """An error document."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return web.Response(status=status, text=body, content_type="application/xml")


def document(name, *pairs, rows=""):
    """A small XML answer; `rows` is XML already."""
    inner = "".join(f"<{tag}>{escape(str(text))}</{tag}>" for tag, text in pairs) + rows
    return web.Response(text=f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}>{inner}</{name}>',
                        content_type="application/xml")


def iso(at):
    """A time as listings write it."""
    return time.strftime("%FT%T.000Z", time.gmtime(at))


class Signer:
    """Signature version 4, the checking side."""

    def __init__(self):
        self.keys = {}

    def key(self, day):
        """The signing key of a day."""
        if day not in self.keys:
            key = f"AWS4{SECRET_KEY}".encode()
            for word in (day, REGION, "s3", "aws4_request"):
                key = hmac.digest(key, word.encode(), "sha256")
            self.keys[day] = key
        return self.keys[day]

    def check(self, request):
        """Raises Refused unless the request is signed, with all its x-amz headers."""
        found = SIGNATURE.fullmatch(request.headers.get("Authorization", ""))
        if not found:
            raise Refused(403, "AccessDenied")
        credential, names, signature = found.groups()
        names = names.split(";")
        must = {name.lower() for name in request.headers if name.lower().startswith("x-amz-")}
        at = request.headers.get("x-amz-date", "")
        scope = f"{at[:8]}/{REGION}/s3/aws4_request"
        if credential != f"{ACCESS_KEY}/{scope}" or not must | {"host"} <= set(names):
            raise Refused(403, "SignatureDoesNotMatch")
        path, _, query = request.raw_path.partition("?")
        query = "&".join(sorted(item if "=" in item else item + "="
                                for item in query.split("&") if item))
        headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names)
        canonical = "\n".join((request.method, path, query, headers, ";".join(names),
                               request.headers["x-amz-content-sha256"]))
        text = "\n".join(("AWS4-HMAC-SHA256", at, scope,
                          hashlib.sha256(canonical.encode()).hexdigest()))
        right = hmac.new(self.key(at[:8]), text.encode(), "sha256").hexdigest()
        if not hmac.compare_digest(right, signature):
            raise Refused(403, "SignatureDoesNotMatch")


class Store:
    """One bucket. `judge` is told what was stored."""

    def __init__(self, judge):
        self.judge = judge
        self.objects, self.uploads = {}, {}
        self.numbers = itertools.count(1)
        self.made = self.ended = 0  # uploads
        self.signer = Signer()

    # ---- the rules of writing

    @staticmethod
    def check_body(headers, body):
        """Payload hash and checksum, each refused with its own code; the object otherwise."""
        said, digest = headers["x-amz-content-sha256"], hashlib.sha256(body).hexdigest()
        if said not in ("UNSIGNED-PAYLOAD", digest):
            raise Refused(400, "XAmzContentSHA256Mismatch")
        checksum = crc_text(body)
        if headers.get("x-amz-checksum-crc32c", checksum) != checksum:
            raise Refused(400, "BadDigest")
        return Object(body, digest[:32], checksum, metadata(headers))

    def keep(self, key, made, headers):
        """Creates an object, on the condition of the request."""
        if headers.get("If-None-Match") == "*" and key in self.objects:
            raise Refused(412, "PreconditionFailed")
        self.judge.on_stored(key, made, self.objects.get(key))
        self.objects[key] = made

    def put(self, key, _query, headers, body):
        """PutObject"""
        made = self.check_body(headers, body)
        self.keep(key, made, headers)
        return web.Response(headers={"ETag": f'"{made.etag}"',
                                     "x-amz-checksum-crc32c": made.crc})

    def create(self, key, _query, headers, _body):
        """CreateMultipartUpload"""
        name = f"upload-{next(self.numbers)}"
        self.uploads[name] = Upload(key, metadata(headers), time.time())
        self.made += 1
        return document("InitiateMultipartUploadResult", ("Bucket", BUCKET), ("Key", key),
                        ("UploadId", name))

    def upload(self, key, query):
        """The upload that the query names."""
        upload = self.uploads.get(query["uploadId"])
        if not upload or upload.key != key:
            raise Refused(404, "NoSuchUpload")
        return upload

    def part(self, key, query, headers, body):
        """UploadPart"""
        upload = self.upload(key, query)
        made = self.check_body(headers, body)
        upload.parts[int(query["partNumber"])] = made
        return web.Response(headers={"ETag": f'"{made.etag}"',
                                     "x-amz-checksum-crc32c": made.crc})

    def complete(self, key, query, headers, body):
        """CompleteMultipartUpload"""
        upload = self.upload(key, query)
        named = re.findall(r"<Part>(.*?)</Part>", body.decode(), re.S)
        numbers = [int(re.search(r"<PartNumber>(\d+)<", item)[1]) for item in named]
        if numbers != list(range(1, len(numbers) + 1)) or not numbers:
            raise Refused(400, "InvalidPartOrder")
        parts = []
        for number, item in zip(numbers, named):
            made = upload.parts.get(number)
            etag = re.search(r"<ETag>(?:&quot;|\")?(\w+)", item)[1]
            checksum = re.search(r"<ChecksumCRC32C>([^<]+)<", item)
            if not made or made.etag != etag or checksum and checksum[1] != made.crc:
                raise Refused(400, "InvalidPart")
            parts.append(made)
        if any(len(made.body) < PART_MIN for made in parts[:-1]):
            raise Refused(400, "EntityTooSmall")
        whole = b"".join(made.body for made in parts)
        if headers.get("x-amz-mp-object-size", str(len(whole))) != str(len(whole)):
            raise Refused(400, "InvalidRequest")
        if headers.get("x-amz-checksum-crc32c", crc_text(whole)) != crc_text(whole):
            raise Refused(400, "BadDigest")
        etag = hashlib.sha256("".join(made.etag for made in parts).encode()).hexdigest()[:32]
        self.keep(key, Object(whole, f"{etag}-{len(parts)}", crc_text(whole), upload.meta,
                              len(parts)), headers)
        del self.uploads[query["uploadId"]]
        self.ended += 1
        return document("CompleteMultipartUploadResult", ("Bucket", BUCKET), ("Key", key),
                        ("ETag", f'"{etag}-{len(parts)}"'))

    def abort(self, key, query, _headers, _body):
        """AbortMultipartUpload"""
        self.upload(key, query)
        del self.uploads[query["uploadId"]]
        self.ended += 1
        return web.Response(status=204)

    # ---- looking

    def list_parts(self, key, query, _headers, _body):
        """ListParts, two a page."""
        parts = sorted(self.upload(key, query).parts.items())
        after = int(query.get("part-number-marker", 0))
        left = [(number, made) for number, made in parts if number > after]
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{made.etag}&quot;</ETag>"
            f"<Size>{len(made.body)}</Size><ChecksumCRC32C>{made.crc}</ChecksumCRC32C></Part>"
            for number, made in left[:PAGE])
        more = len(left) > PAGE
        following = [("NextPartNumberMarker", left[PAGE - 1][0])] if more else []
        return document("ListPartsResult", ("IsTruncated", str(more).lower()), *following,
                        ("UploadId", query["uploadId"]), rows=rows)

    def list_objects(self, _key, query, _headers, _body):
        """ListObjectsV2, two a page."""
        keys = sorted(key for key in self.objects
                      if key.startswith(query.get("prefix", ""))
                      and key > query.get("continuation-token", query.get("start-after", "")))
        rows = "".join(f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key].body)}"
                       f"</Size><ETag>&quot;{self.objects[key].etag}&quot;</ETag>"
                       f"<LastModified>{iso(self.objects[key].made)}</LastModified></Contents>"
                       for key in keys[:PAGE])
        more = len(keys) > PAGE
        token = [("NextContinuationToken", keys[PAGE - 1])] if more else []
        return document("ListBucketResult", ("IsTruncated", str(more).lower()), *token,
                        ("KeyCount", min(len(keys), PAGE)), rows=rows)

    def list_uploads(self, _key, query, _headers, _body):
        """ListMultipartUploads, two a page."""
        after = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
        left = sorted((upload.key, name) for name, upload in self.uploads.items()
                      if upload.key.startswith(query.get("prefix", ""))
                      and (upload.key, name) > after)
        rows = "".join(
            f"<Upload><Key>{escape(key)}</Key><UploadId>{name}</UploadId><Initiated>"
            f"{iso(self.uploads[name].initiated)}</Initiated></Upload>" for key, name in left[:PAGE])
        more = len(left) > PAGE
        following = [("NextKeyMarker", left[PAGE - 1][0]),
                     ("NextUploadIdMarker", left[PAGE - 1][1])] if more else []
        return document("ListMultipartUploadsResult", ("IsTruncated", str(more).lower()),
                        *following, rows=rows)

    def head(self, key, _query, _headers, _body):
        """HeadObject"""
        made = self.objects.get(key)
        if not made:
            raise Refused(404, "NoSuchKey")
        headers = {f"x-amz-meta-{name}": value for name, value in made.meta.items()}
        return web.Response(headers={
            "ETag": f'"{made.etag}"', "x-amz-checksum-crc32c": made.crc,
            "x-amz-checksum-type": "FULL_OBJECT", "Last-Modified": NEVER, **headers,
            "Content-Length": str(len(made.body))})

    def get(self, key, query, headers, body):
        """GetObject"""
        answer = self.head(key, query, headers, body)
        whole = self.objects[key].body
        asked = RANGE.fullmatch(headers.get("Range", ""))
        if not asked:
            answer.body = whole
            return answer
        first, last = int(asked[1]), min(int(asked[2] or len(whole)), len(whole) - 1)
        if first > last:
            raise Refused(416, "InvalidRange")
        answer.set_status(206)
        answer.headers["Content-Range"] = f"bytes {first}-{last}/{len(whole)}"
        answer.body = whole[first:last + 1]
        return answer


def metadata(headers):
    """The user's metadata of a request."""
    mark = "x-amz-meta-"
    return {name.lower()[len(mark):]: value for name, value in headers.items()
            if name.lower().startswith(mark)}


# (method, members of the query that say which operation it is, its name).
VERBS = (
    ("PUT", {"partNumber", "uploadId"}, "part"), ("PUT", set(), "put"),
    ("POST", {"uploads"}, "create"), ("POST", {"uploadId"}, "complete"),
    ("DELETE", {"uploadId"}, "abort"), ("GET", {"uploadId"}, "list-parts"),
    ("GET", {"list-type"}, "list-objects"), ("GET", {"uploads"}, "list-uploads"),
    ("GET", set(), "get"), ("HEAD", set(), "head"),
)


def verb_of(method, query):
    """The operation of a request."""
    return next((name for its_method, members, name in VERBS
                 if its_method == method and members <= query.keys()), "unknown")


class Front:
    """The HTTP side of the store for one daemon."""

    def __init__(self, lab, slot):
        self.lab, self.slot = lab, slot

    async def handle(self, request):
        """One request, as an operation of the wire."""
        self.lab.transports.add(request.transport)
        judge = self.lab.judge
        try:
            body = await request.content.read()
        except ConnectionResetError:  # its daemon was killed meanwhile
            return web.Response()
        if judge.closed:  # its daemon is dead, and its run is over
            return web.Response()
        query = dict(urllib.parse.parse_qsl(request.query_string, keep_blank_values=True))
        key = urllib.parse.unquote(request.raw_path.split("?")[0]).removeprefix(f"/{BUCKET}/")
        verb = verb_of(request.method, query)
        subject = " ".join(filter(None, (key, query.get("partNumber"), query.get("prefix"))))
        op = Op("s3", verb, subject, self.slot)
        store = self.lab.store

        async def carry_out():
            try:
                store.signer.check(request)
                return getattr(store, verb.replace("-", "_"))(key, query, request.headers, body)
            except Refused as refused:
                return error(refused.status, refused.code)

        async def instead(kind, _effect):
            return error(*STATUS[kind])

        op.instead = instead
        try:
            answer = await self.lab.wire.through(op, carry_out)
        except Lost:
            request.transport.abort()
            return web.Response()
        except Half as stop:
            return await half_answer(request, stop.answer)
        answer.headers["Date"] = email.utils.formatdate(usegmt=True)
        return answer


async def half_answer(request, answer):
    """The headers, half of the body, the end."""
    body = answer.body or b""
    stream = web.StreamResponse(status=answer.status, headers=answer.headers)
    stream.content_length = len(body) or 1
    try:
        await stream.prepare(request)
        await stream.write(bytes(body[:len(body) // 2]))
        await stream.drain()
    except OSError:
        pass
    request.transport.close()
    return stream
