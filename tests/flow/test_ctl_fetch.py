# SPDX-License-Identifier: Apache-2.0
"""sluicectl fetch: once, into a bucket, with nothing installed and nothing left behind."""
import json
import os
import subprocess

import pytest

from conftest import aws_keys
from ground import now_ms
from test_ctl_operate import BINARY
from world import write_secret


@pytest.fixture(name="fetch")
def fixture_fetch(place, rgw, bucket, world, sim):
    """Runs it; its files are in place/tmp."""
    (place / "tmp").mkdir()
    credential = write_secret(place / "credential.json", json.dumps({
        "CLIENT_SECRETS": world.secrets, "CLIENT_ID": world.client_id, "ORG_ID": world.org,
        "TECHNICAL_ACCOUNT_ID": "x@techacct.adobe.com", "SCOPES": ["openid"]}))
    home = place / "home/.aws"
    home.mkdir(parents=True)
    write_secret(home / "credentials", aws_keys(rgw))
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(place / "tmp"), "HOME": str(home.parent),
           "AWS_ENDPOINT_URL": rgw.endpoint}

    def run(dataset, *words, target=None):
        if sim.endpoint is None:
            sim.start()
        done = subprocess.run(
            [BINARY, "fetch", dataset, target or f"s3://{bucket.name}/try", "--credential",
             credential, "--aep-endpoint", sim.endpoint, "--ims-endpoint", sim.endpoint, *words],
            env=env, capture_output=True, text=True, timeout=120, check=False)
        print(done.stdout, done.stderr)
        assert not list((place / "tmp").iterdir()), "nothing is left"
        return done.returncode, done.stdout, done.stderr
    return run


def test_fetch(fetch, world, sim, bucket):
    """What was created in the span is there, with its manifests; repeated, nothing is copied; what
    cannot be copied is named."""
    data = world.dataset()
    new = [data.batch([1000, 70_000], created=now_ms() - 3_600_000),
           data.batch([500], created=now_ms() - 60_000)]
    data.batch([10], created=now_ms() - 86_400_000)
    status, text, _ = fetch(data.id, "--since", "2h", "--json")
    told = json.loads(text)
    assert (status, told["batches"], told["files"], told["bytes"]) == (0, 2, 3, 71_500)
    keys = bucket.objects("try/")
    manifests = [key for key in keys if "/manifests/" in key]
    assert sorted(key.rsplit("/", 1)[1] for key in manifests) == sorted(
        f"{batch.id}.json" for batch in new)
    assert len([key for key in keys if key.startswith(f"try/{data.id}/dt=")]) == 3
    status, text, _ = fetch(data.id, "--since", "2h", "--json")
    assert status == 0 and json.loads(text)["files"] == 0

    sim.arm("bit_flip:times=0,match=wrong")
    bad = data.batch([("wrong.parquet", 1234)], created=now_ms() - 1000)
    sim.add(bad)
    status, text, _ = fetch(data.id, "--since", "2h")
    assert status == 1 and bad.id in text and "not a Parquet file" in text


def test_fetch_refused(fetch, world, bucket):
    """One sentence each, and nothing is left."""
    data = world.dataset()
    for words, target, want in ((("--since", "soon"), None, "--since wants a span"),
                                ((), None, "--since wants a span"),
                                (("--since", "2h"), "/somewhere", "is no s3://BUCKET/PREFIX")):
        status, text, error = fetch(data.id, *words, target=target)
        assert (status, text) == (64, "") and want in error
    assert fetch("not an id", "--since", "2h")[0] == 64
    status, _, error = fetch(data.id, "--since", "2h", "--credential", "/nowhere/x")
    assert status == 78 and "/nowhere/x" in error
    assert not bucket.objects("try/")
