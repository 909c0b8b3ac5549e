#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A server for test_http.c that misbehaves on request: the path names the trick.

Prints its port, its TLS port and the file of the certificate to trust for "localhost"; ends
when standard input closes. /NAME/NUMBER calls the function do_NAME, which returns True if the
connection may be used again. Bodies follow a pattern that the test knows.
"""
import itertools
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

PERIOD = bytes((i * i + (i >> 3)) & 255 for i in range(65521))
connections = itertools.count(1)


def pattern(size):
    return (PERIOD * (size // len(PERIOD) + 1))[:size]


def head(status, *lines):
    return "\r\n".join([f"HTTP/1.1 {status} Text", *lines, "", ""]).encode()


class Peer(socketserver.BaseRequestHandler):
    """One connection; `self.number` tells connections apart in the answers."""

    def setup(self):
        self.number = next(connections)
        self.served = 0
        self.grudge = False
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.request.makefile("rb")

    def handle(self):
        try:
            while self.serve():
                self.served += 1
        except (OSError, ValueError):
            pass  # gone, or not speaking HTTP at all

    def serve(self):
        words = self.input.readline().decode("latin-1").split()
        if len(words) != 3:
            return False
        self.headers = {}
        while line := self.input.readline().decode("latin-1").strip():
            name, value = line.split(":", 1)
            self.headers[name.lower()] = value.strip()
        if self.grudge:
            return False
        self.method = words[0]
        name, _, number = words[1][1:].partition("/")
        if name in ("early", "sip"):
            return getattr(self, f"do_{name}")()
        self.body = self.input.read(int(self.headers.get("content-length", 0)))
        return getattr(self, f"do_{name}")(int(number or 0))

    def send(self, data):
        self.request.sendall(data)
        return True

    def wait(self):
        """Until the other side closes."""
        self.request.recv(1)
        return False

    def do_bytes(self, size):
        self.send(head(200, f"Content-Length: {size}", "Content-Type: text/x-pattern"))
        return True if self.method == "HEAD" else self.send(pattern(size))

    def do_chunked(self, size):
        self.send(head(200, "Transfer-Encoding: chunked"))
        data = pattern(size)
        for at in range(0, size, 1000):
            piece = data[at : at + 1000]
            self.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        return self.send(b"0\r\nX-Trailer: late\r\n\r\n")

    def do_status(self, number):
        """/status/CODEnnnnnn: CODE with a body of nnnnnn bytes."""
        status, size = divmod(number, 1000000)
        self.send(head(status, f"Content-Length: {size}", "Retry-After: 7"))
        return self.send(b"e" * size)

    def do_empty(self, _):
        return self.send(head(204))

    def do_cut(self, size):
        self.send(head(200, f"Content-Length: {size}"))
        self.send(pattern(size // 2))
        return False

    def do_cutchunk(self, size):
        self.send(head(200, "Transfer-Encoding: chunked"))
        self.send(f"{size:x}\r\n".encode() + pattern(size // 2))
        return False

    def do_reset(self, size):
        self.send(head(200, f"Content-Length: {size}"))
        self.send(pattern(size // 2))
        time.sleep(0.05)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.input.close()
        self.request.close()
        return False

    def do_silent(self, _):
        return self.wait()

    def do_halt(self, size):
        self.send(head(200, f"Content-Length: {size}"))
        self.send(pattern(size // 2))
        return self.wait()

    def do_drip(self, size):
        self.send(head(200, f"Content-Length: {size}"))
        for byte in pattern(size):
            time.sleep(0.03)
            self.send(bytes([byte]))
        return True

    def do_echo(self, _):
        length = self.headers.get("content-length", "none")
        self.send(head(200, f"Content-Length: {len(self.body)}", f"X-Method: {self.method}",
                       f"X-Length: {length}", f"X-Expect: {self.headers.get('expect', 'none')}",
                       f"X-Token: {self.headers.get('x-token', 'none')}"))
        return self.send(self.body)

    def do_number(self, _):
        """The number of the connection, and of requests it served before."""
        text = f"{self.number} {self.served}".encode()
        return self.send(head(200, f"Content-Length: {len(text)}") + text)

    def do_grudge(self, number):
        """As above, but hangs up instead of answering the next request on this connection."""
        self.grudge = True
        return self.do_number(number)

    def do_early(self):
        self.send(head(503, "Content-Length: 4", "Connection: close") + b"busy")
        self.request.shutdown(socket.SHUT_WR)
        while self.request.recv(65536):
            pass
        return False

    def do_sip(self):
        """Reads the body slowly, through a small window."""
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        left = int(self.headers["content-length"])
        while left > 0:
            left -= len(self.input.read(min(left, 65536)))
            time.sleep(0.02)
        return self.send(head(204))

    def do_hangup(self, _):
        return False

    def do_moved(self, _):
        return self.send(head(301, "Location: /bytes/10", "Content-Length: 0"))

    def do_garbage(self, _):
        self.send(b"I do not speak HTTP.\r\n\r\n")
        return False

    def do_interim(self, _):
        self.send(head(100) + head(103, "X-Interim: yes"))
        return self.send(head(200, "Content-Length: 2", "X-Final: yes") + b"ok")

    def do_fat(self, size):
        self.send(head(200, "Content-Length: 0", *(f"X-{i}: {'h' * 990}" for i in range(size))))
        return True


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256


class TlsServer(Server):
    """The same over TLS, with a certificate of its own making for "localhost"."""

    def __init__(self, directory):
        super().__init__(("127.0.0.1", 0), Peer)
        key, self.certificate = f"{directory}/key.pem", f"{directory}/certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost", "-keyout", key, "-out", self.certificate],
            check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)

    def finish_request(self, request, client_address):
        try:
            with self.context.wrap_socket(request, server_side=True) as stream:
                super().finish_request(stream, client_address)
        except OSError:
            pass  # the client did not like us


def main():
    with tempfile.TemporaryDirectory() as directory:
        servers = [Server(("127.0.0.1", 0), Peer), TlsServer(directory)]
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        ports = [server.server_address[1] for server in servers]
        print(*ports, servers[1].certificate, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
