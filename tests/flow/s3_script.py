# SPDX-License-Identifier: Apache-2.0
"""A scripted S3 server: it answers request by request what the test says, checks each signature
with botocore's signer and keeps what it got. For what no real server here can be made to do."""
import base64
import collections
import email.utils
import hashlib
import re
import socket
import threading
import time

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS_KEY, SECRET_KEY, REGION = "AKSCRIPT", "secret/of+the=script", "us-east-1"
SLEEP_S = 30

Request = collections.namedtuple("Request", "method target headers body")


class Cut:
    """Sends `data`, then closes the connection."""

    def __init__(self, data=b""):
        self.data = data


class Slow:
    """Sends the pieces with a pause after each."""

    def __init__(self, *pieces, pause_s=0.3):
        self.pieces, self.pause_s = pieces, pause_s


SILENCE = Slow(b"", pause_s=SLEEP_S)


def reply(status, body="", now=None, **headers):
    """A complete answer. `now` shifts its Date; names of headers take _ for -."""
    lines = [f"HTTP/1.1 {status} X", f"Date: {email.utils.formatdate(now, usegmt=True)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body.encode())}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def error(status, code, more="", **headers):
    """An error answer as S3 writes it."""
    body = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code>{more}</Error>'
    return reply(status, body, **headers)


def signature_fault(request):
    """None if botocore would have signed this request in the same way, else what differs."""
    header = request.headers.get("authorization", "")
    found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), "
                         r"Signature=([0-9a-f]{64})", header)
    if not found:
        return f"no signature in {header!r}"
    credential, names, signature = found.groups()
    signed = {name: request.headers[name] for name in names.split(";")}
    unsigned = [name for name in request.headers
                if name.startswith("x-amz-") and name not in signed]
    if unsigned or "host" not in signed:
        return f"not signed: {unsigned or 'host'}"
    again = AWSRequest(request.method, f"http://{signed['host']}{request.target}", signed)
    again.context["timestamp"] = signed["x-amz-date"]
    signer = S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION)
    expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)),
                                again)
    if credential != signer.scope(again) or signature != expected:
        return f"signature differs for {signer.canonical_request(again)!r}"
    return None


def payload_fault(request):
    """None if the hash and the checksum in the headers are those of the body."""
    sha256 = request.headers["x-amz-content-sha256"]
    if sha256 not in ("UNSIGNED-PAYLOAD", hashlib.sha256(request.body).hexdigest()):
        return "x-amz-content-sha256 is not of the body"
    return None


def crc32c(data):
    """As base64 of four bytes. Slow and independent of ours."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return base64.b64encode((crc ^ 0xFFFFFFFF).to_bytes(4, "big")).decode()


class Script:
    """Answers with `answers` in order; a request beyond them, or a wrong one, is a fault."""

    def __init__(self, *answers):
        self.answers = collections.deque(answers)
        self.requests, self.times, self.faults = [], [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.closing = threading.Event()
        self.threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(5)
        assert not self.faults, self.faults

    def _accept(self):
        while not self.closing.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, connection):
        connection.settimeout(0.5)
        with connection, connection.makefile("rb") as stream:
            while not self.closing.is_set():
                try:
                    request = self._read(stream)
                    if request is None or not self._answer(connection, request):
                        return
                except OSError:
                    return

    def _read(self, stream):
        line = stream.readline()
        if not line:
            return None
        method, target, _ = line.decode("ascii").split(" ")
        headers = {}
        while (line := stream.readline().decode("ascii").rstrip("\r\n")):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        return Request(method, target, headers, body)

    def _answer(self, connection, request):
        self.requests.append(request)
        self.times.append(time.monotonic())
        fault = signature_fault(request) or payload_fault(request)
        if fault or not self.answers:
            self.faults.append(fault or f"unexpected {request.method} {request.target}")
            return False
        answer = self.answers.popleft()
        if isinstance(answer, Slow):
            for piece in answer.pieces:
                connection.sendall(piece)
                self.closing.wait(answer.pause_s)
            return True
        connection.sendall(answer.data if isinstance(answer, Cut) else answer)
        return not isinstance(answer, Cut)
