# SPDX-License-Identifier: Apache-2.0
"""The controls of the simulator, under /_sim/: for tests, not part of any Adobe service."""
from aiohttp import web

from clock import clock
from gateway import CONTROL, Counters
from ground import batch_from


class Control:
    """Handlers of /_sim/. All take and answer JSON."""

    def __init__(self, state):
        self.state = state

    def routes(self):
        """One path and verb each."""
        return [web.get(CONTROL + "truth", self.truth),
                web.get(CONTROL + "counters", self.counters),
                web.get(CONTROL + "log", self.log),
                web.post(CONTROL + "reset", self.reset),
                web.post(CONTROL + "datasets", self.add_datasets),
                web.post(CONTROL + "batches", self.add_batches),
                web.post(CONTROL + "status", self.set_status),
                web.post(CONTROL + "files", self.rewrite_files),
                web.post(CONTROL + "clock", self.set_clock),
                web.post(CONTROL + "settings", self.change_settings),
                web.post(CONTROL + "faults", self.arm),
                web.post(CONTROL + "disarm", self.disarm),
                web.post(CONTROL + "revoke", self.revoke)]

    async def truth(self, _request):
        """What exists, and what a bucket must hold now."""
        return web.json_response(self.state.world.to_json())

    async def counters(self, _request):
        """Requests, statuses, bytes per file, strikes of the armed faults."""
        return web.json_response(self.state.counters.to_json()
                                 | {"faults": self.state.faults.report()})

    async def log(self, _request):
        """The last requests."""
        return web.json_response(list(self.state.counters.log))

    async def reset(self, _request):
        """Counters to zero, faults gone; the world stays."""
        running = self.state.counters.running
        self.state.counters = Counters()
        self.state.counters.running = running
        self.state.faults.disarm()
        return web.json_response({})

    async def add_datasets(self, request):
        """[{"id": ..., "sandbox": ...}, ...]"""
        for item in await request.json():
            self.state.world.dataset(item["id"], item.get("sandbox"))
        return web.json_response({})

    async def add_batches(self, request):
        """Batches in their JSON form; their lives begin now."""
        for item in await request.json():
            self.state.world.add(batch_from(item))
        return web.json_response({})

    async def set_status(self, request):
        """{batch id: status, ...}"""
        for batch_id, status in (await request.json()).items():
            self.state.world.batches[batch_id].set_status(status)
        return web.json_response({})

    async def rewrite_files(self, request):
        """{batch id: "rename" or "compact", ...}: what the platform does to the files."""
        for batch_id, how in (await request.json()).items():
            batch = self.state.world.batches[batch_id]
            {"rename": batch.rename_files, "compact": batch.compact}[how]()
        return web.json_response({})

    async def set_clock(self, request):
        """{"at_ms", "rate", "step_ms"}, each of them optional; answers the time."""
        changes = await request.json()
        clock.step(changes.pop("step_ms", 0))
        if changes:
            clock.set(**changes)
        return web.json_response({"now_ms": clock.now_ms()})

    async def change_settings(self, request):
        """delay_ms, bytes_per_second, token_ttl; answers all of them."""
        changes = await request.json()
        unknown = set(changes) - set(self.state.settings)
        if unknown:
            return web.json_response({"error": f"unknown {sorted(unknown)}"}, status=400)
        self.state.settings.update(changes)
        return web.json_response(self.state.settings)

    async def arm(self, request):
        """A list of faults in their JSON form."""
        try:
            for spec in await request.json():
                self.state.faults.arm(spec)
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({})

    async def disarm(self, request):
        """{"name": fault}, or {} for all of them."""
        self.state.faults.disarm((await request.json()).get("name"))
        return web.json_response({})

    async def revoke(self, _request):
        """All tokens die at once."""
        self.state.tokens.clear()
        return web.json_response({})
