# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the flow tests. Servers run on loopback and end with their test or session."""
import contextlib
import itertools
import os
import pathlib
import tempfile

import pytest

from bucket import Bucket, s3_client
from ground import World
from oracle import Oracle
from sim import Sim
from world import Redis, Sluiced, merged, wait_until, write_secret

PREFIX = "lake/"
START = "2020-01-01"  # before the first batch of any world


@pytest.fixture
def place():
    """A directory with a short name (unix sockets allow 107 characters), gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="sluice-") as directory:
        yield pathlib.Path(directory)


@pytest.fixture
def redis(place):
    """A fresh Redis."""
    server = Redis(place / "redis").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rgw():
    """Ceph's S3 server, one for the session. A port that was free may be taken when it starts:
    then once more, with others."""
    from rgw import Rgw, RgwError  # pylint: disable=import-outside-toplevel
    for tries_left in (2, 1, 0):
        with tempfile.TemporaryDirectory(prefix="sluice-rgw-") as directory:
            server = Rgw(directory)
            try:
                server.start()
            except RgwError:
                if tries_left:
                    continue
                raise
            yield server
            server.stop()
            return


@pytest.fixture(scope="session")
def bucket_names():
    """Names that no other test of the session uses."""
    return (f"flow-{os.getpid()}-{number}" for number in itertools.count())


@pytest.fixture
def bucket(rgw, bucket_names):
    """A fresh bucket, emptied afterwards (the server keeps objects in memory)."""
    client = s3_client(rgw.endpoint, rgw.access_key, rgw.secret_key)
    target = Bucket(client, next(bucket_names))
    client.create_bucket(Bucket=target.name)
    yield target

    def gone():
        """What a killed daemon had sent may still arrive after the emptying."""
        target.empty()
        try:
            client.delete_bucket(Bucket=target.name)
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "BucketNotEmpty":
                raise
            return False
        return True
    wait_until(gone, 10, "the bucket is empty and gone")


@pytest.fixture
def world():
    """An empty world, to be filled by the test."""
    return World()


@pytest.fixture
def sim(world):
    """The simulator of `world`. Not started: the test fills the world, then calls start()."""
    simulator = Sim(world)
    yield simulator
    simulator.stop()


@pytest.fixture
def config(place, redis, rgw, bucket, sim):
    """Call it when the world has its datasets: the configuration that fits the servers, with
    patient settings made quick. Starts the simulator if the test has not."""
    def make():
        if sim.endpoint is None:
            sim.start()
        return {
            "redis": {"url": redis.url},
            "aep": {"endpoint": sim.endpoint, "ims_endpoint": sim.endpoint,
                    "org": sim.world.org, "client_id": sim.world.client_id,
                    "client_secret_file": write_secret(place / "secret", sim.world.secrets[0]),
                    "sandbox": sim.world.sandbox,
                    "requests_per_second": 2000, "window_start": 32, "settle": "0s"},
            "s3": {"endpoint": rgw.endpoint, "bucket": bucket.name, "prefix": PREFIX,
                   "credentials_file": write_secret(place / "credentials", aws_keys(rgw))},
            "transfer": {"memory": "64MiB", "part_size": "5MiB"},
            "queue": {"lease": "3s", "claim_poll": "50ms", "stop_grace": "5s"},
            "datasets": [{"id": dataset_id, "as": name, "start": START, "poll": "200ms"}
                         for dataset_id, name in names_of(sim.world).items()],
        }

    return make


def aws_keys(server):
    """A shared credentials file."""
    return (f"[default]\naws_access_key_id = {server.access_key}\n"
            f"aws_secret_access_key = {server.secret_key}\n")


def names_of(world):
    """What the datasets of a world are called in keys."""
    return {dataset_id: f"ds{number}" for number, dataset_id in enumerate(world.datasets, 1)}


@pytest.fixture
def sluiced(place, config):
    """Makes daemons: sluiced(transfer={"lanes": 2}) gives one that is not started yet. All must
    stop cleanly afterwards; their logs appear in the report of a failed test."""
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:
        def make(**changes):
            daemon = Sluiced(place / f"daemon{next(numbers)}", merged(config(), changes))
            stack.callback(daemon.stop)
            stack.callback(lambda: print(f"---- {daemon.log}\n{daemon.tail()}"))
            return daemon

        yield make


@pytest.fixture
def judge(bucket, sim):
    """Asks the oracle: judge() asserts that the bucket is right; options as in Oracle."""
    def ask(**options):
        verdict = Oracle(sim.truth(), bucket, prefix=PREFIX, names=names_of(sim.world),
                         **options).judge()
        assert verdict.ok, "\n" + verdict.table()
        return verdict

    return ask
