# SPDX-License-Identifier: Apache-2.0
"""The AEP simulator: one tenant's IMS, Catalog, Data Access, Schema Registry, Batch Ingestion and
I/O Events on a loopback port.

    python3 tests/sim/sim.py --port 0 --world world.json [--seed N] [--faults 'error_503:nth=3']

prints one line of JSON with its port when it is ready. Tests use the class Sim, which runs this
program as a child process. See README.md for an overview, ground.py for worlds, faults.py for
faults, control.py for the controls under /_sim/, oracle.py for the judgement of a bucket.
"""
import argparse
import asyncio
import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

from aiohttp import web

from access import Access
from catalog import Catalog
from clock import clock
from control import Control
from datasets import Datasets
from diagnose import Diagnose
from faults import TABLE, faults_from_text
from gateway import Gateway, State
from ground import World
from ims import Ims
from ingestion import Ingestion
from journal import Journal
from schema import Schemas
from upset import Upset

BODY_MAX = 1 << 28  # of the controls: worlds may be large
STOP_S = 5
SERVICES = (Ims, Catalog, Datasets, Access, Diagnose, Schemas, Ingestion, Journal, Control)


def application(state):
    """All services behind the gateway."""
    gateway = Gateway(state)
    upset = Upset(state)
    app = web.Application(middlewares=[gateway.front, upset.front], client_max_size=BODY_MAX)
    for make in SERVICES:
        app.add_routes(make(state).routes())

    async def tell_date(request, response):
        skew = state.faults.hit("skewed_date", request.get("endpoint"), request.get("target", ""))
        response.headers["Date"] = clock.date(skew.args["seconds"] if skew else 0)
    app.on_response_prepare.append(tell_date)  # the server's time is that of its world
    return app


async def serve(state, port):
    """Serves until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(application(state), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=0.1, backlog=1024)
    await site.start()
    port = runner.addresses[0][1]
    print(json.dumps({"port": port, "endpoint": f"http://127.0.0.1:{port}"}), flush=True)
    await stop.wait()
    await runner.cleanup()


def fault_help():
    """One line for each fault, for --help."""
    lines = [f"  {name:25} {row.help}" + (f" {row.args}" if row.args else "")
             for name, row in TABLE.items()]
    return "\n".join(["faults, their arguments and defaults:", *lines])


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="Adobe Experience Platform simulator",
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog=fault_help())
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--world", help="JSON file; an empty world if absent")
    parser.add_argument("--seed", type=int, default=1, help="of random faults")
    parser.add_argument("--faults", default="",
                        help="'name:key=value,key=value name ...', see below")
    options = parser.parse_args()
    world = World()
    if options.world:
        with open(options.world, encoding="utf-8") as file:
            world = World.from_json(json.load(file))
    state = State(world, options.seed)
    try:
        for spec in faults_from_text(options.faults):
            state.faults.arm(spec)
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    asyncio.run(serve(state, options.port))


class Sim:
    """The simulator as a child process, and its controls."""

    def __init__(self, world, faults="", seed=1, port=0):
        self.world = world
        self.arguments = ["--seed", str(seed), "--faults", faults, "--port", str(port)]
        self.process = None
        self.endpoint = None

    def start(self):
        """Returns when the simulator answers. It dies with its parent in any case."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(self.world.to_json(), file)
            file.flush()
            # pylint: disable-next=consider-using-with
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, __file__,
                 "--world", file.name, *self.arguments], stdout=subprocess.PIPE)
            line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError("the simulator did not start")
        self.endpoint = json.loads(line)["endpoint"]
        return self

    def stop(self):
        """Ends the process."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process = None

    def call(self, verb, path, body=None):
        """One call of the controls."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/_sim/{path}", data, method=verb)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from None

    def add(self, *batches):
        """Shows batches that were built in the world after the start."""
        return self.call("POST", "batches", [dataclasses.asdict(batch) for batch in batches])

    def add_dataset(self, dataset):
        """Shows a dataset that was built in the world after the start."""
        return self.call("POST", "datasets", [dataset.to_json()])

    def set_status(self, batch, status):
        """Moves a batch on in its life."""
        return self.call("POST", "status", {batch.id: status})

    def rename_files(self, batch):
        """The files of a batch get other names."""
        return self.call("POST", "files", {batch.id: "rename"})

    def compact(self, batch):
        """The files of a batch are merged."""
        return self.call("POST", "files", {batch.id: "compact"})

    def lineage(self, verb, *batches, **more):
        """consolidate, replace or revert batches, as in lineage.py; the batch that was made is
        in the simulator's world only: see truth()."""
        return self.call("POST", "lineage",
                         {"verb": verb, "batches": [batch.id for batch in batches]} | more)

    def clock(self, **changes):
        """at_ms, rate, step_ms; returns the time of the world."""
        return self.call("POST", "clock", changes)["now_ms"]

    def arm(self, text):
        """Arms faults, written as in faults.py."""
        return self.call("POST", "faults", faults_from_text(text))

    def disarm(self, name=None):
        """Ends one fault, or all."""
        return self.call("POST", "disarm", {"name": name} if name else {})

    def set(self, **settings):
        """delay_ms, bytes_per_second, and what gateway.IMS_SETTINGS says."""
        return self.call("POST", "settings", settings)

    def options(self, **options):
        """Options of the world; returns all of them as they were before."""
        return self.call("POST", "options", options)

    def revoke(self):
        """All tokens die at once."""
        return self.call("POST", "revoke", {})

    def reset(self):
        """Counters to zero, faults gone."""
        return self.call("POST", "reset", {})

    def counters(self):
        """What was asked and sent since the start or the last reset."""
        return self.call("GET", "counters")

    def log(self):
        """The last requests, oldest first."""
        return self.call("GET", "log")

    def truth(self):
        """The world as the simulator sees it now, for the oracle."""
        return self.call("GET", "truth")


if __name__ == "__main__":
    main()
