# SPDX-License-Identifier: Apache-2.0
"""Fault matrix, group S: refusals, redirects and oddities of the store."""
import email.utils
import re
import socket
import threading
import time

import pytest

from matrix_rig import (  # pylint: disable=unused-import
    MIB, Instead, all_well, committed, field, fixture_redis_line, fixture_s3_line,
    only_objects_stay, plain, ready, redis_relay, s3_relay, says, tasks, until_used_up)
from relay import Cut, s3_error
from world import wait_until

PUT_FILE = r"^PUT /\S*part-[^?]*(?<!\?) HTTP"
PUT_PART = r"^PUT /\S*part-\S*[?&]partNumber="
CREATE = r"^POST /\S*part-\S*\?uploads"
COMPLETE = r"^POST /\S*part-\S*[?&]uploadId="
HEAD_FILE = r"^HEAD /\S*part-"
MANIFEST = r"^PUT /\S*_sluice/manifests/"
PROBE = r"^PUT /\S*_sluice/probe "


def dated(status, code, seconds):
    """An error of a store whose clock differs from ours by so much."""
    date = email.utils.formatdate(time.time() + seconds, usegmt=True)
    body = f"<Error><Code>{code}</Code></Error>".encode()
    return plain(status, body, Date=date)


def data_key(batch):
    """Where the first file of a batch has to be."""
    file_id, file = batch.data()[0]
    return f"lake/ds1/dt=2024-02-01/{file_id}-{file.name}"


# ---- once, and then no more


ONCE = {
    "S2-request-timeout": (PUT_PART, s3_error(400, "RequestTimeout")),
    "S3-expired-token": (PUT_FILE, s3_error(403, "ExpiredToken")),
    "S3-skew-ahead": (PUT_FILE, dated(403, "RequestTimeTooSkewed", 7200)),
    "S3-skew-without-reason": (PUT_PART, dated(403, "RequestTimeTooSkewed", 0)),
    "S5-no-upload-at-part": (PUT_PART, s3_error(404, "NoSuchUpload")),
    "S5-no-upload-at-complete": (COMPLETE, s3_error(404, "NoSuchUpload")),
    "S6-invalid-part": (COMPLETE, s3_error(400, "InvalidPart")),
    "S6-too-small": (COMPLETE, s3_error(400, "EntityTooSmall")),
    "S6-bad-digest": (PUT_PART, s3_error(400, "BadDigest")),
    "S6-bad-digest-small": (PUT_FILE, s3_error(400, "BadDigest")),
    "S7-exists-at-complete": (COMPLETE, s3_error(412, "PreconditionFailed")),
    "S8-conflict": (PUT_FILE, s3_error(409, "ConditionalRequestConflict")),
    "S8-conflict-at-complete": (COMPLETE, s3_error(409, "ConditionalRequestConflict")),
    "S8-conflict-at-manifest": (MANIFEST, s3_error(409, "ConditionalRequestConflict")),
    "S12-head-denied": (HEAD_FILE, plain(403)),
    "S6-other-size": (COMPLETE, s3_error(400, "InvalidRequest")),
}


@pytest.mark.parametrize("name", ONCE)
def test_refused_once(name, world, s3_line, redis, judge):
    """A refusal that will not come again, at each place where a store may give it: the file is
    stored in the end, and leaves no upload behind."""
    world.dataset().batch([11 * MIB, 100])
    pattern, answer = ONCE[name]
    relay, daemon = s3_line()
    refusal = Instead(relay, pattern, answer)
    daemon.start()
    until_used_up(refusal, redis)
    all_well(daemon, redis, judge, 1, timeout_s=10)
    if name == "S2-request-timeout":
        assert daemon.metric("sluice_s3_repeats_total") == 1


def test_s2_connection_closed_within_a_part(world, sim, s3_line, redis, judge):
    """The part is sent again from memory: the source is not read twice."""
    size = 11 * MIB
    world.dataset().batch([("part-x.parquet", size)])
    relay, daemon = s3_line()
    cuts = []

    def cut(request):
        if re.search(PUT_PART, request.split(b"\r\n", 1)[0].decode("latin-1")):
            cuts.append(True)
            if len(cuts) in (1, 3):
                raise Cut
        return request

    relay.up = cut
    daemon.start()
    all_well(daemon, redis, judge, 1)
    assert len(cuts) >= 5 and sim.counters()["bytes"] == size


def test_s6_digest_that_is_always_bad(world, s3_line, redis, judge):
    """One object that the store never takes: its batch has no manifest, others do."""
    data = world.dataset()
    data.batch([100])
    bad = data.batch([("part-bad.parquet", 1000)], expect="none")
    relay, daemon = s3_line()
    Instead(relay, r"^PUT /\S*part-bad", s3_error(400, "BadDigest"), forever=True)
    daemon.start()
    committed(daemon, 1)
    wait_until(lambda: "digest" in {field(redis, task, "class") for task in tasks(redis, "f")},
               15, "the task says why")
    assert field(redis, f"b/{bad.dataset}/{bad.id}", "status") == "in-progress"
    judge()


# ---- objects that exist


@pytest.mark.parametrize("size", [100, 11 * MIB])
def test_s7_equal_object(size, world, sluiced, redis, bucket, judge):
    """Redis and the manifest are gone, the objects are there: compared, and committed again."""
    world.dataset().batch([size])
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1)
    only_objects_stay(daemon, redis, bucket)
    daemon.start()
    all_well(daemon, redis, judge, 1)


def test_s7_object_of_a_file_that_was_not_reported(world, sim, redis_line, redis, judge):
    """Killed between the end of the upload and the word of it: the parts on record tell that the
    object is right, and nothing is read again."""
    world.dataset().batch([11 * MIB])
    relay, daemon = redis_line(queue={"lease": "5s"})

    def kill(data):
        if b"\r\nsluice_done\r\n" not in data:
            return data
        relay.up = lambda data: data
        daemon.process.kill()
        raise Cut
    relay.up = kill
    daemon.start()
    wait_until(lambda: daemon.process.poll() is not None, 40, "it was killed")
    read = sum(sim.counters()["sent"].values())
    daemon.start()
    all_well(daemon, redis, judge, 1)
    assert daemon.metric("sluice_files_known_total") == 1
    assert sum(sim.counters()["sent"].values()) == read


@pytest.mark.parametrize("size", [100, 11 * MIB])
def test_s7_other_object(size, world, sluiced, redis, bucket, judge):
    """Somebody else's object has the key: never overwritten, its batch never committed."""
    data = world.dataset()
    taken = data.batch([size], expect="none")
    data.batch([200])
    key, other = data_key(taken), b"x" * size
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=other)
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1)
    wait_until(lambda: daemon.metric("sluice_dead_letters_total"), 15, "given up")
    assert "differs" in {field(redis, task, "class") for task in tasks(redis, "f")}
    assert b"".join(bucket.read(key)) == other
    judge(allow_strays=True)


# ---- stores that must not be used


def test_s11_store_that_ignores_conditions(world, s3_line):
    """With s3.conditional: require such a store is refused, and the sentence says the choice."""
    world.dataset().batch([100])
    relay, daemon = s3_line(s3={"conditional": "require"})
    Instead(relay, PROBE, plain(200, ETag='"e"'), forever=True)
    daemon.start()
    says(daemon, "[-] s3", "If-None-Match", "s3.conditional: auto")
    assert daemon.metric("sluice_claims_total") == 0


def test_s11_store_without_conditional_complete(world, s3_line, redis, judge):
    """Of such a store large files are looked for before they are sent."""
    world.dataset().batch([11 * MIB])
    relay, daemon = s3_line()
    seen = []
    relay.up = lambda data: seen.append(data[:5]) or data
    daemon.start()
    all_well(daemon, redis, judge, 1)
    assert b"HEAD " in seen


@pytest.mark.slow
def test_s12_head_that_is_denied(world, s3_line, redis, judge):
    """403 says neither that the object is there nor that it is not: all waits and says so."""
    world.dataset().batch([11 * MIB])
    relay, daemon = s3_line()
    Instead(relay, HEAD_FILE, plain(403), forever=True)
    daemon.start()
    says(daemon, "[-] s3", "denied")
    assert daemon.metric("sluice_batches_committed_total") == 0
    relay.up = lambda data: data
    all_well(daemon, redis, judge, 1)


@pytest.mark.slow
@pytest.mark.parametrize("status", [301, 307])
@pytest.mark.parametrize("pattern", [PROBE, PUT_FILE], ids=["probe", "put"])
def test_s13_redirect(pattern, status, world, s3_line, redis, judge):
    """To another region or host: never followed, said with the region, and it heals."""
    world.dataset().batch([100])
    relay, daemon = s3_line()
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        body = b"<Error><Code>PermanentRedirect</Code></Error>"
        Instead(relay, pattern, plain(
            status, body, x_amz_bucket_region="eu-west-1",
            Location=f"http://127.0.0.1:{trap.getsockname()[1]}/"), forever=True)
        daemon.start()
        says(daemon, "[-] s3", "eu-west-1")
        with pytest.raises(BlockingIOError):
            trap.accept()
    relay.up = lambda data: data
    all_well(daemon, redis, judge, 1)


# ---- oddities


@pytest.mark.parametrize("etag", [b"", b"ETag: \"" + b"e" * 300 + b"\"\r\n"],
                         ids=["missing", "300-bytes"])
def test_s15_etag_of_a_part(etag, world, s3_line, redis, judge):
    """What could not be named in a Complete is no success: the part is sent again."""
    world.dataset().batch([11 * MIB])
    relay, daemon = s3_line()
    struck, go = [], threading.Event()

    def listen(request):
        if re.search(PUT_PART, request.split(b"\r\n", 1)[0].decode("latin-1")):
            go.set()
        return request

    def spoil(answer):
        if go.is_set() and not struck and re.search(rb"\r\nETag:", answer, re.I):
            struck.append(True)
            return re.sub(rb"(?i)\r\nETag:[^\r]*\r\n", b"\r\n" + etag, answer, count=1)
        return answer

    relay.up, relay.down = listen, spoil
    daemon.start()
    all_well(daemon, redis, judge, 1)
    assert struck
    ready(daemon)


def test_s5_create_refused(world, s3_line, redis, judge):
    """An upload that cannot be begun is begun later."""
    world.dataset().batch([11 * MIB])
    relay, daemon = s3_line()
    refusal = Instead(relay, CREATE, s3_error(404, "NoSuchKey"), plain(200, b"<x/>"))
    daemon.start()
    until_used_up(refusal, redis)
    all_well(daemon, redis, judge, 1)
