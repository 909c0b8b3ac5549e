# SPDX-License-Identifier: Apache-2.0
"""The bench's laboratory: builds the C parts, starts servers, measures one client process.

Everything it starts ends with it: by pid at the end of each run, by PR_SET_PDEATHSIG if it is
killed itself.
"""
import ctypes
import http.client
import json
import os
import signal
import ssl
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MIB = 1024 * 1024
POLL_S = 0.02
STOP_S = 30

PROGRAMS = {
    "source": (["source.c", "httpd.c"], ["-pthread", "-lssl", "-lcrypto"]),
    "sink": (["sink.c", "store.c", "httpd.c"], ["-pthread", "-lssl", "-lcrypto"]),
    "relay": (["relay.c", "sign.c"], ["-lcurl", "-lcrypto"]),
}


def build(directory):
    """Compiles what is older than its sources; returns name -> path."""
    directory.mkdir(parents=True, exist_ok=True)
    newest = max(p.stat().st_mtime for p in HERE.glob("*.[ch]"))
    for name, (sources, libraries) in PROGRAMS.items():
        target = directory / name
        if target.exists() and target.stat().st_mtime > newest:
            continue
        command = ["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-o", target]
        subprocess.run(command + [HERE / s for s in sources] + libraries, check=True)
    return {name: directory / name for name in PROGRAMS}


def make_certificates(directory):
    """A CA of our own and a certificate for 127.0.0.1, as ca.pem, cert.pem and key.pem."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)

    (directory / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem", "-days", "2", "-subj", "/CN=bench CA",
            "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.csr",
            "-subj", "/CN=127.0.0.1")
    openssl("x509", "-req", "-in", "cert.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", "cert.pem", "-days", "2", "-extfile", "san")


def die_with_parent():
    """Runs in the child: the kernel kills it when we end, however we end."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def start(command, log=subprocess.DEVNULL, **options):
    """A child with its errors in `log`."""
    return subprocess.Popen([str(word) for word in command], stderr=log,
                            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent, **options)


def stop(process, patience_s=5):
    """Asks, waits, insists."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Server:
    """The C source or sink: prints its port, counts for us at /_stats."""

    def __init__(self, program, arguments, tls_directory=None):
        if tls_directory:
            arguments = [*arguments, "-c", tls_directory / "cert.pem",
                         "-k", tls_directory / "key.pem"]
        self.process = start([program, *arguments], log=None, stdout=subprocess.PIPE)
        port = int(self.process.stdout.readline() or 0)
        if not port:
            raise RuntimeError(f"{program} did not start")
        if tls_directory:
            trust = ssl.create_default_context(cafile=tls_directory / "ca.pem")
            self.connection = http.client.HTTPSConnection("127.0.0.1", port, context=trust)
        else:
            self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.url = f"{'https' if tls_directory else 'http'}://127.0.0.1:{port}"

    def stats(self):
        """Its counters."""
        self.connection.request("GET", "/_stats")
        return json.loads(self.connection.getresponse().read())

    def close(self):
        """Stops it."""
        self.connection.close()
        stop(self.process)
        self.process.stdout.close()


class Redis:
    """A real redis-server on a unix socket, with the durability the daemon asks for."""

    def __init__(self, directory):
        directory.mkdir(exist_ok=True)
        self.url = f"unix://{directory}/redis.sock"
        self.process = start(
            ["redis-server", "--port", "0", "--unixsocket", directory / "redis.sock", "--dir",
             directory, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
             "--maxmemory-policy", "noeviction"], stdout=subprocess.DEVNULL)
        while not (directory / "redis.sock").exists():
            if self.process.poll() is not None:
                raise RuntimeError("redis-server did not start")
            time.sleep(POLL_S)

    def cpu(self):
        """CPU-seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        """Stops it."""
        stop(self.process)


@dataclass
class Measure:
    """What one client process cost."""
    wall: float = 0.0
    cpu: float = 0.0
    rss_mib: float = 0.0
    error: str = ""
    more: dict = field(default_factory=dict)


def peak_rss_mib(pid):
    """VmHWM: ru_maxrss would start at the size of this interpreter."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


class Client:
    """One measured process. `finished` tells when a daemon, which never ends, is through."""

    def __init__(self, command, log_file, finished=None, environment=None):
        self.log_file = log_file
        self.finished = finished
        self.measure = Measure()
        with open(log_file, "ab") as log:
            self.began = time.monotonic()
            self.process = start(command, log=log, stdout=log, env=environment)

    def reap(self, flags):
        """True once the process has ended; then its CPU time is known."""
        if self.process.returncode is not None:
            return True
        pid, status, usage = os.wait4(self.process.pid, flags)
        if not pid:
            return False
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.measure.cpu = usage.ru_utime + usage.ru_stime
        return True

    def wait(self, limit_s, until=None):
        """Until `until`, the end of its work or its own; then stops it if it still runs."""
        until = until or self.finished or (lambda: False)
        reached = False
        while not (ended := self.reap(os.WNOHANG)):
            self.measure.rss_mib = max(self.measure.rss_mib, peak_rss_mib(self.process.pid))
            reached = until()
            if reached or time.monotonic() > self.began + limit_s:
                break
            time.sleep(POLL_S)
        self.measure.wall = time.monotonic() - self.began
        if ended and (self.process.returncode or self.finished):
            self.measure.error = f"exit status {self.process.returncode}: {self.last_words()}"
        if not ended and not reached:
            self.measure.error = f"not done after {limit_s:.0f} s: {self.last_words()}"
        return self.measure

    def last_words(self):
        """The end of its log."""
        lines = self.log_file.read_text(errors="replace").strip().splitlines()
        return lines[-1][:160] if lines else "(no output)"

    def end(self):
        """SIGTERM, patience, SIGKILL; CPU includes its shutdown."""
        if not self.reap(os.WNOHANG):
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while not self.reap(os.WNOHANG):
            if time.monotonic() > deadline:
                self.measure.error = self.measure.error or "did not stop on SIGTERM"
                self.kill()
            time.sleep(POLL_S)

    def kill(self):
        """As a power cut would."""
        if not self.reap(os.WNOHANG):
            self.process.kill()
            self.reap(0)
