# SPDX-License-Identifier: Apache-2.0
"""The S3 client, driven directly (s3_driver.c): against a real Ceph gateway with boto3 and
awscli as independent readers, and against a script for what Ceph does not do."""
import glob
import hashlib
import json
import os
import random
import string
import subprocess
import time

import pytest

import s3_script
from s3_script import SILENCE, Cut, Script, Slow, error, reply
from world import ROOT, end, spawn

MIB = 1 << 20
SOURCES = ["tests/flow/s3_driver.c", "lib/s3/*.c", "lib/base/*.c", "lib/net/http*.c",
           "lib/net/loop.c", "lib/net/retry.c", "lib/net/traffic.c"]
LIBRARIES = ["-lcurl", "-luv", "-ljansson", "-lyaml", "-lexpat", "-lcrypto", "-pthread"]
ODD_KEYS = ["plain", "with blank", "dt=2024-01-01/a+b", "100%/%2F", "tilde~", "a//b/", "ünï/日本",
            "q?x=1&y#z", "';:@,!$()*[]", "a/../b/./c", "/leading", "x" * 1024]


@pytest.fixture(scope="session")
def driver_path(tmp_path_factory):
    """The program from $S3_DRIVER, else built here."""
    if "S3_DRIVER" in os.environ:
        return os.environ["S3_DRIVER"]
    path = tmp_path_factory.mktemp("s3") / "s3_driver"
    sources = sorted(name for pattern in SOURCES for name in glob.glob(str(ROOT / pattern)))
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu17", "-O1", "-g", "-D_GNU_SOURCE",
                    f"-I{ROOT}", "-o", str(path), *sources, *LIBRARIES], check=True)
    return str(path)


class Driver:
    """The client as a process: d("put", key="k", text="…") returns the result."""

    def __init__(self, path, endpoint, bucket, keys, style="path", payload="auto", ca=None):
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": keys[0],
                       "AWS_SECRET_ACCESS_KEY": keys[1]}
        environment.pop("AWS_SESSION_TOKEN", None)
        command = [path, endpoint, "us-east-1", bucket, style, payload]
        self.process = spawn(command + ([ca] if ca else []), env=environment, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, op, **arguments):
        self.process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        """The program must end by itself, and well."""
        self.process.stdin.close()
        assert self.process.wait(10) == 0


@pytest.fixture
def drive(driver_path):
    """Makes drivers."""
    drivers = []

    def make(*arguments, **more):
        drivers.append(Driver(driver_path, *arguments, **more))
        return drivers[-1]

    yield make
    for driver in drivers:
        try:
            driver.close()
        finally:
            end(driver.process)


@pytest.fixture
def s3(drive, rgw, bucket):
    """The client on a fresh bucket of the real server."""
    return drive(rgw.endpoint, bucket.name, (rgw.access_key, rgw.secret_key))


@pytest.fixture
def store(rgw):
    """boto3, reading what we wrote."""
    return rgw.client()


def write(place, name, data):
    """A file with these bytes, for operations with a body."""
    path = place / name
    path.write_bytes(data)
    return str(path)


def upload(driver, key, files, **more):
    """A whole multipart upload; returns Complete's result."""
    upload_id = driver("create", key=key, **more)["upload_id"]
    parts = []
    for number, path in enumerate(files, 1):
        got = driver("part", key=key, upload_id=upload_id, number=number, file=path)
        assert got["code"] == "ok", got
        parts.append({"number": number, "etag": got["etag"], "crc32c": got["body_crc32c"],
                      "size": os.path.getsize(path)})
    return driver("complete", key=key, upload_id=upload_id, parts=parts)


# ---- a real server


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_odd_keys_arrive_under_their_name(drive, rgw, bucket, store, style):
    """Both addressing styles; the independent reader sees exactly these keys and bytes."""
    endpoint = rgw.endpoint if style == "path" else rgw.virtual_endpoint
    client = drive(endpoint, bucket.name, (rgw.access_key, rgw.secret_key), style=style)
    for key in ODD_KEYS:
        assert client("put", key=key, text=key)["code"] == "ok", key
        assert client("get", key=key)["content"] == key
        got = store.get_object(Bucket=bucket.name, Key=key)["Body"].read()
        assert got == key.encode(), key
    listed = {item["Key"] for item in store.list_objects_v2(Bucket=bucket.name)["Contents"]}
    assert listed == set(ODD_KEYS)


def test_an_empty_object(s3, store, bucket):
    """No bytes are an object, too."""
    assert s3("put", key="empty", source="01B-1:0", content_type="text/csv")["code"] == "ok"
    found = s3("head", key="empty")
    assert (found["size"], found["source"], found["crc32c"]) == (0, "01B-1:0", 0)
    seen = store.head_object(Bucket=bucket.name, Key="empty")
    assert (seen["ContentLength"], seen["ContentType"]) == (0, "text/csv")
    assert seen["Metadata"] == {"sluice-src": "01B-1:0", "sluice-crc32c": "00000000"}


def test_head_tells_absent_from_present(s3):
    """404 is an answer."""
    assert s3("head", key="none")["code"] == "not-found"
    assert s3("get", key="none")["code"] == "not-found"
    assert s3("put", key="some", text="x")["code"] == "ok"
    assert s3("head", key="some")["code"] == "ok"


def test_multipart_of_20_mib(s3, store, bucket, place):
    """Content, size, ETag and metadata as boto3 sees them; then by awscli."""
    data = random.Random(1).randbytes(20 * MIB)
    files = [write(place, f"part{at}", data[at:at + 8 * MIB])
             for at in range(0, 20 * MIB, 8 * MIB)]
    assert upload(s3, "big", files, source="01B-1:9")["code"] == "ok"
    found = s3("head", key="big")
    assert (found["size"], found["source"]) == (20 * MIB, "01B-1:9")
    got = store.get_object(Bucket=bucket.name, Key="big")
    assert hashlib.sha256(got["Body"].read()).digest() == hashlib.sha256(data).digest()
    assert got["ETag"] == f'"{found["etag"]}"' and got["ETag"].endswith('-3"')


def test_awscli_reads_what_we_wrote(s3, rgw, bucket, place):
    """A second independent reader."""
    if not os.path.exists("/usr/bin/aws"):
        pytest.skip("awscli is not installed")
    data = random.Random(2).randbytes(MIB)
    assert s3("put", key="dt=2024-01-01/a b+c", file=write(place, "in", data))["code"] == "ok"
    subprocess.run(["/usr/bin/aws", "--endpoint-url", rgw.endpoint, "s3", "cp", "--quiet",
                    f"s3://{bucket.name}/dt=2024-01-01/a b+c", str(place / "out")], check=True,
                   env={**os.environ, **rgw.environment(), "PATH": "/usr/bin:/bin"})
    assert (place / "out").read_bytes() == data


@pytest.mark.parametrize("payload", ["signed", "unsigned"])
def test_tls_with_an_own_authority(drive, rgw, bucket, payload, place):
    """Both kinds of payload; without the authority's certificate nothing is sent."""
    keys = (rgw.access_key, rgw.secret_key)
    data = random.Random(3).randbytes(3 * MIB)
    client = drive(rgw.tls_endpoint, bucket.name, keys, payload=payload, ca=rgw.ca)
    assert client("put", key="t", file=write(place, "t", data))["code"] == "ok"
    assert client("head", key="t")["size"] == 3 * MIB
    stranger = drive(rgw.tls_endpoint, bucket.name, keys)
    assert stranger("head", key="t")["code"] == "tls"


@pytest.mark.parametrize("keys, code, text", [
    ((None, "wrong"), "auth", "SignatureDoesNotMatch"),
    (("UNKNOWN", None), "auth", "InvalidAccessKeyId"),
])
def test_wrong_credentials(drive, rgw, bucket, keys, code, text):
    """The sentence says which half to check; no try is wasted."""
    client = drive(rgw.endpoint, bucket.name,
                   (keys[0] or rgw.access_key, keys[1] or rgw.secret_key))
    got = client("put", key="k", text="x")
    assert (got["code"], got["tries"]) == (code, 1)
    assert text in got["text"] and "check the" in got["text"]
    assert client("head", key="k")["code"] == "denied"  # unknown, not absent


def test_a_missing_bucket_is_not_an_absent_object(drive, rgw):
    """GET says so; its row is not the one of an absent object."""
    client = drive(rgw.endpoint, "no-such-bucket", (rgw.access_key, rgw.secret_key))
    for op in ("put", "get"):
        got = client(op, key="k", text="x")
        assert got["code"] == "denied" and "create the bucket" in got["text"]


def test_the_probe_sees_what_ceph_does(s3, store, bucket):
    """Conditions on PUT only, no checksums; its uploads do not stay behind."""
    for _ in range(2):  # a second daemon finds the objects of the first
        got = s3("probe", prefix="p/")
        assert got["code"] == "ok", got
        assert (got["put"], got["complete"], got["crc32c"]) == (1, 0, 0)
    assert "Uploads" not in store.list_multipart_uploads(Bucket=bucket.name)
    assert s3("put", key="k", text="one", create_only=True)["code"] == "ok"
    assert s3("put", key="k", text="two", create_only=True)["code"] == "exists"
    assert s3("get", key="k")["content"] == "one"


def test_the_probe_names_the_reason(drive, rgw, bucket):
    """A store that cannot be used says why before data moves."""
    client = drive(rgw.endpoint, bucket.name, (rgw.access_key, "wrong"))
    got = client("probe")
    assert got["code"] == "auth" and "check the secret key" in got["text"]


def test_uploads_that_are_gone(s3):
    """Abort is repeatable; everything else says no-upload, also where Ceph says NoSuchKey."""
    upload_id = s3("create", key="k")["upload_id"]
    part = s3("part", key="k", upload_id=upload_id, number=1, text="x")
    assert s3("abort", key="k", upload_id=upload_id)["code"] == "ok"
    assert s3("abort", key="k", upload_id=upload_id)["code"] == "ok"
    assert s3("list", key="k", upload_id=upload_id)["code"] == "no-upload"
    assert s3("part", key="k", upload_id=upload_id, number=1, text="x")["code"] == "no-upload"
    got = s3("complete", key="k", upload_id=upload_id,
             parts=[{"number": 1, "etag": part["etag"], "size": 1}])
    assert (got["code"], got["tries"]) == ("server", 3)  # so says Ceph; the owner has to look


def test_bad_lists_of_parts(s3, place):
    """A wrong ETag and a part that is too small are for the owner to restart."""
    small = [write(place, name, b"x") for name in "ab"]
    got = upload(s3, "small", small)
    assert got["code"] == "bad-part" and "EntityTooSmall" in got["text"]
    upload_id = s3("create", key="k")["upload_id"]
    s3("part", key="k", upload_id=upload_id, number=1, text="x")
    got = s3("complete", key="k", upload_id=upload_id,
             parts=[{"number": 1, "etag": "0" * 32, "size": 1}])
    assert got["code"] == "bad-part" and "InvalidPart" in got["text"]


def test_more_than_one_page_of_parts(s3):
    """Ceph lists 1000 parts at a time."""
    count = 1003
    upload_id = s3("create", key="many")["upload_id"]
    sent = {}
    for number in range(1, count + 1):
        sent[number] = s3("part", key="many", upload_id=upload_id, number=number,
                          text="x" * (number % 7))["etag"]
    got = s3("list", key="many", upload_id=upload_id)
    assert got["code"] == "ok" and got["tries"] == 2
    assert {part["number"]: part["etag"] for part in got["parts"]} == sent
    assert all(part["size"] == part["number"] % 7 for part in got["parts"])
    assert s3("abort", key="many", upload_id=upload_id)["code"] == "ok"


# ---- a scripted server


@pytest.fixture
def scripted(drive):
    """scripted(answer, …) gives the script, which runs, and a client on it."""
    scripts = []

    def make(*answers, **more):
        script = Script(*answers)
        scripts.append(script)
        script.__enter__()
        keys = (s3_script.ACCESS_KEY, s3_script.SECRET_KEY)
        return script, drive(script.endpoint, "lake", keys, **more)

    yield make
    for script in scripts:
        script.__exit__()


PUT = {"op": "put", "key": "k", "text": "hello"}
COMPLETE = {"op": "complete", "key": "k", "upload_id": "u",
            "parts": [{"number": 1, "etag": "e", "size": 5, "crc32c": 1}]}
COMPLETED = ('<?xml version="1.0"?><CompleteMultipartUploadResult><ETag>"e-1"</ETag>'
             "</CompleteMultipartUploadResult>")
CREATED = ("<InitiateMultipartUploadResult><UploadId>u/1</UploadId>"
           "</InitiateMultipartUploadResult>")


def test_random_requests_are_signed_as_botocore_would(scripted):
    """The script compares each signature; odd bytes in keys, upload ids and metadata."""
    dice = random.Random(4)
    count = 150
    script, client = scripted(*[reply(200, ETag='"e"')] * count)
    odd = string.printable[:95] + "äß€😀"
    ascii_text = string.ascii_letters + string.digits + string.punctuation
    for _ in range(count):
        key = "".join(dice.choices(odd, k=dice.randint(1, 60)))
        if dice.random() < 0.5:
            client("put", key=key, text=key, source="".join(dice.choices(ascii_text, k=20)))
        else:
            client("part", key=key, text=key, number=dice.randint(1, 10000),
                   upload_id="".join(dice.choices(odd, k=30)))
    assert len(script.requests) == count  # faults are raised when the script ends


def test_slow_down_twice(scripted):
    """Repeated with a pause, from memory, signed anew."""
    script, client = scripted(error(503, "SlowDown"), error(503, "SlowDown"),
                              reply(200, ETag='"e"'))
    got = client(**PUT)
    assert (got["code"], got["tries"], got["etag"]) == ("ok", 3, "e")
    assert [request.body for request in script.requests] == [b"hello"] * 3


def test_retry_after_is_obeyed(scripted):
    """At least as long as the store asks."""
    script, client = scripted(error(503, "SlowDown", Retry_After="1"), reply(200))
    assert client(**PUT)["code"] == "ok"
    assert script.times[1] - script.times[0] >= 1


def test_the_deadline_ends_repetition(scripted):
    """The last refusal is the result."""
    _, client = scripted(*[error(503, "SlowDown")] * 50)
    begin = time.monotonic()
    got = client(**PUT, deadline_ms=900)
    assert got["code"] == "throttled" and got["tries"] > 1
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize("first", [
    Cut(), Cut(b"HTTP/1.1 200 OK\r\nContent-Le"),
    Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
    error(500, "InternalError"), error(400, "RequestTimeout"), reply(502, "<html><br></html>"),
], ids=range(6))
def test_what_is_safe_is_repeated(scripted, first):
    """Cuts at each place and failures of the store."""
    script, client = scripted(first, reply(200, ETag='"e"'))
    got = client(**PUT)
    assert (got["code"], len(script.requests)) == ("ok", 2)


@pytest.mark.parametrize("answer, code", [
    (error(403, "AccessDenied"), "denied"), (error(403, "SignatureDoesNotMatch"), "auth"),
    (error(400, "BadDigest"), "digest"), (error(412, "PreconditionFailed"), "exists"),
    (error(409, "ConditionalRequestConflict"), "conflict"),
    (error(404, "NoSuchUpload"), "no-upload"),
    (error(400, "MalformedXML"), "request"), (error(501, "NotImplemented"), "request"),
], ids=range(8))
def test_what_repetition_cannot_help_is_not_repeated(scripted, answer, code):
    """One try, the row and the status."""
    _, client = scripted(answer)
    got = client(**PUT)
    assert (got["code"], got["tries"]) == (code, 1)
    assert got["http"] == int(answer[9:12])


def test_a_region_is_named(scripted):
    """Redirects are not followed but explained."""
    _, client = scripted(
        error(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1", Location="http://x/"),
        error(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"))
    for _ in range(2):
        got = client(**PUT)
        assert got["code"] == "region" and "set s3.region" in got["text"]
        assert "eu-west-1" in got["text"]


def test_a_wrong_clock_is_corrected_once(scripted):
    """By the store's Date, for this call and those that follow."""
    theirs = time.time() + 3600
    script, client = scripted(error(403, "RequestTimeTooSkewed", now=theirs),
                              reply(200, now=theirs), reply(200, now=theirs))
    assert (client(**PUT)["tries"], client(**PUT)["tries"]) == (2, 1)
    stamps = [time.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
              for request in script.requests]
    offsets = [round((time.mktime(stamp) - time.mktime(stamps[0])) / 60) for stamp in stamps]
    assert offsets == [0, 60, 60]


def test_a_clock_that_cannot_be_corrected(scripted):
    """A store that contradicts itself gets two tries; a right clock is left alone."""
    theirs = time.time() + 3600
    refusal = error(403, "RequestTimeTooSkewed", now=theirs)
    _, client = scripted(refusal, refusal)
    got = client(**PUT)
    assert (got["code"], got["tries"]) == ("skew", 2) and "clock" in got["text"]
    _, client = scripted(error(403, "RequestTimeTooSkewed"))
    assert (client(**PUT)["code"], client("trust")) == ("skew", {})


def test_head_finds_a_wrong_clock_without_a_body(scripted):
    """403 to a HEAD is a clock problem if the Date says so, else unknown."""
    theirs = time.time() - 3600
    _, client = scripted(reply(403, now=theirs), reply(200, now=theirs), reply(403, now=theirs))
    got = client("head", key="k")
    assert (got["code"], got["tries"]) == ("ok", 2)
    assert client("head", key="k")["code"] == "denied"


def test_complete_may_fail_inside_a_200(scripted):
    """Repeated if it is the store's trouble, handed on if not."""
    inside = error(200, "InternalError")
    _, client = scripted(inside, reply(200, COMPLETED), error(200, "PreconditionFailed"))
    got = client(**COMPLETE)
    assert (got["code"], got["tries"], got["etag"]) == ("ok", 2, "e-1")
    assert client(**COMPLETE)["code"] == "exists"


def test_complete_may_take_long(scripted):
    """Blanks keep the connection alive before the document; cut blanks are no success."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(COMPLETED) + 3)
    _, client = scripted(Slow(head + b" ", b"\n", b" ", COMPLETED.encode()),
                         Cut(head + b"  "), error(404, "NoSuchUpload"), reply(200, "   "))
    assert client(**COMPLETE)["code"] == "ok"
    got = client(**COMPLETE)  # it may have happened: HEAD must decide
    assert (got["code"], got["tries"]) == ("no-upload", 2)
    assert client(**COMPLETE)["code"] == "bad-response"


def test_a_lost_success_shows_as_exists(scripted):
    """The first answer got lost; the object is ours, which only a HEAD can tell."""
    script, client = scripted(Cut(), error(412, "PreconditionFailed"))
    client("trust")
    got = client(**PUT, create_only=True)
    assert (got["code"], got["tries"]) == ("exists", 2)
    assert all(request.headers["if-none-match"] == "*" for request in script.requests)


def test_a_store_that_checks_gets_all_checksums(scripted):
    """PUT, Create, UploadPart and Complete as the S3 API wants them."""
    script, client = scripted(reply(200), reply(200, CREATED), reply(200, ETag='"e"'),
                              reply(200, COMPLETED))
    client("trust")
    client(**PUT)
    assert client("create", key="k")["upload_id"] == "u/1"
    client("part", key="k", text="hello", upload_id="u/1", number=1)
    assert client(**COMPLETE)["code"] == "ok"
    put, create, part, complete = (request.headers for request in script.requests)
    assert put["x-amz-checksum-crc32c"] == s3_script.crc32c(b"hello")
    assert part["x-amz-checksum-crc32c"] == s3_script.crc32c(b"hello")
    assert create["x-amz-checksum-algorithm"] == "CRC32C"
    assert create["x-amz-checksum-type"] == complete["x-amz-checksum-type"] == "FULL_OBJECT"
    assert complete["x-amz-checksum-crc32c"] == "AAAAAQ=="
    assert complete["x-amz-mp-object-size"] == "5"
    assert b"<ChecksumCRC32C>AAAAAQ==</ChecksumCRC32C>" in script.requests[3].body


def probe_answers(again, wrong, completed):
    """A probe from the first PUT to Complete (and the abort, if that was refused)."""
    return [reply(200), again, wrong, reply(200, CREATED), reply(200, ETag='"e"'), completed,
            *([reply(204)] if b"412" in completed[:12] else [])]


def test_the_probe_on_a_strict_store(scripted):
    """All that it can learn; the wrong checksum is wrong."""
    refused = error(412, "PreconditionFailed")
    script, client = scripted(*probe_answers(refused, error(400, "BadDigest"), refused))
    got = client("probe", prefix="p/")
    assert (got["code"], got["put"], got["complete"], got["crc32c"]) == ("ok", 1, 1, 1)
    assert [request.method for request in script.requests] == \
        ["PUT", "PUT", "PUT", "POST", "PUT", "POST", "DELETE"]
    first, wrong = script.requests[0], script.requests[2]
    assert first.headers["x-amz-checksum-crc32c"] == s3_script.crc32c(first.body)
    assert wrong.headers["x-amz-checksum-crc32c"] != s3_script.crc32c(wrong.body)
    assert wrong.target == "/lake/p/_sluice/probe-checksum"


def test_the_probe_on_a_careless_store(scripted):
    """200 to everything proves nothing, not even with the right checksum in the answer."""
    right = s3_script.crc32c(b"Written by sluice to learn what this store can do.\n")
    _, client = scripted(*probe_answers(reply(200), reply(200, x_amz_checksum_crc32c=right),
                                        reply(200, COMPLETED)))
    got = client("probe")
    assert (got["code"], got["put"], got["complete"], got["crc32c"]) == ("ok", 0, 0, 0)


def test_the_probe_on_a_store_without_conditions(scripted):
    """501 to a condition: written without, and the rest is learnt all the same."""
    no_idea = error(501, "NotImplemented")
    _, client = scripted(no_idea, reply(200), error(400, "BadDigest"), reply(200, CREATED),
                         reply(200, ETag='"e"'), no_idea, reply(204))
    got = client("probe")
    assert (got["code"], got["put"], got["complete"], got["crc32c"]) == ("ok", 0, 0, 1)


def test_the_probe_beside_another_write(scripted):
    """A conflict says that somebody else is writing, not that anything is there: a PUT that goes
    through after it would prove nothing."""
    _, client = scripted(error(409, "ConditionalRequestConflict"), reply(200))
    assert client("probe")["code"] == "conflict"


def test_the_probe_gives_up_with_the_reason(scripted):
    """No repetition inside: an answer that got lost would prove nothing."""
    _, client = scripted(error(503, "SlowDown"), error(403, "AccessDenied"))
    assert client("probe")["code"] == "throttled"
    got = client("probe")
    assert got["code"] == "denied" and "grant s3:PutObject" in got["text"]


def test_cancel(scripted):
    """While it is sent, and while it waits for its next try."""
    _, client = scripted(SILENCE, error(503, "SlowDown", Retry_After="20"))
    for _ in range(2):
        begin = time.monotonic()
        assert client(**PUT, cancel_ms=200)["code"] == "cancelled"
        assert time.monotonic() - begin < 2


def test_a_refused_connection(drive):
    """Repeated until the deadline."""
    keys = (s3_script.ACCESS_KEY, s3_script.SECRET_KEY)
    got = drive("http://127.0.0.1:1", "lake", keys)(**PUT, deadline_ms=1500)
    assert got["code"] == "connect" and got["tries"] > 1
