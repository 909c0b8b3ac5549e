# SPDX-License-Identifier: Apache-2.0
"""A fresh Debian under a systemd of its own, for what has to be installed: a cached root from
Debian's mirror, an overlay over it that is thrown away, systemd-nspawn to boot it. It shares the
network with this machine, so that servers on loopback are its servers, too."""
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / "build/package"
MIRROR = "http://deb.debian.org/debian"
SUITE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus,ca-certificates,sudo"
BOOT_S, HALT_S = 90, 30
SHARED = {"archives": "/var/cache/apt/archives", "lists": "/var/lib/apt/lists"}
ENVIRONMENT = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]


class Unbootable(Exception):
    """No systemd could be started; the text says what was tried and what came of it."""


def base_root():
    """The directory of the cached root; made if there is none."""
    name = hashlib.sha256(f"{SUITE} {PACKAGES}".encode()).hexdigest()[:12]
    root = CACHE / f"root-{name}"
    if root.exists():
        return root
    CACHE.mkdir(parents=True, exist_ok=True)
    half = CACHE / f"half-{name}"
    shutil.rmtree(half, ignore_errors=True)
    subprocess.run(["nice", "mmdebstrap", "--quiet", "--variant=minbase",
                    f"--include={PACKAGES}", SUITE, str(half), MIRROR], check=True)
    half.rename(root)
    return root


def children(pid):
    """Processes that a process has started."""
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


class Machine:
    """One machine; a context manager that boots it and leaves nothing behind."""

    def __init__(self):
        self.directory = None
        self.nspawn = None
        self.leader = None

    def __enter__(self):
        if os.geteuid() != 0:
            raise Unbootable("only root can boot a container")
        if not shutil.which("systemd-nspawn"):
            raise Unbootable("there is no systemd-nspawn: scripts/deps package")
        try:
            self._mount()
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.nspawn:
            self._halt()
        if self.directory:
            subprocess.run(["umount", self.place("root")], check=False)
            shutil.rmtree(self.directory, ignore_errors=True)

    def place(self, name):
        """A path beside the machine's root."""
        return f"{self.directory}/{name}"

    def _mount(self):
        base = base_root()
        self.directory = tempfile.mkdtemp(prefix="machine-", dir=CACHE)
        for name in ("root", "upper", "work"):
            os.mkdir(self.place(name))
        for name in SHARED:
            (CACHE / name / "partial").mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir={base},upperdir={self.place('upper')},workdir={self.place('work')}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.place("root")],
                       check=True)

    def _boot(self):
        binds = [f"--bind={CACHE / name}:{path}" for name, path in SHARED.items()]
        command = ["systemd-nspawn", "-q", "-D", self.place("root"), "--boot", "--register=no",
                   "--keep-unit", "--console=pipe", f"--bind-ro={ROOT}:/src", *binds]
        log = self.place("boot.log")
        with open(log, "wb") as sink:
            # pylint: disable-next=consider-using-with
            self.nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink,
                                           stderr=sink)
        end = time.monotonic() + BOOT_S
        while time.monotonic() < end and self.nspawn.poll() is None:
            self.leader = next(iter(children(self.nspawn.pid)), None)
            if self.leader and self.up():
                return
            time.sleep(0.3)
        said = pathlib.Path(log).read_text(errors="replace")[-2000:]
        raise Unbootable(f"`{' '.join(command)}` did not come up within {BOOT_S} s:\n{said}")

    def up(self):
        """Has it booted? A unit of the bare root that failed is not our concern."""
        state = self.run("systemctl is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def _halt(self):
        if self.leader and self.nspawn.poll() is None:
            os.kill(int(self.leader), signal.SIGRTMIN + 4)  # powers it off
        try:
            self.nspawn.wait(HALT_S)
        except subprocess.TimeoutExpired:
            self.nspawn.kill()
            self.nspawn.wait()

    def enter(self, *command):
        """The words that run a command in it, for subprocess."""
        return ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-p", "-r", "-w", *ENVIRONMENT,
                *command]

    def run(self, script, check=True, timeout_s=300):
        """Runs lines of shell in it; the result has stdout (with stderr) as text."""
        result = subprocess.run(self.enter("sh", "-c", script), check=False, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, timeout=timeout_s)
        failed = check and result.returncode != 0
        assert not failed, f"{script}: {result.returncode}\n{result.stdout}"
        return result

    def write(self, path, text, mode=0o644):
        """A file in it."""
        subprocess.run(self.enter("install", "-D", "-m", f"{mode:o}", "/dev/stdin", path),
                       check=True, input=text, text=True)

    def unit(self, name, prop):
        """A property of a unit."""
        return self.run(f"systemctl show -P {prop} {name}").stdout.strip()

    def install(self, *packages):
        """Installs package files, with what they need from the mirror."""
        if not any((CACHE / "lists").glob("*_Packages*")):
            self.run("apt-get -qq update")
        options = "-o Dpkg::Options::=--force-confold -o APT::Keep-Downloaded-Packages=1"
        return self.run(f"apt-get -y {options} install {' '.join(packages)}").stdout
