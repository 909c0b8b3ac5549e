# SPDX-License-Identifier: Apache-2.0
"""The packages on a fresh machine: installed, upgraded, run by the real units under a real systemd,
removed and purged. One machine, in the order of its life."""
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import pytest

from bucket import Bucket, s3_client
from ground import World
from machine import CACHE, ROOT, Machine, Unbootable
from rgw import Rgw
from sim import Sim
from world import wait_until, yaml_text

pytestmark = pytest.mark.slow
OLD = "0.0.9"
ADMIN = "maxmemory 123mb"
PATIENCE_S = 60
MIB = 1 << 20


def deb(name):
    """A package as built by `make deb`."""
    found = list((ROOT / "build/deb").glob(f"{name}_*.deb"))
    assert len(found) == 1, f"{name}: {found}; make deb"
    return found[0]


def repacked(package, target):
    """The same package as an earlier version, whose Redis was configured differently."""
    with tempfile.TemporaryDirectory(dir=CACHE) as tree:
        subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
        control = pathlib.Path(tree, "DEBIAN/control")
        text = re.sub(r"(?m)^Version: .*$", f"Version: {OLD}", control.read_text())
        control.write_text(re.sub(r"(sluice\w*) \(>?= [^)]*\)", rf"\1 (>= {OLD})", text))
        redis = pathlib.Path(tree, "etc/sluiced/redis.conf")
        if redis.exists():
            redis.write_text(redis.read_text().replace("maxmemory 1gb", "maxmemory 512mb"))
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, target], check=True,
                       capture_output=True)


@pytest.fixture(scope="module")
def machine():
    """A machine that nothing has been installed on."""
    try:
        with Machine() as fresh:
            fresh.run("mkdir /new /old")
            for name in ("sluiced", "sluice-redis"):
                shutil.copy(deb(name), f"{fresh.place('root')}/new/{name}.deb")
                repacked(deb(name), f"{fresh.place('root')}/old/{name}.deb")
            yield fresh
    except Unbootable as reason:
        pytest.skip(str(reason))


def test_installed(machine):
    """Everything in its place; the daemon is enabled and says what it waits for."""
    said = machine.install("/old/sluiced.deb", "/old/sluice-redis.deb")
    assert "sluiced waits for /etc/sluiced/sluiced.yaml" in said
    assert machine.unit("sluiced", "UnitFileState") == "enabled"
    assert machine.unit("sluiced", "ActiveState") == "inactive"
    assert machine.unit("sluiced", "ConditionResult") == "no"
    status = machine.run("systemctl status sluiced", check=False).stdout
    assert "unmet condition check (ConditionPathExists=/etc/sluiced/sluiced.yaml)" in status
    assert machine.unit("sluice-redis", "ActiveState") == "active"
    machine.run("test -s /usr/share/man/man8/sluiced.8.gz -a -s /usr/share/man/man1/sluicectl.1.gz")
    assert "usage: sluicectl" in machine.run("sluicectl --help").stdout
    machine.run("sluiced --config /usr/share/doc/sluiced/examples/sluiced.yaml --check-config")
    assert machine.run("stat -c '%a %U %G' /etc/sluiced /etc/sluiced/secrets").stdout.split() == [
        "750", "root", "sluiced", "700", "root", "root"]
    complaints = machine.run("systemd-analyze verify --man=no sluiced.service sluiced@a.service "
                             "sluice-redis.service", check=False).stdout
    assert "sluice" not in complaints


def test_upgraded(machine):
    """What an administrator changed stays, although the package changed it, too."""
    machine.run(f"sed -i 's/^maxmemory 512mb/{ADMIN}/' /etc/sluiced/redis.conf")
    machine.write("/etc/sluiced/sluiced.yaml", "# not finished\n")
    machine.install("/new/sluiced.deb", "/new/sluice-redis.deb")
    assert OLD not in machine.run("dpkg-query -W sluiced sluice-redis").stdout
    assert ADMIN in machine.run("cat /etc/sluiced/redis.conf").stdout
    assert "maxmemory 1gb" in machine.run("cat /etc/sluiced/redis.conf.dpkg-dist").stdout
    assert machine.run("cat /etc/sluiced/sluiced.yaml").stdout == "# not finished\n"
    assert machine.unit("sluice-redis", "ActiveState") == "active"
    for name in ("sluiced", "sluice-redis"):  # maintainer scripts may be run again
        machine.run(f"/var/lib/dpkg/info/{name}.postinst configure {OLD}")


@pytest.fixture(scope="module")
def servers():
    """The simulator and an S3 server with a bucket."""
    world = World()
    sim = Sim(world)
    with tempfile.TemporaryDirectory(prefix="sluice-rgw-") as directory:
        with Rgw(f"{directory}/rgw") as store:
            bucket = Bucket(s3_client(store.endpoint, store.access_key, store.secret_key), "lake")
            bucket.client.create_bucket(Bucket=bucket.name)
            world.dataset().batch([1000, 6 * MIB])
            sim.start()
            yield sim, store, bucket
            sim.stop()


def configure(machine, sim, store):
    """What an administrator writes, and the secrets."""
    world, run = sim.world, "/run/credentials/sluiced.service"
    machine.write("/etc/sluiced/sluiced.yaml", yaml_text({
        "aep": {"endpoint": sim.endpoint, "ims_endpoint": sim.endpoint, "org": world.org,
                "client_id": world.client_id, "settle": "0s",
                "client_secret_file": f"{run}/aep-client-secret"},
        "s3": {"endpoint": store.endpoint, "bucket": "lake",
               "credentials_file": f"{run}/s3-credentials"},
        "queue": {"lease": "3s"},
        "datasets": [{"id": name, "start": "2020-01-01", "poll": "500ms"}
                     for name in world.datasets]}))
    secrets = "/etc/sluiced/secrets"
    machine.write(f"{secrets}/aep-client-secret", f"{world.secrets[0]}\n", 0o600)
    keys = (f"[default]\naws_access_key_id = {store.access_key}\n"
            f"aws_secret_access_key = {store.secret_key}\n")
    machine.write(f"{secrets}/s3-credentials", keys, 0o600)


def manifests(bucket):
    """How many batches are committed."""
    return sum("/manifests/" in key for key in bucket.objects(""))


def test_missing_secret_is_not_tried_again(machine, servers):
    """Only an administrator can mend that: no loop, and the status says what is wrong."""
    sim, store, _ = servers
    configure(machine, sim, store)
    machine.run("mv /etc/sluiced/secrets/s3-credentials /root/")
    assert machine.run("systemctl start sluiced", check=False).returncode != 0
    wait_until(lambda: machine.unit("sluiced", "ActiveState") == "failed", PATIENCE_S)
    assert "243/CREDENTIALS" in machine.run("systemctl status sluiced", check=False).stdout
    machine.run("mv /root/s3-credentials /etc/sluiced/secrets/; systemctl reset-failed sluiced")


def test_service_works(machine, servers):
    """Ready, its status line kept, and through all of the sandbox a batch lands."""
    _, _, bucket = servers
    machine.run("systemctl start sluiced")
    assert machine.unit("sluiced", "ActiveState") == "active"
    wait_until(lambda: manifests(bucket) == 1, PATIENCE_S, "a batch is committed", 1)
    wait_until(lambda: machine.unit("sluiced", "StatusText").startswith("ready"), PATIENCE_S)
    assert machine.run("stat -c '%a %G' /run/sluiced/sluiced.sock").stdout.split() == [
        "660", "sluiced"]
    assert machine.unit("sluiced", "NRestarts") == "0"


def test_reload(machine):
    """The unit's way of saying SIGHUP reaches the daemon, which goes on."""
    pid = machine.unit("sluiced", "MainPID")
    machine.run("systemctl reload sluiced")
    wait_until(lambda: machine.unit("sluiced", "ActiveState") == "active", PATIENCE_S)
    said = wait_until(lambda: re.search("(?i)sighup|reload", machine.run(
        "journalctl -u sluiced _COMM=sluiced --no-pager").stdout), PATIENCE_S)
    assert said and machine.unit("sluiced", "MainPID") == pid


def test_killed(machine, servers):
    """kill -9: systemd starts it again, and it works on."""
    sim, _, bucket = servers
    machine.run("systemctl kill --signal=KILL --kill-who=main sluiced")
    wait_until(lambda: machine.unit("sluiced", "NRestarts") == "1"
               and machine.unit("sluiced", "ActiveState") == "active", PATIENCE_S)
    dataset = next(iter(sim.world.datasets.values()))
    sim.add(dataset.batch([2000], created=time.time_ns() // 1_000_000))
    wait_until(lambda: manifests(bucket) == 2, PATIENCE_S, "another batch", 1)


def test_watchdog(machine):
    """Fed while the loop turns; a daemon that stands still is ended and started again."""
    machine.write("/etc/systemd/system/sluiced.service.d/test.conf",
                  "[Service]\nWatchdogSec=3\nTimeoutAbortSec=2\n")
    machine.run("systemctl daemon-reload; systemctl restart sluiced")
    fed = machine.unit("sluiced", "WatchdogTimestampMonotonic")
    wait_until(lambda: machine.unit("sluiced", "WatchdogTimestampMonotonic") != fed, PATIENCE_S)
    pid = machine.unit("sluiced", "MainPID")
    time.sleep(6)  # twice the limit, and still there
    assert machine.unit("sluiced", "MainPID") == pid
    machine.run("systemctl kill --signal=STOP --kill-who=main sluiced")
    wait_until(lambda: machine.unit("sluiced", "MainPID") not in (pid, "0"), PATIENCE_S)
    assert "Watchdog timeout" in machine.run("journalctl -u sluiced --no-pager").stdout


def test_stops_in_time(machine, servers):
    """SIGTERM in the middle of work: all given back, well before TimeoutStopSec."""
    sim, _, _ = servers
    sim.arm("slow:bytes_per_second=200000")
    dataset = next(iter(sim.world.datasets.values()))
    before = sim.counters()["bytes"]
    sim.add(dataset.batch([60 * MIB], created=time.time_ns() // 1_000_000))
    wait_until(lambda: sim.counters()["bytes"] > before + MIB // 4, PATIENCE_S, "work is under way")
    began = time.monotonic()
    machine.run("systemctl stop sluiced")
    assert time.monotonic() - began < 45
    assert machine.unit("sluiced", "Result") == "success"
    assert "draining" in machine.run("journalctl -u sluiced --no-pager").stdout


def test_removed_and_purged(machine):
    """Removal keeps what an administrator wrote, a purge leaves nothing, secrets least of all."""
    machine.run("apt-get -y remove sluiced sluice-redis")
    machine.run("test -e /etc/sluiced/redis.conf -a -e /etc/sluiced/sluiced.yaml")
    machine.run("test ! -e /usr/bin/sluiced")
    assert "enabled" not in machine.run("systemctl is-enabled sluiced", check=False).stdout
    machine.install("/new/sluiced.deb", "/new/sluice-redis.deb")
    assert ADMIN in machine.run("cat /etc/sluiced/redis.conf").stdout
    machine.run("apt-get -y purge sluiced sluice-redis")
    left = machine.run("find / -xdev \\( -name '*sluice*' -o -path '/etc/sluiced*' \\) "
                       "-not -path '/new*' -not -path '/old*' -not -path '/proc/*' "
                       "-not -path '/etc/systemd/system/sluiced.service.d*'").stdout.split()
    left = [path for path in left if "/var/log/journal" not in path]
    assert not left
