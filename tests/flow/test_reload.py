# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: what changes at once, what is named and waits, what is refused and changes nothing;
what the service manager, the log, the metrics and the health socket say of it."""
import re
import signal
import socket

from ground import now_ms
from test_service import heard
from test_tail import committed, drained
from world import merged, wait_until, write_secret, yaml_text


class Reloads:
    """A daemon whose configuration is rewritten, and what its log says of each reload."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.seen = 0

    def write(self, text):
        """Replaces the file."""
        self.daemon.file.write_text(text, encoding="utf-8")

    def run(self, **changes):
        """Changes the configuration, reloads; the lines of log about it."""
        self.daemon.config = merged(self.daemon.config, changes)
        self.write(yaml_text(self.daemon.config))
        return self.hangup()

    def hangup(self):
        """Reloads; the lines of log, without what is before `config`."""
        def lines():
            text = self.daemon.log.read_text(encoding="utf-8")
            return re.findall(r"^\S+ (\w+ +config .*)$", text, re.M)[self.seen:]
        self.daemon.signal(signal.SIGHUP)
        done = wait_until(lambda: [line for line in lines()
                                   if " reloaded " in line or "not reloaded" in line], 20)
        found = lines()
        self.seen += len(found)
        assert len(done) == 1
        return found


def test_datasets_come_and_go(world, sluiced, sim, judge, place, monkeypatch):
    """A dataset that is added is copied, one that is taken away is no longer asked for, and the
    manager hears of the reload; then a broken file changes nothing and is told everywhere."""
    first, second = world.dataset(), world.dataset()
    first.batch([1000])
    second.batch([2000])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sink:
        sink.bind(str(place / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(place / "notify"))
        daemon = sluiced()
        one, two = daemon.config["datasets"]
        daemon.config["datasets"] = [one]
        daemon.start()
        reloads = Reloads(daemon)
        committed(daemon, 1)
        assert "READY=1" in heard(sink)
        assert reloads.run(datasets=[two, one | {"poll": "300ms"}])[:-1] == [
            f"info  config dataset {two['id']} is new, applied",
            f"info  config {one['id']}.poll changed from=200ms to=300ms, applied"]
        said = heard(sink)
        assert re.search(r"RELOADING=1\nMONOTONIC_USEC=\d+\n.*READY=1\nSTATUS=", said, re.S)
        committed(daemon, 2)
        assert [row["id"] for row in daemon.status()["datasets"]] == [two["id"], one["id"]]
        assert reloads.run(datasets=[two])[0] == (
            f"info  config dataset {one['id']} is no longer copied, applied")
        quiet = len([row for row in sim.log() if one["id"] in row["target"]])
        polled = len([row for row in sim.log() if two["id"] in row["target"]])
        wait_until(lambda: len([row for row in sim.log() if two["id"] in row["target"]])
                   > polled + 4, 20)
        now = len([row for row in sim.log() if one["id"] in row["target"]])
        assert now <= quiet + 1, "the turn that was under way, no more"

        good = daemon.file.read_text(encoding="utf-8")
        reloads.write(good.replace("queue:", "queu:") + "log:\n  level: loud\n")
        lines = reloads.hangup()
        assert any(f'{daemon.file}:' in line and 'did you mean "queue"' in line for line in lines)
        assert any("log.level" in line for line in lines)
        assert lines[-1].startswith("error config not reloaded, the former one stays in force")
        read_at = "sluice_config_last_reload_success_timestamp_seconds"
        first = daemon.metric(read_at)
        said = heard(sink)
        assert re.search(r"READY=1\nSTATUS=configuration refused at ", said)
        assert daemon.metric("sluice_config_reload_success") == 0
        reloads.write(good)
        assert "reloaded applied=0 need_restart=0" in reloads.hangup()[-1]
        assert daemon.metric("sluice_config_reload_success") == 1
        assert daemon.metric(read_at) > first
        sim.add(second.batch([3000], created=now_ms()))
        committed(daemon, 3)
    judge()


def test_values_and_secrets(world, sluiced, redis, sim, judge, place, rgw):
    """Levels change at once, connections need a restart and are named, S3 keys are read anew."""
    data = world.dataset()
    data.batch([1000])
    daemon = sluiced()
    daemon.start()
    reloads = Reloads(daemon)
    committed(daemon, 1)
    lines = reloads.run(log={"level": "debug"}, transfer={"workers": 3}, queue={"window": "2d"},
                        aep={"requests_per_second": 1999})
    assert lines == [
        "info  config aep.requests_per_second changed from=2000 to=1999, applied",
        "warn  config transfer.workers changed from=1 to=3, needs a restart",
        "info  config queue.window changed from=1d to=2d, applied",
        "info  config log.level changed from=info to=debug, applied",
        "info  config reloaded applied=3 need_restart=1"]
    # A secret that is gone refuses the reload; keys of a stranger are used at once.
    good = (place / "credentials").read_text(encoding="utf-8")
    (place / "credentials").unlink()
    assert "cannot be opened" in reloads.hangup()[-1]
    write_secret(place / "credentials", good.replace(rgw.secret_key, "x" * 40))
    assert any("S3 credentials changed" in line for line in reloads.hangup())
    batch = data.batch([2000], created=now_ms())
    sim.add(batch)
    wait_until(lambda: (daemon.metric("sluice_retries_total") or 0) > 0 or
               daemon.get("/readyz")[0] == 503, 30, "refused by the store")
    write_secret(place / "credentials", good)
    assert any("S3 credentials changed" in line for line in reloads.hangup())
    committed(daemon, 2, 60)
    drained(daemon, redis)
    assert batch.id in daemon.log.read_text(encoding="utf-8")
    assert rgw.secret_key not in daemon.log.read_text(encoding="utf-8")
    judge()
