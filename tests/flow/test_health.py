# SPDX-License-Identifier: Apache-2.0
"""The health socket as those see it who ask: curl, nc, Prometheus, HAProxy, CloudWatch; and while
what it reports about hangs."""
import itertools
import json
import re
import signal
import socket
import subprocess
import time

from ground import now_ms
from matrix_rig import only_objects_stay
from test_tail import committed
from world import spawn, end, unix_get, wait_until

QUICK_S = 2  # for an answer, on a machine that does other things as well


def run(*command, text=""):
    """What a command prints; its end must be good."""
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True,
                          timeout=20).stdout


def free_port():
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def samples(text):
    """{'name{labels}': value} of Prometheus' text format."""
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def check_line(text, name):
    """The lines of one check in /readyz?verbose."""
    found = re.search(rf"^\[(.)\] {name} +(\w+)(.*?)(?=^\[|^ok|^not ready)", text, re.M | re.S)
    return found.groups() if found else (None, None, "")


def nc(daemon, word):
    """echo word | nc -U socket"""
    return run("nc", "-N", "-U", str(daemon.socket), text=word + "\n")


def test_asked_by_everybody(world, sim, sluiced, redis, place, bucket):
    """Figures move, words are right, and each way of asking tells the same."""
    data = world.dataset()
    for number in range(3):
        data.batch([1000, 6 << 20, number])
    data.batch([10], status="failed")
    data.batch([2000], created=now_ms() - 5000)
    port, emf = free_port(), place / "emf.log"
    textfile = place / "sluice.prom"
    daemon = sluiced(health={"listen": f"127.0.0.1:{port}", "textfile": str(textfile)},
                     metrics={"emf": str(emf)})
    sim.arm("throttle_429_retry_after:times=1")
    daemon.start()
    committed(daemon, 4)
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 20, "ready")
    wait_until(lambda: daemon.status()["datasets"][0]["last_commit"] and
               daemon.status()["datasets"][0]["queue"]["uncommitted"] == 0, 20)
    fresh = wait_until(lambda: daemon.status()["datasets"][0]["lag_s"] is not None and
                       daemon.status(), 20)
    curl = ("curl", "-fsS", "--unix-socket", str(daemon.socket))

    # people
    verbose = run(*curl, "http://sluiced/readyz?verbose")
    assert verbose.endswith("\nok\n")
    for name in ("redis", "s3", "ims", "catalog", "access"):
        assert check_line(verbose, name)[:2] in (("+", "ok"), ("!", "slow")), verbose
    assert f"{daemon.file}, read 20" in check_line(verbose, "config")[2]
    assert re.search(r"\d+\.\d ms", check_line(verbose, "redis")[2])
    assert "token expires in 2" in check_line(verbose, "ims")[2]
    assert run(*curl, "http://sluiced/livez") == "ok\n"
    assert nc(daemon, "health") == "ok\n" and nc(daemon, "agent") == "up ready\n"
    lines = nc(daemon, "status").splitlines()
    assert lines[0].startswith("ready, 1 datasets, lag ") and len(lines) == 2
    assert re.fullmatch(r"ds1  lag \d+s  last commit 20\S+Z  0 batches and 0 files to go",
                        lines[1]), lines

    # programs
    status = json.loads(run(*curl, "http://sluiced/status"))
    assert status["schema"] == 1 and status["ready"] and status["uptime_s"] >= 0
    assert status["config_file"] == str(daemon.file)
    assert status["checks"]["s3"]["state"] == "ok" and status["checks"]["s3"]["last_ok"]
    assert status["checks"]["s3"]["breaker"] == "closed"
    assert status["process"]["resident_bytes"] > 1 << 20 and status["process"]["open_fds"] > 5
    assert fresh["datasets"][0]["watermark_age_s"] < 30 and fresh["datasets"][0]["lag_s"] < 60
    assert status["queue"]["age_s"] < 20 and status["queue"]["dead"] == 0

    # Prometheus
    scraped = run("curl", "-fsS", f"http://127.0.0.1:{port}/metrics")
    seen = samples(scraped)
    assert run("promtool", "check", "metrics", text=scraped) == ""
    assert samples(textfile.read_text("utf-8")).keys() >= {"sluice_ready", "sluice_daemons"}
    for api, code in itertools.product(("catalog", "listing", "content", "ims", "s3"), ("2xx",)):
        assert seen[f'sluice_api_requests_total{{api="{api}",code="{code}"}}'] > 0
        assert seen[f'sluice_api_request_seconds_count{{api="{api}"}}'] > 0
    assert daemon.metric("sluice_api_throttled_total") == 1
    assert sum(value for name, value in seen.items() if 'code="429"' in name) == 1
    # What history is old by does not count twice: four batches, one of them of the last minutes.
    assert seen["sluice_batch_delay_seconds_count"] == 4
    assert seen['sluice_batch_delay_seconds_bucket{le="300"}'] >= 1
    assert seen['sluice_task_seconds_count{kind="file"}'] >= 10
    assert seen['sluice_task_seconds_count{kind="tail"}'] >= 1
    for name in ("sluice_dataset_last_success_timestamp_seconds",
                 "sluice_dataset_watermark_timestamp_seconds"):
        assert abs(seen[name + '{dataset="ds1"}'] - time.time()) < 60, name
    assert 0 <= seen['sluice_dataset_lag_seconds{dataset="ds1"}'] < 60
    assert seen["sluice_stored_bytes_total"] >= 18 << 20
    assert seen["sluice_batches_skipped_total"] == 1
    assert seen['sluice_exported_bytes_total{dataset="ds1"}'] >= 18 << 20
    assert seen["sluice_process_cpu_seconds_total"] > 0
    assert abs(seen["sluice_sample_timestamp_seconds"] - time.time()) < 30
    assert seen["sluice_process_start_time_seconds"] <= seen["sluice_sample_timestamp_seconds"]
    assert seen["sluice_process_max_fds"] > seen["sluice_process_open_fds"] > 5
    assert seen["sluice_process_resident_memory_bytes"] > 1 << 20
    for name in ("sluice_log_lines_lost", "sluice_uploads_running", "sluice_files_running",
                 "sluice_pool_used_bytes", "sluice_dead_tasks", "sluice_inbox_elements",
                 "sluice_s3_repeats_total", "sluice_queue_age_seconds", "sluice_delayed_tasks"):
        assert seen[name] >= 0
    assert seen["sluice_pool_bytes"] == 64 << 20 and seen["sluice_daemons"] == 1
    assert seen["sluice_client_secret_in_use"] == 1 and seen["sluice_redis_round_trip_seconds"] > 0
    assert seen['sluice_build_info{version="0.1.0"}'] == 1
    assert seen['sluice_check_ok{check="redis"}'] == 1
    assert seen['sluice_api_window{api="catalog"}'] >= 1
    assert daemon.metric("sluice_control_running") is not None
    assert daemon.metric("sluice_loop_lag_seconds") >= 0
    assert daemon.metric("sluice_api_requests_running") >= 0

    # CloudWatch gets the rest of its minute, the textfile goes
    daemon.stop()
    line = json.loads(emf.read_text("utf-8").splitlines()[-1])
    declared = line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    assert all(isinstance(line[metric["Name"]], (int, float)) for metric in declared)
    assert line["BatchesCommitted"] == 4 and line["CallsFailed"] >= 1 and line["Failures"] == 0
    assert line["ExecutionTime"] > 0 and line["ResidentMemory"] > 1 << 20
    assert not textfile.exists() and not (place / "sluice.prom.new").exists()


def test_work_that_was_done_before(world, sluiced, redis, bucket):
    """Objects that are there are counted as such, orders as taken or refused; the queue's gauges
    show work that is held back."""
    data = world.dataset()
    data.batch([1000, 11 << 20])
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1)
    only_objects_stay(daemon, redis, bucket)
    daemon.start()
    committed(daemon, 1)
    assert daemon.metric("sluice_objects_existing_total") >= 1
    # Ceph tells no checksum in a HEAD, so without Redis' record the bytes are read once more.
    assert daemon.metric("sluice_files_known_total") == 0
    redis.command("LPUSH", "sluice:inbox", f"backfill {data.id} 2024-02-01 2024-02-02")
    redis.command("LPUSH", "sluice:inbox", "dig")
    wait_until(lambda: daemon.metric("sluice_inbox_accepted_total") == 1, 20)
    wait_until(lambda: daemon.metric("sluice_inbox_rejected_total") == 1, 20)
    redis.command("FCALL", "sluice_dataset", 1, "sluice:", data.id, "max_f", 0)
    redis.command("FCALL", "sluice_replay", 1, "sluice:", data.id, "2024-02-01", "2024-02-02")
    wait_until(lambda: daemon.metric("sluice_open_files") == 2, 30, "files wait")
    wait_until(lambda: samples(daemon.get("/metrics")[1])[
        'sluice_queue_tasks{dataset="ds1",kind="file",status="pending"}'] == 2, 20, "shown as such")


def test_trouble_has_a_beginning_and_a_hint(world, sim, sluiced, redis, place):
    """Gauges of the queue follow it: pause, dead letter, retry; a failing check says since when,
    when it last passed and what to do; a datagram socket gets the line for CloudWatch."""
    data = world.dataset()
    data.batch([1000])
    sim.start()
    sim.arm("bit_flip:times=0,match=bad")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        agent.bind(str(place / "emf"))
        agent.settimeout(20)
        daemon = sluiced(metrics={"emf": f"unix:{place}/emf"})
        daemon.start()
        committed(daemon, 1)
        bad = data.batch([("bad.parquet", 1234)], created=now_ms())
        sim.add(bad)
        wait_until(lambda: daemon.metric("sluice_dead_tasks"), 30, "a dead letter")
        assert daemon.metric("sluice_uncommitted_batches") == 1
        lag = daemon.metric("sluice_dataset_lag_seconds")
        wait_until(lambda: daemon.metric("sluice_dataset_lag_seconds") > lag + 1, 30, "it lags")
        redis.command("FCALL", "sluice_pause", 1, "sluice:", data.id, 1)
        wait_until(lambda: daemon.metric("sluice_dataset_paused") == 1, 20, "paused")
        sim.disarm()
        redis.command("FCALL", "sluice_pause", 1, "sluice:", data.id, 0)
        redis.command("FCALL", "sluice_retry", 1, "sluice:", f"b/{data.id}/{bad.id}")
        wait_until(lambda: daemon.metric("sluice_dead_tasks") == 0, 30, "retried")
        redis.stop()
        wait_until(lambda: daemon.get("/readyz")[0] == 503, 30, "not ready")
        mark, state, rest = check_line(daemon.get("/readyz?verbose")[1], "redis")
        assert (mark, state) == ("-", "fail")
        assert re.search(r"since 20\S+Z, last ok 20\S+Z\n +hint: look whether it runs", rest), rest
        check = daemon.status()["checks"]["redis"]
        assert check["since"] >= check["last_ok"] and check["hint"].startswith("look whether")
        assert nc(daemon, "agent") == "down #redis\n"
        assert daemon.get("/livez")[0] == 200
        assert daemon.metric("sluice_check_ok") == 5 and daemon.metric("sluice_ready") == 0
        redis.start()
        wait_until(lambda: daemon.get("/readyz")[0] == 200, 30, "ready again")
        daemon.stop()
        line = json.loads(agent.recv(65536))
        assert line["Failures"] == 1 and line["Service"] == "sluiced"


def test_answers_while_redis_hangs(world, sluiced, redis):
    """A Redis that takes connections and says nothing: alive at once, slow soon, not ready then."""
    world.dataset().batch([1000])
    daemon = sluiced()
    daemon.start()
    committed(daemon, 1)
    redis.process.send_signal(signal.SIGSTOP)
    try:
        slowest, seen = 0, set()
        until = time.monotonic() + 60
        while "fail" not in seen and time.monotonic() < until:
            began = time.monotonic()
            assert daemon.get("/livez")[0] == 200
            _, text = daemon.get("/readyz?verbose")
            slowest = max(slowest, time.monotonic() - began)
            seen.add(check_line(text, "redis")[1])
            time.sleep(0.1)
    finally:
        redis.process.send_signal(signal.SIGCONT)
    assert {"slow", "fail"} <= seen, seen
    assert slowest < QUICK_S
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 60, "ready again")


def test_haproxy_agent_check(world, sluiced, redis, place):
    """HAProxy takes its server out when we are not ready, and back in."""
    world.dataset()
    port = free_port()
    daemon = sluiced(health={"listen": f"127.0.0.1:{port}"})
    (place / "haproxy.cfg").write_text(f"""
global
    stats socket {place}/haproxy.sock mode 600
defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen behind
    bind 127.0.0.1:{free_port()}
    default-server inter 500ms check agent-check agent-inter 200ms agent-port {port}
    server sluice 127.0.0.1:{port} agent-send "agent\\n"
""", encoding="utf-8")
    daemon.start()
    wait_until(lambda: daemon.get("/readyz")[0] == 200, 20, "ready")
    proxy = spawn(["haproxy", "-f", place / "haproxy.cfg", "-db"], stderr=subprocess.DEVNULL)

    def status():
        """Of the server, as HAProxy sees it."""
        done = subprocess.run(["nc", "-N", "-U", f"{place}/haproxy.sock"], input="show stat\n",
                              capture_output=True, text=True, check=False, timeout=20)
        rows = [line.split(",") for line in done.stdout.splitlines() if ",sluice," in line]
        return rows[0][17] if rows else ""
    try:
        wait_until(lambda: status().startswith("UP"), 20, "up")
        redis.stop()
        wait_until(lambda: status().startswith("DOWN (agent)"), 30, "down")
        redis.start()
        wait_until(lambda: status().startswith("UP"), 40, "up again")
    finally:
        end(proxy)


def test_bad_settings_are_said(world, sluiced):
    """A port that others could reach is refused, and so is a group that is not there."""
    world.dataset()
    daemon = sluiced(health={"listen": "0.0.0.0:9464"})
    daemon.launch()
    assert daemon.process.wait(20) == 78
    assert "health.listen" in daemon.tail() and "127.0.0.1:9464" in daemon.tail()
    daemon = sluiced(health={"group": "no-such-group-here"})
    daemon.launch()
    assert daemon.process.wait(20) == 78
    assert "there is no group no-such-group-here" in daemon.tail()
    assert unix_get(daemon.socket, "/livez")[0] == 0
