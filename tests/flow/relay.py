# SPDX-License-Identifier: Apache-2.0
"""A TCP relay between the daemon and one of its servers, with hooks for what a test wants to go
wrong on the way: bytes changed, held back, answered by somebody else, or a connection cut."""
import socket
import threading
import urllib.parse

CHUNK = 1 << 16


class Cut(Exception):
    """Raised by a hook: the connection ends here."""


class Answer(Exception):
    """Raised by the hook `up`: the client gets these bytes, the server sees nothing more."""

    def __init__(self, data):
        super().__init__()
        self.data = data


def http_answer(status, body="", **headers):
    """An answer after which the connection is closed; names of headers take _ for -."""
    lines = [f"HTTP/1.1 {status} X", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def s3_error(status, code):
    """An error as S3 writes it."""
    return http_answer(status, f"<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code></Error>")


class Relay:
    """Relays to `target`, "http://host:port" or the path of a unix socket. `up` and `down` are
    called with each chunk of bytes from and to the client, and return what goes on."""

    def __init__(self, target):
        self.target = str(target)
        self.up = self.down = lambda data: data
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def cut(self):
        """Ends all connections."""
        for connection in list(self.open):
            self._end(connection)

    def _connect(self):
        if not self.target.startswith("http"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            return server
        place = urllib.parse.urlsplit(self.target)
        return socket.create_connection((place.hostname, place.port))

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            self.open |= {client, server}
            for way in ((client, server, "up"), (server, client, "down")):
                threading.Thread(target=self._pump, args=way, daemon=True).start()

    def _pump(self, source, sink, hook):
        try:
            while data := source.recv(CHUNK):
                sink.sendall(getattr(self, hook)(data))
        except Answer as answer:
            self._answer(source, answer.data)
        except (Cut, OSError):
            pass
        self._end(source)
        self._end(sink)

    @staticmethod
    def _answer(client, data):
        """What the client still sends is read, so that it gets the answer and no reset."""
        try:
            client.sendall(data)
            while client.recv(CHUNK):
                pass
        except OSError:
            pass

    def _end(self, connection):
        self.open.discard(connection)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        connection.close()
