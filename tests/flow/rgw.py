# SPDX-License-Identifier: Apache-2.0
"""A real S3 server for tests and the demo: one Ceph monitor, one OSD and a RADOS gateway.

    with Rgw("/some/new/directory") as rgw:
        use(rgw.endpoint, rgw.access_key, rgw.secret_key)

Everything lives in the given directory and on free loopback ports. The daemons are children in
the foreground and get SIGKILL when this process dies, so none is left behind. Needs Debian's
ceph-mon, ceph-osd, radosgw and openssl; starts in about a second. As a program it serves until
it is interrupted.
"""
import argparse
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import uuid

DOMAIN = "s3.localhost"

CONFIG = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}]
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
auth supported = none
# Without cephx there are no keys: the default mode, secure, would wait for ever.
ms mon client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
ms bind msgr1 = false
ms bind port min = {osd_port}
ms bind port max = {osd_port_max}
run dir = {home}/run
admin socket = {home}/run/$name.asok
pid file =
log file = {home}/log/$name.log
crash dir = {home}/run
mon cluster log file = {home}/log/cluster.log
log to stderr = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
osd crush chooseleaf type = 0
mon max pg per osd = 1000

[mon]
mon data = {home}/mon
mon data avail crit = 1
mon data avail warn = 2
paxos propose interval = 0.05
paxos min wait = 0.01

[osd]
osd data = {home}/osd
osd objectstore = {store}
memstore device bytes = {size}
bluestore block size = {size}
bluestore fsck on mount = false
osd memory target = 939524096
osd op num shards = 2
osd max object name len = 4096
osd class update on start = true
osd crush initial weight = 1
crush location = root=default host=localhost
mon osd report timeout = 86400

[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port} ssl_endpoint=127.0.0.1:{tls_port} \
ssl_certificate={home}/tls/cert.pem ssl_private_key={home}/tls/key.pem
rgw dns name = {domain}
rgw data = {home}/run
rgw thread pool size = 64
rgw crypt require ssl = false
rgw list buckets max chunk = 1000
"""


class RgwError(Exception):
    """The server did not come up; the text says what failed and where its logs are."""


def free_ports(count):
    """Ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


class Rgw:
    """One server. Once started it answers and knows its user; `stop` leaves nothing."""

    access_key = "AKIDTEST0000000001"
    secret_key = "secretTEST/0000000000000000000000000+01"
    region = "us-east-1"

    def __init__(self, directory, store="memstore", size=2 << 30, port=None):
        self.home = pathlib.Path(directory).absolute()
        self.store, self.size, self.port = store, size, port
        self.children = []
        self.endpoint = self.tls_endpoint = self.virtual_endpoint = None
        self.ca = str(self.home / "tls" / "cert.pem")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Raises RgwError with the reason; then nothing runs."""
        try:
            self._prepare()
            self._start_store()
            self._start_gateway()
        except Exception:
            self.stop()
            raise
        return self

    def stop(self):
        """The gateway first: it would wait for a store that is gone."""
        for child in reversed(self.children):
            child.send_signal(signal.SIGCONT)  # a test may have stopped it
            child.terminate()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.children = []

    def environment(self):
        """What awscli, boto3 and our daemon need."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }

    def client(self):
        """A boto3 client: the independent reader of what we write."""
        import boto3  # pylint: disable=import-outside-toplevel
        from botocore.config import Config  # pylint: disable=import-outside-toplevel

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def _prepare(self):
        for tool in ("ceph-mon", "ceph-osd", "radosgw", "openssl"):
            if not shutil.which(tool, path=self._path()):
                raise RgwError(f"{tool} is missing: apt-get install radosgw ceph-mon ceph-osd")
        for part in ("mon", "osd", "run", "log", "tls"):
            (self.home / part).mkdir(parents=True, exist_ok=False)
        port, tls_port, mon_port, osd_port = free_ports(4)
        port = self.port or port
        self.endpoint = f"http://127.0.0.1:{port}"
        self.virtual_endpoint = f"http://{DOMAIN}:{port}"
        self.tls_endpoint = f"https://127.0.0.1:{tls_port}"
        self.mon = f"[v2:127.0.0.1:{mon_port}]"
        self.fsid = str(uuid.uuid4())
        config = CONFIG.format(
            home=self.home, store=self.store, size=self.size, fsid=self.fsid, domain=DOMAIN,
            port=port, tls_port=tls_port, mon_port=mon_port,
            osd_port=osd_port, osd_port_max=min(osd_port + 99, 65535),
        )
        (self.home / "ceph.conf").write_text(config)
        names = f"subjectAltName=DNS:localhost,DNS:{DOMAIN},DNS:*.{DOMAIN},IP:127.0.0.1"
        self._run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "30", "-subj", f"/CN={DOMAIN}", "-addext", names,
            "-keyout", str(self.home / "tls" / "key.pem"), "-out", self.ca,
        )

    def _start_store(self):
        osd_id = str(uuid.uuid4())
        monmap = str(self.home / "monmap")
        self._run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", self.mon,
                  monmap)
        self._run("ceph-mon", *self._conf(), "--mkfs", "-i", "a", "--monmap", monmap)
        self._spawn("ceph-mon", "-i", "a")
        self._run("ceph", *self._conf(), "--connect-timeout", "20", "osd", "new", osd_id)
        self._run("ceph-osd", *self._conf(), "-i", "0", "--mkfs", "--osd-uuid", osd_id)
        self._spawn("ceph-osd", "-i", "0")

    def _start_gateway(self):
        self._spawn("radosgw", "-n", "client.rgw")
        self._wait()
        self._run(
            "radosgw-admin", *self._conf(), "--admin-socket=", "user", "create",
            "--uid", "tester", "--display-name", "tester",
            "--access-key", self.access_key, "--secret-key", self.secret_key,
        )

    def _wait(self, seconds=60):
        host, port = self.endpoint.removeprefix("http://").split(":")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for child in self.children:
                if child.poll() is not None:
                    raise RgwError(f"{child.args[3]} ended; see {self.home}/log")
            try:
                connection = http.client.HTTPConnection(host, int(port), timeout=5)
                connection.request("GET", "/")
                connection.getresponse().read()
                return
            except OSError:
                time.sleep(0.05)
        raise RgwError(f"radosgw did not answer within {seconds} s; see {self.home}/log")

    def _spawn(self, *command):
        with open(self.home / "log" / "boot.log", "ab") as log:
            child = subprocess.Popen(  # pylint: disable=consider-using-with
                ["setpriv", "--pdeathsig", "KILL", command[0], "-f", *self._conf(),
                 *command[1:]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env(),
            )
        self.children.append(child)

    def _run(self, *command):
        result = subprocess.run(
            command, env=self._env(), timeout=60, check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        if result.returncode:
            raise RgwError(f"{' '.join(command)}: {result.stdout[-500:]}")

    def _conf(self):
        return ["-c", str(self.home / "ceph.conf")]

    @staticmethod
    def _path():
        return os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin:/sbin"

    def _env(self):
        return dict(os.environ, PATH=self._path(), PYTHONWARNINGS="ignore")


def main():
    """Serves in the foreground, for a demo or a look by hand."""
    parser = argparse.ArgumentParser(description="a small real S3 server (Ceph)")
    parser.add_argument("directory", help="new directory for its data and logs")
    parser.add_argument("--bucket", help="create this bucket")
    parser.add_argument("--store", default="memstore", choices=("memstore", "bluestore"))
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with Rgw(options.directory, store=options.store) as rgw:
        if options.bucket:
            rgw.client().create_bucket(Bucket=options.bucket)
        for name, value in rgw.environment().items():
            print(f"export {name}='{value}'")
        print(f"export S3_ENDPOINT={rgw.endpoint} S3_TLS_ENDPOINT={rgw.tls_endpoint}", end=" ")
        print(f"S3_CA={rgw.ca}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
