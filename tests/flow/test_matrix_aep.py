# SPDX-License-Identifier: Apache-2.0
"""Fault matrix, group A: answers of Adobe's services that are late, wrong, hostile or none."""
import email.utils
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

from ground import now_ms
from matrix_rig import (  # pylint: disable=unused-import
    MIB, Instead, aep_relay, all_well, committed, field, fixture_aep_line, plain, says, tasks,
    until_used_up)
from relay import Answer
from world import wait_until

BATCHES = r"^GET /data/foundation/catalog/batches\?"
DIRECTORIES = r"^GET /data/foundation/export/batches/[^/]*/files"
FILES = r"^GET /data/foundation/export/files/(?!\S*[?&]path=)"
LISTINGS = [BATCHES, DIRECTORIES, FILES]
CONTENT = r"^GET /data/foundation/export/files/\S*[?&]path="
TOKEN = r"^POST /ims/token"
PATIENCE_S = 10


def resident(daemon):
    """Memory of the daemon in bytes."""
    text = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) << 10


# ---- gone


@pytest.mark.parametrize("status", [404, 410])
def test_a3_file_not_found_for_a_moment(status, world, aep_line, redis, judge):
    """The batch is still readable: its file is asked for again."""
    world.dataset().batch([100, 6 * MIB])
    relay, daemon = aep_line()
    gone = Instead(relay, CONTENT, *[plain(status)] * 2)
    daemon.start()
    all_well(daemon, redis, judge, 1)
    assert gone.used_up()


def test_a3_listing_of_a_deleted_batch(world, sim, aep_line, redis, judge):
    """Deleted between discovery and listing, and no list shows it: given up with the reason, without a manifest; the
    batches beside it are committed."""
    data = world.dataset()
    data.batch([100])
    batch = data.batch([100], expect="none")
    relay, daemon = aep_line()
    gone = Instead(relay, rf"/batches/{batch.id}[/ ]|[?&]created=", plain(404), forever=True)
    daemon.start()
    committed(daemon, 1)
    task = f"b/{data.id}/{batch.id}"
    wait_until(lambda: field(redis, task, "status") == "completed", PATIENCE_S,
               "the batch has ended")
    assert field(redis, task, "result") == "deleted"
    assert gone.hits
    judge()


# ---- slow down


def in_a_second():
    """Retry-After as a date."""
    return email.utils.formatdate(time.time() + 1.5, usegmt=True)


@pytest.mark.parametrize("wait", ["1", in_a_second, "soon", "-5", "1.5", "", "9" * 40],
                         ids=["number", "date", "word", "negative", "fraction", "empty", "huge"])
def test_a4_retry_after_in_every_form(wait, world, aep_line, sim, redis):
    """What can be understood is obeyed, up to five minutes; what cannot is a second."""
    world.dataset().batch([100])
    relay, daemon = aep_line()
    text = wait() if callable(wait) else wait
    calm = Instead(relay, BATCHES, plain(429, Retry_After=text))
    daemon.start()
    wait_until(calm.used_up, PATIENCE_S, "429 was answered")
    begun = time.monotonic()
    if text.startswith("999"):
        time.sleep(2.5)
        assert sim.counters()["requests"].get("batches", 0) == 0
        assert daemon.get("/livez")[0] == 200 and redis.command("ZCARD", "sluice:dead") == "0"
        return
    committed(daemon, 1, 10)
    assert time.monotonic() - begun > 0.4


# ---- failures


@pytest.mark.parametrize("status", [502, 504])
def test_a5_failures_with_pages_for_people(status, world, aep_line, redis, judge):
    """Whatever the body is, the status decides."""
    world.dataset().batch([100])
    relay, daemon = aep_line()
    page = plain(status, b"<html>{\"children\":\0</html>", Content_Type="application/json")
    sick = Instead(relay, r"^GET /", *[page] * 4)
    daemon.start()
    until_used_up(sick, redis)
    all_well(daemon, redis, judge, 1)


def test_a6_cut_answers_cost_little(world, sim, aep_line, redis, judge):
    """Every range is cut on its way, as by the 60 s limit: each goes on at the byte it reached."""
    size = 24 * MIB
    world.dataset().batch([("big.parquet", size)])
    _, daemon = aep_line(transfer={"lanes": 1})
    sim.arm("reset_mid_body:times=3 truncated_body:nth=4,times=3")
    daemon.start()
    all_well(daemon, redis, judge, 1)
    struck = sim.counters()["faults"]
    assert struck["reset_mid_body"] == struck["truncated_body"] == 3
    assert sim.counters()["bytes"] < size + 6 * MIB


@pytest.mark.slow
def test_a6_server_that_never_speaks(world, sim, sluiced, redis, judge):
    """It accepts connections and is silent, also in a TLS handshake: not ready, alive, and well
    again with the next one."""
    world.dataset().batch([100])
    sim.start()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as deaf:
        endpoint = f"https://127.0.0.1:{deaf.getsockname()[1]}"
        daemon = sluiced(aep={"endpoint": endpoint, "ims_endpoint": endpoint})
        daemon.start()
        says(daemon, "[-] ims")
        assert daemon.get("/livez")[0] == 200
        daemon.stop()
    daemon.config["aep"] |= {"endpoint": sim.endpoint, "ims_endpoint": sim.endpoint}
    daemon.start()
    all_well(daemon, redis, judge, 1)


# ---- ranges


def whole(sim, request):
    """(status, headers, body) of the simulator's answer to a request that was caught."""
    line, *fields = request.split(b"\r\n\r\n")[0].decode().split("\r\n")
    method, target, _ = line.split(" ", 2)
    connection = http.client.HTTPConnection(sim.endpoint.removeprefix("http://"), timeout=10)
    connection.request(method, target, headers=dict(text.split(": ", 1) for text in fields))
    answer = connection.getresponse()
    try:
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def bend(relay, sim, pattern, change, times=1):
    """The first answers to requests that match go through change(status, headers, body), which
    gives all bytes of another one. Returns a list that grows with each."""
    struck = []

    def hook(request):
        if len(struck) < times and re.search(pattern, request.split(b"\r\n", 1)[0].decode()):
            struck.append(True)
            raise Answer(change(*whole(sim, request)))
        return request

    relay.up = hook
    return struck


def longer(status, headers, body):
    """More bytes than were asked for, and than Content-Range says."""
    return plain(status, body + b"x" * 1000, Content_Range=headers.get("Content-Range", ""))


def other_total(status, headers, body):
    """A total that is a lie."""
    return plain(status, body, Content_Range=re.sub(r"/\d+", "/*", headers["Content-Range"]))


def no_range(status, _headers, body):
    """206 without saying what it is."""
    return plain(status, body)


def too_far(_status, _headers, _body):
    """416 for a range that exists."""
    return plain(416, b"", Content_Range="bytes */1")


def zipped(status, headers, body):
    """Bytes in an encoding that nobody asked for."""
    return plain(status, body, Content_Range=headers["Content-Range"], Content_Encoding="gzip")


@pytest.mark.parametrize("change", [longer, other_total, no_range, too_far, zipped])
def test_a8_ranges_that_are_not_as_asked(change, world, sim, aep_line, redis, judge):
    """None of it is stored as if it were complete, and the file heals."""
    world.dataset().batch([11 * MIB])
    relay, daemon = aep_line(transfer={"lanes": 1})
    struck = bend(relay, sim, CONTENT, change)
    daemon.start()
    all_well(daemon, redis, judge, 1)
    assert struck


# ---- nonsense

DEEP = b"[" * 10_000 + b"]" * 10_000
NONSENSE = [b"", b"{", b"null", b"7", b'"text"', DEEP, b'{"a":1,"a":2}', b'{"data":[{"a\0b":1}]}',
            b'{"data":"\xff\xfe"}', b'{"data":7}', b'{"data":[7]}', b'{"data":[{"name":[]}]}',
            b'{"B":{"created":"x","status":5,"relatedObjects":{}}}', b"\xef\xbb\xbf{}",
            b'{"data":[{"name":"f","length":"-1"}]}', b'{"data":[{"name":"f","length":"1e3"}]}']


@pytest.mark.parametrize("listing, count", [
    (BATCHES, 10), (DIRECTORIES, len(NONSENSE)), (FILES, len(NONSENSE)),
    (BATCHES, len(NONSENSE)),
], ids=["batches", "directories", "files", "all-batches"])
def test_a11_nonsense_for_a_page(listing, count, world, aep_line, redis, judge):
    """Every kind of it, one after another: no page of it counts, and all ends well."""
    data = world.dataset()
    for _ in range(count):
        data.batch([50])
    relay, daemon = aep_line()
    told = Instead(relay, listing, *[plain(200, body) for body in NONSENSE[-count:]])
    daemon.start()
    until_used_up(told, redis)
    all_well(daemon, redis, judge, count)


def test_a11_page_without_end(world, aep_line, redis, judge):
    """A page far beyond its limit ends early and takes no memory."""
    world.dataset().batch([50])
    relay, daemon = aep_line()
    page = plain(200, b'{"data":["' + b"x" * (40 * MIB) + b'"]}')
    told = Instead(relay, FILES, page)
    daemon.start()
    until_used_up(told, redis)
    all_well(daemon, redis, judge, 1)
    assert resident(daemon) < 120 * MIB


# ---- pages


def test_a12_listing_that_never_ends(world, sim, aep_line, redis, judge):
    """A listing whose pages lead back to its start: its batch is not committed and says why,
    the others go on."""
    data = world.dataset()
    stuck = data.batch([10] * 3, expect="none")
    relay, daemon = aep_line()

    def again(status, headers, body):
        page = json.loads(body)
        page.setdefault("_links", {})["next"] = {
            "href": f"/data/foundation/export/files/{stuck.id}-1?start=0&limit=100"}
        return plain(status, json.dumps(page).encode(), Date=headers["Date"])

    struck = bend(relay, sim, rf"/files/{stuck.id}-1\?", again, 10_000)
    daemon.start()
    task = f"b/{data.id}/{stuck.id}"
    wait_until(lambda: field(redis, task, "class") == "bad-response", PATIENCE_S, "it says why")
    assert struck
    sim.add(data.batch([20], created=now_ms()))
    committed(daemon, 1)
    judge(allow_strays=True)


# ---- after the commit


def test_a14_withdrawn_after_the_commit(world, sim, sluiced, judge):
    """What AEP deletes later stays in S3 as it was committed, with a revocation beside it."""
    data = world.dataset()
    batch = data.batch([100, 200])
    daemon = sluiced(aep={"sweep": "300ms", "overlap": "1s"})
    daemon.start()
    committed(daemon, 1)
    sim.set_status(batch, "deleted")
    sim.add(data.batch([300], created=now_ms()))
    committed(daemon, 2)
    wait_until(lambda: daemon.metric("sluice_revocations_total") == 1, 60, "it is revoked")
    verdict = judge()
    assert verdict.looked["bytes"] == 3
    assert daemon.metric("sluice_dead_letters_total") == 0


# ---- extremes


def test_a15_many_files_in_bounded_memory(world, sim, sluiced, redis):
    """20 000 files of one batch: so many open in Redis as are allowed, little in memory."""
    data = world.dataset()
    data.batch([10] * 20_000)
    sim.start()
    sim.arm("hang:times=0,endpoint=content")
    daemon = sluiced(queue={"max_open_files": 500})
    daemon.start()
    opened = f"sluice:open-files:{data.id}"
    most = [0]

    def full():
        most[0] = max(most[0], int(redis.command("SCARD", opened)))
        return most[0] >= 500

    wait_until(full, 20, "the limit is reached")
    for _ in range(20):
        full()
        time.sleep(0.05)
    assert most[0] <= 550
    assert resident(daemon) < 120 * MIB


@pytest.mark.parametrize("size", [5 << 40, 2**63 - 1])
def test_a15_file_of_terabytes(size, world, sim, sluiced, redis, judge):
    """A length whose parts would not fit into the configured memory: said at once, as such."""
    data = world.dataset()
    data.batch([("huge.parquet", size)], expect="none")
    data.batch([100])
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1, PATIENCE_S)
    wait_until(lambda: daemon.metric("sluice_dead_letters_total"), PATIENCE_S, "given up")
    task = next(t for t in tasks(redis, "f") if field(redis, t, "name") == "huge.parquet")
    assert field(redis, task, "class") == "memory"
    assert "transfer.memory" in field(redis, task, "error")


# ---- TLS


@pytest.fixture(name="certificate")
def fixture_certificate(place):
    """certificate(names, expired=…) gives (certificate, key), made for it and signed by itself."""
    def make(names, expired=False):
        paths = [str(place / name) for name in ("cert.pem", "key.pem")]
        environment = dict(os.environ)
        if expired:
            library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
            environment |= {"LD_PRELOAD": str(library), "FAKETIME": "-30d"}
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
                        "-addext", f"subjectAltName={names}", "-out", paths[0], "-keyout",
                        paths[1]], check=True, capture_output=True, env=environment)
        return paths

    return make


@pytest.fixture(name="tls_server")
def fixture_tls_server():
    """tls_server(paths, old=…) gives the endpoint of a server that only shakes hands, and the
    list of requests that it was sent, which must stay empty."""
    sockets, requests = [], []

    def serve(listener):
        while True:
            try:
                connection, _ = listener.accept()
                connection.settimeout(5)
                requests.append(connection.recv(4096))
                connection.close()
            except ssl.SSLError:
                continue
            except OSError:
                return

    def make(paths, old=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*paths)
        if old:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1
        listener = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
        sockets.append(listener)
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        return f"https://127.0.0.1:{listener.getsockname()[1]}", requests

    yield make
    for listener in sockets:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("names, trusted, expired, old", [
    ("IP:127.0.0.1", False, False, False), ("DNS:elsewhere.test", True, False, False),
    ("IP:127.0.0.1", True, True, False), ("IP:127.0.0.1", True, False, True),
], ids=["self-signed", "wrong-name", "expired", "tls-1.0"])
def test_a18_peers_that_are_not_trusted(names, trusted, expired, old, certificate, tls_server,
                                        world, sluiced):
    """Refused before a byte of a request is sent; not ready says that it is TLS."""
    world.dataset()
    paths = certificate(names, expired)
    endpoint, requests = tls_server(paths, old)
    changes = {"ca_file": paths[0]} if trusted else {}
    daemon = sluiced(aep={"endpoint": endpoint, "ims_endpoint": endpoint} | changes)
    daemon.start()
    says(daemon, "[-] ims fail tls")
    assert not [data for data in requests if data]


# ---- encodings


def chunked(status, headers, body):
    """The same page in chunks of odd sizes, with extensions and trailers."""
    chunks = [body[at:at + 37] for at in range(0, len(body), 37)] + [b""]
    text = b"".join(b"%x;ext=\"1\"\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    text += b"0\r\nContent-Length: 5\r\nX-Trailer: 1\r\n\r\n"
    head = f"HTTP/1.1 {status} X\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
    return (head + f"Date: {headers['Date']}\r\n\r\n").encode() + text


def bomb(_status, _headers, _body):
    """A body that says it is compressed."""
    return plain(200, b"\x1f\x8b\x08\0" + b"\0" * 5000, Content_Encoding="gzip")


@pytest.mark.parametrize("change, times", [(chunked, 3), (bomb, 1)])
def test_a19_encodings(change, times, world, sim, aep_line, redis, judge):
    """Chunks and trailers are transport; nothing is ever unpacked."""
    world.dataset().batch([50])
    relay, daemon = aep_line()
    struck = bend(relay, sim, "|".join(LISTINGS), change, times)
    daemon.start()
    all_well(daemon, redis, judge, 1)
    assert len(struck) == times


# ---- tokens


def token(life):
    """An answer of the token service that is right but for the life of the token."""
    return plain(200, f'{{"access_token":"a.b.c","expires_in":{life}}}'.encode(),
                 Content_Type="application/json")


@pytest.mark.parametrize("answer", [
    token(0), token('"soon"'), token(2**63), plain(400, b'{"error":"invalid_client"}')],
    ids=["zero", "word", "huge", "invalid_client"])
def test_a20_token_service(answer, world, sim, aep_line, redis, judge):
    """What is no usable token is none: said, asked for again without haste, then all is well."""
    world.dataset().batch([50])
    relay, daemon = aep_line()
    told = Instead(relay, TOKEN, answer)
    daemon.start()
    wait_until(told.used_up, PATIENCE_S, "the answer was given")
    all_well(daemon, redis, judge, 1)
    assert sim.counters()["requests"]["ims"] <= 2
