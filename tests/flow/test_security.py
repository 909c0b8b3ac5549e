# SPDX-License-Identifier: Apache-2.0
"""Secrets stay where they belong, and foreign words make the daemon do nothing: the security
checklist, item by item, against the production daemon."""
import base64
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import urllib.parse

import pytest

from relay import Answer, Relay, http_answer, s3_error
from test_tail import committed, drained
from world import Sluiced, end, spawn, wait_until, write_secret

EX_CONFIG = 78
NOBODY = 65534
TOKEN = b"eyJhbGci"  # how every token of the simulator begins
MIB = 1 << 20
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z (debug|info |warn |error) \S+ [ -~]*")


# ---- secrets: only from files that are safe

def lonely_config(place):
    """A configuration without servers: enough to get as far as the secrets."""
    return {
        "redis": {"url": f"unix://{place}/none", "user": "u",
                  "password_file": write_secret(place / "redis_password", "hunter2")},
        "aep": {"endpoint": "http://127.0.0.1:9", "ims_endpoint": "http://127.0.0.1:9",
                "org": "x@AdobeOrg", "client_id": "c",
                "client_secret_file": write_secret(place / "client_secret", "hunter2")},
        "s3": {"endpoint": "http://127.0.0.1:9", "bucket": "bucket",
               "credentials_file": write_secret(
                   place / "credentials", "[default]\naws_access_key_id = A\n"
                   "aws_secret_access_key = hunter2\n")},
        "datasets": [{"id": "d", "as": "d", "start": "2020-01-01"}],
    }


def as_link(file):
    """The same file behind a symbolic link."""
    file.rename(file.with_suffix(".real"))
    file.symlink_to(file.with_suffix(".real"))


def as_directory(file):
    """A directory in its place."""
    file.unlink()
    file.mkdir()


def as_fifo(file):
    """A FIFO in its place: nobody must wait for its writer."""
    file.unlink()
    os.mkfifo(file, 0o600)


UNSAFE = {
    "symbolic link": (as_link, "is a symbolic link"),
    "directory": (as_directory, "is not a regular file"),
    "fifo": (as_fifo, "is not a regular file"),
    "missing": (pathlib.Path.unlink, "No such file"),
    "group may write": (lambda file: file.chmod(0o620), "has mode 0620"),
    "others may write": (lambda file: file.chmod(0o602), "has mode 0602"),
    "others may read": (lambda file: file.chmod(0o604), "has mode 0604"),
    "foreign owner": (lambda file: os.chown(file, NOBODY, NOBODY), "belongs to user 65534"),
    "empty": (lambda file: file.write_bytes(b"\n"), "is empty"),
    "NUL": (lambda file: file.write_bytes(b"hunter2\0"), "contains a NUL byte"),
    "too large": (lambda file: file.write_bytes(b"x" * 65537), "is larger than 64 KiB"),
}


@pytest.mark.parametrize("name", ["client_secret", "credentials", "redis_password"])
@pytest.mark.parametrize("case", UNSAFE)
def test_unsafe_secret_file_is_refused(place, case, name):
    """Exit 78, and a sentence that names the file."""
    if case == "foreign owner" and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    daemon = Sluiced(place / "daemon", lonely_config(place))
    spoil, why = UNSAFE[case]
    spoil(place / name)
    daemon.launch()
    assert daemon.process.wait(10) == EX_CONFIG, daemon.tail()
    said = daemon.tail().replace("cannot be opened: ", "")
    assert f"secret file {place / name} {why}" in said
    assert "hunter2" not in daemon.tail()


# ---- secrets: nowhere else

class Canaries:
    """The secrets of one run, in every form in which they could show up."""

    def __init__(self, **secrets):
        self.forms = {name: {text.encode(), urllib.parse.quote(text, safe="").encode(),
                             base64.b64encode(text.encode()).rstrip(b"=")}
                      for name, text in secrets.items()}
        self.forms["token"] = {TOKEN}
        self.places = 0

    def absent(self, where, data):
        """Fails if one of them is in the bytes."""
        data = data.encode() if isinstance(data, str) else data
        self.places += 1
        for name, forms_of_it in self.forms.items():
            for form in forms_of_it:
                assert form not in data, f"{name} in {where}: {around(data, form)}"


def around(data, form):
    """What stands near it."""
    at = data.index(form)
    return data[max(0, at - 80):at + 80]


class Tap(Relay):
    """A relay that keeps what the daemon says, connection by connection mixed."""

    def __init__(self, target):
        super().__init__(target)
        self.said = bytearray()
        self.hook = lambda data: None
        self.up = self._listen

    def _listen(self, data):
        self.said += data
        self.hook(data)
        return data


def nasty(tap, answers):
    """Has a tap answer the first requests itself, where the list says how."""
    answers = iter(answers)

    def hook(data):
        head = data.split(b"\r\n\r\n")[0].decode("latin-1")
        if not head.startswith(("GET", "PUT", "POST", "HEAD")):
            return
        answer = next(answers, None)
        if answer:
            raise Answer(answer(data.decode("latin-1")))
    tap.hook = hook


def echo(status):
    """An error that repeats what it was told, as some proxies do, in the gateway's form."""
    def answer(request):
        token = re.search(r"Bearer (\S+)", request)
        said = token[1] if token else request[-200:]
        return http_answer(status, '{"error_code":"403027","message":"refused: ' +
                           said.replace('"', "").replace("\r\n", " ") + '"}')
    return answer


def s3_refusal(request):
    """S3's answer to a wrong signature repeats what was signed."""
    del request
    return s3_error(403, "SignatureDoesNotMatch")


def everything_of_redis(redis, place):
    """All that is on its disk, and a dump of what it holds."""
    dump = place / "dump.rdb"
    subprocess.run(["redis-cli", "-s", str(redis.socket), "--rdb", str(dump)], check=True,
                   capture_output=True)
    yield "Redis' dump", dump.read_bytes()
    for file in redis.directory.rglob("*"):
        if file.is_file():
            yield f"Redis' {file.name}", file.read_bytes()
    for key in redis.command("--scan").split():
        kind = redis.command("TYPE", key)
        read = {"hash": ("HGETALL", key), "list": ("LRANGE", key, 0, -1),
                "stream": ("XRANGE", key, "-", "+"), "set": ("SMEMBERS", key),
                "zset": ("ZRANGE", key, 0, -1), "string": ("GET", key)}[kind]
        yield f"Redis' {key}", redis.command(*read)


def without_secrets_in_their_place(transcript):
    """What was said to AEP, without the header and the form that must hold a secret."""
    text = re.sub(rb"(?im)^authorization: bearer \S+", b"", transcript)
    return re.sub(rb"client_secret=[^&\s]+", b"", text)


@pytest.mark.slow
def test_canary(world, sim, sluiced, redis, rgw, bucket, place):
    """Work, faults and refusals at the loudest log level; then the secrets are looked for."""
    secret, password = "canary/aep+secret=0123456789", "canary-redis-9876543210"
    sim.world.secrets = [secret]
    data = world.dataset()
    data.batch([1000, 6 * MIB])
    data.batch([2000])
    sim.start()
    sim.arm("auth_401_once error_500:times=2 html_200:times=1,endpoint=files truncated_body")
    redis.command("ACL", "SETUSER", "sluiced", "on", f">{password}", "~*", "&*", "+@all")
    canaries = Canaries(client_secret=secret, password=password, s3_secret=rgw.secret_key)
    with Tap(sim.endpoint) as aep, Tap(rgw.endpoint) as store, Tap(redis.socket) as queue:
        nasty(aep, [echo(400), None, echo(401), echo(403), None, echo(403), echo(500)])
        nasty(store, [s3_refusal, None, None, None, s3_refusal])
        daemon = sluiced(
            log={"level": "debug"}, s3={"endpoint": f"http://{store.address}"},
            aep={"endpoint": f"http://{aep.address}", "ims_endpoint": f"http://{aep.address}"},
            redis={"url": f"redis://{queue.address}/0", "user": "sluiced",
                   "password_file": write_secret(place / "password", password)})
        daemon.start()
        for _ in range(5):  # while it is in trouble, too
            canaries.absent("/status", daemon.get("/status")[1])
            canaries.absent("/readyz", daemon.get("/readyz?verbose")[1])
        committed(daemon, 2, 90)
        drained(daemon, redis)
        for target in ("/metrics", "/status", "/readyz?verbose", "/version", "/nothing"):
            canaries.absent(target, daemon.get(target)[1])
        process = pathlib.Path(f"/proc/{daemon.process.pid}")
        for name in ("cmdline", "environ", "comm"):
            canaries.absent(name, (process / name).read_bytes())
        for name, content in everything_of_redis(redis, place):
            canaries.absent(name, content)
        assert secret.encode() in urllib.parse.unquote_to_bytes(bytes(aep.said))
        canaries.absent("what AEP was told", without_secrets_in_their_place(bytes(aep.said)))
        canaries.absent("what the store was told", bytes(store.said))
        assert password.encode() in queue.said
        told = bytes(queue.said).replace(password.encode(), b"", 1)  # to log in, once
        canaries.absent("what Redis was told", told)
        daemon.stop()
    canaries.absent("the log", daemon.log.read_bytes())
    assert daemon.log.read_bytes().count(b" warn ") >= 2, "the faults never struck"
    for key in bucket.objects(""):
        canaries.absent(key, b"".join(bucket.read(key)) if key.endswith("json") else key)
    printed = subprocess.run([daemon.binary, "--config", daemon.file, "--print-config"],
                             check=True, capture_output=True).stdout
    canaries.absent("--print-config", printed)
    assert canaries.places > 40


def readable_memory(pid):
    """Can a process of the same user read this one's memory?"""
    script = f"open('/proc/{pid}/mem', 'rb').close()"
    return subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                           "--clear-groups", "/usr/bin/python3", "-c", script],
                          capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_memory_is_private(place):
    """Nobody of the same user reads its memory, and it leaves no core."""
    daemon = Sluiced(place / "daemon", lonely_config(place))
    for file in (place, *place.iterdir()):
        os.chown(file, NOBODY, NOBODY)
    binary = shutil.copy(daemon.binary, place / "sluiced")
    start = daemon.directory / "start"
    start.write_text(f"#!/bin/sh\ncd {daemon.directory}; ulimit -c unlimited\nexec setpriv "
                     f"--reuid={NOBODY} --regid={NOBODY} --clear-groups {binary} \"$@\"\n")
    start.chmod(0o755)
    daemon.binary = str(start)
    other = spawn(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                   "sleep", "60"])
    try:
        daemon.start()
        wait_until(lambda: readable_memory(other.pid), 5, "what is not protected can be read")
        assert not readable_memory(daemon.process.pid)
        assert not subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                                   "--clear-groups", "gcore", "-o", f"{daemon.directory}/core",
                                   str(daemon.process.pid)], check=False,
                                  capture_output=True).returncode == 0
        daemon.process.send_signal(signal.SIGABRT)
        daemon.process.wait(10)
        assert not list(daemon.directory.glob("core*"))
    finally:
        end(other)
        if daemon.running():
            daemon.kill9()


# ---- nothing is fetched from where a foreigner says

class Trap:
    """A server to which no connection may be made."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def caught(self):
        """Has somebody come?"""
        self.listener.setblocking(False)
        try:
            self.listener.accept()[0].close()
            return True
        except BlockingIOError:
            return False


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("upstream", ["ims", "aep", "s3"])
def test_redirects_are_not_followed(world, sim, sluiced, rgw, upstream, status):
    """A16: neither Adobe nor the store sends us elsewhere."""
    world.dataset().batch([100])
    sim.start()
    struck = []
    with Trap() as trap, Relay(rgw.endpoint if upstream == "s3" else sim.endpoint) as relay:
        def up(data):
            if upstream == "aep" and data.startswith(b"POST /ims"):
                return data
            struck.append(data)
            raise Answer(http_answer(status, Location=f"http://{trap.address}/latest/"))
        relay.up = up
        there = f"http://{relay.address}"
        sections = {"ims": {"aep": {"ims_endpoint": there}}, "s3": {"s3": {"endpoint": there}},
                    "aep": {"aep": {"endpoint": there, "ims_endpoint": there}}}
        daemon = sluiced(**sections[upstream])
        daemon.start()
        wait_until(lambda: len(struck) >= 2, 10, "asked again")
        assert not trap.caught()
        assert daemon.metric("sluice_batches_committed_total") == 0
        assert daemon.metric("sluice_dead_letters_total") == 0


@pytest.mark.parametrize("shape", ["http://TRAP", "http://169.254.169.254", "//evil.example",
                                   "gopher://TRAP", "/../..", "@TRAP"])
def test_links_of_pages_lead_nowhere_else(world, sim, sluiced, redis, judge, shape):
    """A16: the next page is asked from where the first one was, whatever the link says."""
    data = world.dataset()
    data.batch([10] * 130)
    data.batch(directories=[[50]] * 120)
    sim.start()
    real = b"https://platform.adobe.io:443"
    with Trap() as trap, Tap(sim.endpoint) as relay:
        link = shape.replace("TRAP", trap.address).encode().ljust(len(real), b"/")
        assert len(link) == len(real)  # so that Content-Length stays right
        changed = []

        def down(answer):
            changed.append(answer.count(real))
            return answer.replace(real, link)
        relay.down = down
        daemon = sluiced(aep={"endpoint": f"http://{relay.address}"})
        daemon.start()
        committed(daemon, 2)
        drained(daemon, redis)
        judge()
        assert sum(changed) > 200 and not trap.caught()
        asked_well(relay)


HOSTILE_NAMES = [
    "../../../etc/passwd", "..", "a/../../b", "@evil.example/x", "http://evil.example/",
    "x\r\nHost: evil.example\r\n\r\nGET /evil HTTP/1.1",
    "n\n2026-01-01T00:00:00.000Z error sluiced forged",
    "//evil.example/x", "?path=other&start=9", "#fragment", "%2e%2e%2f%00", "\u202egpj.exe",
    "\x01\x02\x1b[31mred\x1b[0m\x7f", "'; FLUSHALL; --", "{prefix}{name}", "_manifest.json",
    "sha256-0000", "\\..\\windows", "name with \u0085 and \u2028", "n" * 255,
]


def asked_well(tap):
    """Every request that went through was one of ours: known path, printable, our own host."""
    heads = re.findall(rb"(?:^|\r\n\r\n)((?:GET|HEAD) [^\r\n]*)\r\nHost: ([^\r\n]*)", tap.said)
    assert len(heads) > 5
    for line, host in heads:
        assert re.fullmatch(rb"(GET|HEAD) /data/foundation/(catalog|export)/[a-z]+(/[\w.@%-]+)*"
                            rb"(\?[\x21-\x7e]*)? HTTP/1\.1", line), line
        assert b".." not in line.split(b"?")[0] and b"#" not in line, line
        assert host.decode() == tap.address, host


def test_hostile_names(world, sim, sluiced, redis, judge, bucket):
    """A17: names with all that could climb, inject or forge: stored under encoded keys, asked
    for as one parameter, and one line in the log stays one line."""
    data = world.dataset()
    data.batch([(name, 1000 + len(name)) for name in HOSTILE_NAMES])
    sim.start()
    sim.arm("truncated_body:times=20")  # so that the names are logged
    with Tap(sim.endpoint) as tap:
        daemon = sluiced(aep={"endpoint": f"http://{tap.address}"}, log={"level": "debug"})
        daemon.start()
        committed(daemon, 1)
        drained(daemon, redis)
        judge()
        asked_well(tap)
        assert b"/evil HTTP" not in bytes(tap.said)
        daemon.stop()
    for line in daemon.log.read_text(encoding="ascii").splitlines():
        assert LOG_LINE.fullmatch(line), line
        assert " error sluiced forged" not in line[20:40], line
    for key in bucket.objects(""):
        assert re.fullmatch(r"lake/[\w./=%-]+", key) and "/../" not in key and "//" not in key


def test_environment_has_no_say(world, sluiced, redis, judge, monkeypatch):
    """Proxies, certificates and tracing come from the configuration alone."""
    world.dataset().batch([1000])
    with Trap() as trap:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy",
                     "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{trap.address}")
        daemon = sluiced()
        daemon.start()
        committed(daemon, 1)
        drained(daemon, redis)
        judge()
        assert not trap.caught()


# ---- TLS

OLD_TLS = """openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = old
[old]
MinProtocol = TLSv1
CipherString = DEFAULT:@SECLEVEL=0
"""


class TlsServer:
    """Shakes hands, answers nothing; remembers which version was agreed upon."""

    def __init__(self, certificate, key, version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(certificate, key)
        self.context, self.agreed, self.refused = context, [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            try:
                with self.context.wrap_socket(connection, server_side=True) as secure:
                    self.agreed.append(secure.version())
            except (ssl.SSLError, OSError) as error:
                self.refused.append(str(error))

    def close(self):
        """No more of it."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version,agrees", [("TLSv1", False), ("TLSv1_1", False),
                                            ("TLSv1_2", True), ("TLSv1_3", True)])
def test_tls_1_2_at_least(world, sluiced, rgw, place, monkeypatch, version, agrees):
    """A18: also where the system's OpenSSL would allow older ones."""
    world.dataset()
    (place / "old.cnf").write_text(OLD_TLS, encoding="ascii")
    monkeypatch.setenv("OPENSSL_CONF", str(place / "old.cnf"))
    server = TlsServer(rgw.ca, str(rgw.home / "tls/key.pem"), getattr(ssl.TLSVersion, version))
    try:
        daemon = sluiced(s3={"endpoint": f"https://127.0.0.1:{server.port}", "ca_file": rgw.ca})
        daemon.start()
        wait_until(lambda: server.agreed or server.refused, 10, "a handshake")
        assert bool(server.agreed) == agrees, (server.agreed, server.refused)
        daemon.stop()
    finally:
        server.close()


def test_wrong_host_name_is_refused(world, sluiced, rgw):
    """A18: a certificate of somebody we trust, for another name."""
    world.dataset()
    port = rgw.tls_endpoint.rsplit(":", 1)[1]
    daemon = sluiced(s3={"endpoint": f"https://other.localhost:{port}", "ca_file": rgw.ca})
    daemon.start()
    wait_until(lambda: re.search(r"\[-\] s3 +fail  tls", daemon.get("/readyz?verbose")[1]), 20)


# ---- sizes

def padded(text, size):
    """JSON with blanks behind it, so many bytes long."""
    return text + " " * (size - len(text))


@pytest.mark.parametrize("excess", [0, 1])
@pytest.mark.parametrize("answer,limit", [("token", 64 * 1024), ("page", 16 * MIB)])
def test_size_limits_of_answers(world, sim, sluiced, answer, limit, excess):
    """An answer of exactly the limit is read, one byte more is not."""
    world.dataset()
    sim.start()
    asked = {"token": 0, "page": 0}
    body = {"token": '{"access_token":"abc","expires_in":86399}', "page": "{}"}[answer]
    with Relay(sim.endpoint) as relay:
        def up(data):
            this = "token" if data.startswith(b"POST") else "page"
            asked[this] += 1
            if this == answer:
                raise Answer(http_answer(200, padded(body, limit + excess)))
            return data
        relay.up = up
        there = f"http://{relay.address}"
        daemon = sluiced(aep={"endpoint": there, "ims_endpoint": there})
        daemon.start()
        refusal = f"body exceeds {limit} bytes"
        if excess:
            wait_until(lambda: refusal in daemon.tail(), 20, "the answer is refused")
            return
        wait_until(lambda: asked["page"] >= (1 if answer == "token" else 2), 20, "it is used")
        assert refusal not in daemon.tail()
