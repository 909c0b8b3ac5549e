# SPDX-License-Identifier: Apache-2.0
"""Faults around every service: the world changes under a call, the gateway throttles or sends
elsewhere, connections misbehave, answers have another shape."""
import asyncio
import gzip
import json
import time

from aiohttp import web

import ground
from clock import clock
from events import EVENTS
from gateway import CONTROL, Refused, gateway_error
from ims import ims_error

CLOSE_S = 0.02  # after the handler: when its answer has left
DRIP_S = 0.2
OPTIONAL = ("externalId", "availableDates", "errors", "started", "completed",
            "sandboxId", "createdUser", "updatedUser", "dataSetViewId", "version", "isValid",
            "_page")
NUMBERS = ("created", "updated", "started", "completed", "length", "outputFileCount",
           "outputRecordCount", "outputByteSize", "inputFileCount", "failedRecordCount", "limit")


class Upset:
    """The middleware behind the gateway's."""

    def __init__(self, state):
        self.state = state

    @web.middleware
    async def front(self, request, handler):
        """Events, then answers instead of the service's, then changes of its answer."""
        if request.path.startswith(CONTROL) or not self.state.faults.armed:
            return await handler(request)
        for name, event in EVENTS.items():
            fault = self.hit(name, request)
            if fault:
                event(self.state.world, request, fault.args)
        for name, instead in INSTEAD.items():
            fault = self.hit(name, request)
            answer = fault and await instead(fault, request, self.state)
            if answer:
                return answer
        return self.changed(request, await handler(request))

    def hit(self, name, request):
        """The armed fault of this name, if it strikes this request."""
        return self.state.faults.hit(name, request["endpoint"], request["target"])

    def changed(self, request, answer):
        """The answer with another shape."""
        if isinstance(answer, web.Response) and answer.content_type == "application/json" and \
                answer.status == 200:
            for name, change in SHAPES.items():
                if self.hit(name, request):
                    answer.body = json.dumps(change(json.loads(answer.body))).encode()
            for name, change in BODIES.items():
                if self.hit(name, request):
                    change(answer)
        closing = self.hit("closed_at_idle", request)
        if closing:
            asyncio.get_running_loop().call_later(CLOSE_S + closing.args["ms"] / 1000,
                                                  request.transport.close)
        return answer


# ---- instead of the service: each raises Refused, returns an answer, or None


def too_many(retry_after):
    """429"""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return gateway_error(429, "429050", "Too many requests", headers)


async def retry_after_date(fault, _request, _state):
    """The wait as an HTTP date of the world's clock."""
    raise too_many(clock.date(fault.args["seconds"]))


async def retry_after_odd(fault, _request, _state):
    """0, -5, 86400 and words."""
    values = str(fault.args["values"]).split("|")
    raise too_many(values[(fault.struck - 1) % len(values)])


async def growing_penalty(fault, request, _state):
    """Every so many calls of an endpoint a penalty begins; who calls before it is over doubles
    it, unless the call was on its way when it began."""
    memory = fault.memory.setdefault(request["endpoint"], {"left": fault.args["every"],
                                                           "began": 0, "until": 0, "seconds": 0})
    now = time.monotonic()
    if now < memory["until"] and now < memory["began"] + fault.args["grace_ms"] / 1000:
        raise too_many(memory["seconds"])
    if now < memory["until"]:
        memory["seconds"] *= 2
    elif memory["left"] > 0:
        memory["left"] -= 1
        return
    else:
        memory["left"], memory["seconds"] = fault.args["every"], fault.args["seconds"]
    memory["began"], memory["until"] = now, now + memory["seconds"]
    raise too_many(memory["seconds"])


async def crowd_500(fault, _request, state):
    """Many calls at once are answered by 500."""
    if state.counters.running > fault.args["running"]:
        raise problem(500)


async def storm_503(fault, _request, _state):
    """503 for a while, for everybody, from the first strike on."""
    end = fault.memory.setdefault("end", time.monotonic() + fault.args["ms"] / 1000)
    if time.monotonic() < end:
        raise Refused(503, "Service Unavailable")


def bucket(key):
    """429 without advice when calls of one `key` of requests come too fast."""
    async def take(fault, request, _state):
        now, args = time.monotonic(), fault.args
        tokens, at = fault.memory.get(key(request), (args["burst"], now))
        tokens = min(args["burst"], tokens + (now - at) * args["per_second"])
        fault.memory[key(request)] = (max(tokens - 1, 0), now)
        if tokens < 1:
            raise too_many(None)
    return take


async def permission_lost(_fault, _request, _state):
    """403025"""
    raise gateway_error(403, "403025", "Profile is not valid")


async def redirect(fault, request, _state):
    """To another host, which must not see the token."""
    where = str(fault.args["to"]) + request.raw_path
    raise Refused(fault.args["status"], "", {"Location": where})


async def gateway_timeout(fault, _request, _state):
    """504 after a long silence."""
    await asyncio.sleep(fault.args["seconds"])
    raise Refused(504, "Gateway Timeout")


async def slow_header(fault, request, _state):
    """A header that does not come to an end, letter by letter; then the connection ends."""
    transport, end = request.transport, time.monotonic() + fault.args["seconds"]
    transport.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while time.monotonic() < end and not transport.is_closing():
        await asyncio.sleep(DRIP_S)
        transport.write(b"z")
    transport.close()
    return web.Response()


def problem(status):
    """AEP's own shape."""
    return Refused(status, {
        "type": "http://ns.adobe.com/aep/errors/HYGN-3102-500", "status": status,
        "title": "Internal error", "report": {"additionalContext": {}, "tenantInfo": {
            "sandboxName": "prod", "sandboxId": "a" * 32, "imsOrgId": "x@AdobeOrg"}},
        "error-chain": [{"serviceId": "HYGN", "errorCode": "HYGN-3102-500",
                         "invokingServiceId": "HYGN", "unixTimeStampMs": 1_706_745_600_000}]})


BODY_SHAPES = (
    lambda status: gateway_error(status, f"{status}000", "gateway"),
    lambda status: gateway_error(status, status * 1000, "code as a number"),
    problem,
    lambda status: Refused(status, {
        "type": "http://ns.adobe.com/aep/errors/XDM-1017-500", "title": "Registry",
        "status": status, "detail": "down", "report": {
            "registryRequestId": "r", "timestamp": "t", "detailed-message": "down",
            "sub-errors": []}}),
    lambda status: Refused(status, {"type": "/placeholder/type/uri", "status": status,
                                    "title": "InternalServerError", "detail": "older"}),
    lambda status: Refused(status, {"errorMessage": "flow"}),
    lambda status: Refused(status, "plain text"),
    lambda status: Refused(status, ""),
    lambda status: ims_error("server_error", "IMS", status),
    lambda status: Refused(status, {"error_code": None, "message": [1, {"a": None}]}),
)


async def error_bodies(fault, _request, _state):
    """All shapes, in turn."""
    raise BODY_SHAPES[(fault.struck - 1) % len(BODY_SHAPES)](fault.args["status"])


INSTEAD = {
    "retry_after_date": retry_after_date, "retry_after_odd": retry_after_odd,
    "growing_penalty": growing_penalty, "crowd_500": crowd_500, "storm_503": storm_503,
    "endpoint_bucket": bucket(lambda request: request["endpoint"]),
    "sandbox_bucket": bucket(lambda request: request.headers.get("x-sandbox-name")),
    "permission_lost": permission_lost, "redirect": redirect,
    "gateway_timeout": gateway_timeout, "slow_header": slow_header,
    "error_bodies": error_bodies,
}


# ---- the shape of a good answer


def each(body, change):
    """Applies `change` to all objects in a JSON value, the inner ones first."""
    if isinstance(body, list):
        return [each(item, change) for item in body]
    if not isinstance(body, dict):
        return body
    return change({name: each(value, change) for name, value in body.items()})


def is_record(item):
    """A batch, a dataset file, a physical file: what has members that may drift."""
    return "created" in item or "dataSetFileId" in item or "name" in item


def extra_fields(body):
    """Members that nobody has heard of, of all kinds."""
    extra = {"zz_new": {"deep": [1, None, {"x": "\U0001f642"}]}, "_experimental": True,
             "": "no name", "costInCents": 1e300}
    return each(body, lambda item: item | extra if is_record(item) else item)


def may_be_absent(name, value):
    """Optional, or a replay that says nothing."""
    return name in OPTIONAL or name == "replay" and not value


def null_fields(body):
    """null where a member that may be absent would be absent."""
    return each(body, lambda item: {name: None if may_be_absent(name, value) else value
                                    for name, value in item.items()})


def missing_fields(body):
    """All that may be absent is absent."""
    return each(body, lambda item: {name: value for name, value in item.items()
                                    if not may_be_absent(name, value)})


def numbers_as_text(body):
    """Numbers as text, and text that is a number as a number."""
    def turn(name, value):
        if name not in NUMBERS or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return str(value)
        return int(value) if isinstance(value, str) and value.isdigit() else value
    return each(body, lambda item: {name: turn(name, value) for name, value in item.items()})


def with_status(change):
    """Another status of batches."""
    return lambda body: each(body, lambda item: item | {"status": change(item["status"])}
                             if isinstance(item.get("status"), str) else item)


SHAPES = {
    "extra_fields": extra_fields, "null_fields": null_fields,
    "missing_fields": missing_fields, "numbers_as_text": numbers_as_text,
    # Of batches that are not readable, for the time being: new words of the enumeration.
    "unknown_status": with_status(lambda status: status if status in ground.READABLE
                                  + ground.WITHDRAWN else "reticulating"),
    # A stale replica answers: what was readable is not yet.
    "status_flap": with_status(lambda status: "staging" if status in ground.READABLE
                               else status),
}


def truncate(answer):
    """Half of the document, as if it were all."""
    answer.body = answer.body[:len(answer.body) // 2]


def pack(answer):
    """gzip although nobody asked for it."""
    answer.body = gzip.compress(answer.body)
    answer.headers["Content-Encoding"] = "gzip"


def mislabel(answer):
    """JSON that is said to be something else."""
    answer.content_type = "text/plain"


BODIES = {"truncated_json": truncate, "gzip_json": pack, "json_as_text": mislabel}
