# SPDX-License-Identifier: Apache-2.0
"""I/O Events: the journal of one registration, a hint channel like the real one.

Events tell that a batch was loaded or failed. They are noticed when somebody asks, get positions
in the order in which they are noticed, and may be doubled, swapped or lost by the faults
journal_duplicate, journal_unordered and journal_missing (`match` selects batch ids).
"""
import urllib.parse
import uuid
from dataclasses import dataclass

from aiohttp import web

import ground
from gateway import Refused, bad_request, single_query, whole_number

PATH = "/events/organizations/{org}/integrations/{integration}/{registration}"
HOST = "https://events-va6.adobe.io"  # of links, whatever name the client used
CODES = {"success": "ing_load_success", "active": "ing_load_success",
         "failed": "ing_load_failure", "failure": "ing_load_failure"}
DAY_MS = 86_400_000
LIMIT_MAX = 100


@dataclass
class Entry:
    """One place of the journal."""
    position: str
    at: int
    event: dict


class Journal:
    """The service."""

    def __init__(self, state):
        self.state = state
        self.entries = []
        self.told = {}  # batch id -> the code that was told
        self.held = []  # events that wait until another one has overtaken them

    def routes(self):
        """One address for each registration; all show the same."""
        return [web.get(PATH, self.read, name="journal", allow_head=False)]

    def hit(self, name, batch):
        """The armed fault of this name, if it strikes the event of this batch."""
        return self.state.faults.hit(name, "journal", batch.id)

    def notice(self):
        """New events for all batches whose state calls for one."""
        before, waiting = len(self.entries), len(self.held)
        changed = sorted((batch.current()[1], batch.id, batch.current()[0])
                         for batch in self.state.world.batches.values())
        for when, name, status in changed:
            code = CODES.get(status)
            if code and self.told.get(name) != code:
                self.told[name] = code
                self.publish(self.state.world.batches[name], code, when)
        if len(self.entries) == before and len(self.held) == waiting:
            self.release()  # nothing came that could have overtaken them

    def publish(self, batch, code, when):
        """One event, or what a fault makes of it."""
        event = self.event(batch, code, when)
        if self.hit("journal_missing", batch):
            return
        if self.hit("journal_unordered", batch):
            self.held.append((event, when))
            return
        self.append(event, when)
        if self.hit("journal_duplicate", batch):
            self.append(event, when)
        self.release()

    def release(self):
        """What was held back comes now."""
        held, self.held = self.held, []
        for event, when in held:
            self.append(event, when)

    def append(self, event, when):
        """The next position."""
        position = f"rabbit:{uuid.UUID(int=len(self.entries) + 1)}.camel"
        self.entries.append(Entry(position, when, event))

    def event(self, batch, code, when):
        """An event of the platform's notification provider."""
        world = self.state.world
        body = {"xdm:ingestionId": batch.id, "xdm:customerIngestionId":
                batch.extra.get("externalId", batch.id), "xdm:imsOrg": world.org,
                "xdm:completed": when, "xdm:datasetId": batch.dataset, "xdm:eventCode": code,
                "xdm:sandboxName": world.sandbox_of(batch), "sentTime": str(when),
                "header": {"_adobeio": {
                    "imsOrgId": world.org, "eventCode": "platform_event",
                    "providerMetadata": "aep_observability_catalog_events"}}}
        return {"event_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{batch.id} {code}")),
                "event": body}

    async def read(self, request):
        """GET: 200 with events, 204 at the end, 410 for what is too old."""
        query = single_query(request, {"since", "limit", "latest"})
        limit = whole_number(query, "limit", LIMIT_MAX, 1)
        self.notice()
        oldest = self.oldest()
        start = len(self.entries) if query.get("latest") == "true" else oldest
        if "since" in query:
            start = self.after(query["since"])
            if start < oldest:
                raise Refused(410, {"message": "The position is older than the oldest event that "
                                               "is kept."})
        page = self.entries[start:start + min(limit, LIMIT_MAX)]
        last = page[-1].position if page else query.get("since") or self.position_before(start)
        headers = {"Link": ", ".join(self.links(request, last))}
        if not page:
            headers["Retry-After"] = str(self.state.world.options["journal_retry_s"])
            return web.Response(status=204, headers=headers)
        events = [{"position": entry.position, "event": entry.event} for entry in page]
        return web.json_response({"events": events, "_page": {"last": last,
                                                              "count": len(events)}},
                                 headers=headers)

    def oldest(self):
        """The number of the first event that is kept."""
        horizon = ground.now_ms() - self.state.world.options["journal_days"] * DAY_MS
        number = 0
        while number < len(self.entries) and self.entries[number].at < horizon:
            number += 1
        return number

    def after(self, position):
        """The number of the event behind this position."""
        for number, entry in enumerate(self.entries):
            if entry.position == position:
                return number + 1
        if position == self.position_before(0):
            return 0
        raise bad_request(f"unknown position '{position}'")

    def position_before(self, number):
        """The position of the event before this one."""
        return self.entries[number - 1].position if number else "rabbit:start"

    def links(self, request, last):
        """The Link header: what comes next, and the place itself."""
        for relation, query in (("next", {"since": last}), ("page", {"since": last})):
            yield (f"<{HOST}{request.rel_url.raw_path}?{urllib.parse.urlencode(query)}>; "
                   f'rel="{relation}"')
