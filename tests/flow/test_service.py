# SPDX-License-Identifier: Apache-2.0
"""The daemon among its neighbours: systemd's protocol, TLS and addressing of the store, an
independent reader."""
import os
import socket
import subprocess

from test_tail import committed, drained
from world import wait_until

MIB = 1 << 20


def heard(sink):
    """All messages that systemd would have got, as one text."""
    text = ""
    sink.setblocking(False)
    while True:
        try:
            text += sink.recv(4096).decode() + "\n"
        except BlockingIOError:
            return text


def test_systemd_protocol(world, sluiced, place, monkeypatch):
    """READY, WATCHDOG and STATUS while it runs, STOPPING when it ends, and how long that takes."""
    world.dataset()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sink:
        sink.bind(str(place / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(place / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1500000")
        daemon = sluiced()
        daemon.start()
        said = []
        wait_until(lambda: said.append(heard(sink)) or "WATCHDOG=1" in "".join(said), 10)
        assert "READY=1" in "".join(said) and "STATUS=" in "".join(said)
        daemon.stop()
        assert "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000\n" in heard(sink)  # stop_grace and 10 s


def test_store_over_tls(world, sluiced, redis, rgw, judge):
    """Certificates are checked against the configured bundle."""
    world.dataset().batch([1000, 11 * MIB])
    daemon = sluiced(s3={"endpoint": rgw.tls_endpoint, "ca_file": str(rgw.ca)})
    daemon.start()
    committed(daemon, 1)
    drained(daemon, redis)
    judge()


def test_store_with_unknown_certificate(world, sluiced, rgw):
    """Without the bundle: not ready, and the text says why."""
    world.dataset()
    daemon = sluiced(s3={"endpoint": rgw.tls_endpoint})
    daemon.start()
    wait_until(lambda: "[-] s3      fail  tls" in daemon.get("/readyz?verbose")[1], 20)


def test_bucket_in_the_host_name(world, sluiced, redis, rgw, judge):
    """Virtual-host addressing."""
    world.dataset().batch([1000, 6 * MIB])
    port = rgw.endpoint.rsplit(":", 1)[1]
    daemon = sluiced(s3={"endpoint": f"http://s3.localhost:{port}", "addressing": "virtual"})
    daemon.start()
    committed(daemon, 1)
    drained(daemon, redis)
    judge()


def test_unsigned_payload(world, sluiced, redis, judge):
    """UNSIGNED-PAYLOAD with a checksum header, also where the store ignores it."""
    world.dataset().batch([1000, 6 * MIB])
    daemon = sluiced(s3={"payload": "unsigned"})
    daemon.start()
    committed(daemon, 1)
    drained(daemon, redis)
    judge()


def test_read_by_the_aws_cli(world, sluiced, redis, rgw, bucket, tmp_path):
    """What landed can be fetched with the AWS command line, byte for byte."""
    batch = world.dataset().batch([("a b+c.parquet", 7 * MIB), ("plain.parquet", 100)])
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1)
    drained(daemon, redis)
    environment = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": rgw.access_key,
                   "AWS_SECRET_ACCESS_KEY": rgw.secret_key, "AWS_DEFAULT_REGION": "us-east-1"}
    subprocess.run(["aws", "--endpoint-url", rgw.endpoint, "s3", "cp", "--recursive", "--quiet",
                    f"s3://{bucket.name}/lake/ds1/dt=2024-02-01/", str(tmp_path)],
                   check=True, env=environment)
    fetched = sorted(path.read_bytes() for path in tmp_path.iterdir())
    expected = sorted(b"".join(file.content().chunks(0, file.size - 1, MIB))
                      for _, file in batch.rows())
    assert fetched == expected
