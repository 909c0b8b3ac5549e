# SPDX-License-Identifier: Apache-2.0
"""What stands before every service: the header checks of the gateway, faults that answer in place
of a service, and the counters. The token service is in ims.py."""
import asyncio
import collections
import math
import time
import urllib.parse
import uuid

from aiohttp import web

from bodies import content_type, reshaped
from faults import Faults

CATALOG = "/data/foundation/catalog"
EXPORT = "/data/foundation/export"
CONTROL = "/_sim/"
LOG_LENGTH = 5000
IMS_SETTINGS = {
    "token_ttl": 86399,  # seconds
    "secrets": [],  # those that live; the world's if empty
    "scopes": "",  # those that the credential owns, with commas between; any if empty
    "token_gap_ms": 0,  # a token asked for sooner after the last one is a 429
    "technical_account": "", "public_key": "",  # of the JWT credential; PEM
}
FILE_NAMES = {"GET": "content", "HEAD": "head"}


class Refused(Exception):
    """An error answer."""

    def __init__(self, status, body, headers=None):
        super().__init__(status, body)
        self.status, self.body, self.headers = status, body, headers

    def response(self):
        """As aiohttp wants it; text bodies stay text."""
        if isinstance(self.body, str):
            return web.Response(status=self.status, text=self.body, headers=self.headers,
                                content_type=content_type(self.body))
        return web.json_response(self.body, status=self.status, headers=self.headers)


def gateway_error(status, code, message, headers=None):
    """The gateway's shape of an error."""
    return Refused(status, {"error_code": code, "message": message}, headers)


def bad_request(detail):
    """A service's answer to a parameter that it does not take."""
    return Refused(400, {"type": "/placeholder/type/uri", "status": 400,
                         "title": "BadRequestError", "detail": detail})


def not_found(what, name):
    """A service's answer to an unknown id."""
    return Refused(404, {"type": "http://ns.adobe.com/aep/errors/CATALOG-404", "status": 404,
                         "title": "NotFoundError", "detail": f"{what} {name} not found"})


def single_query(request, allowed):
    """The query as a dict; what is unknown or doubled is refused."""
    query = {}
    for name, value in request.query.items():
        if name not in allowed:
            raise bad_request(f"unknown query parameter '{name}'")
        if name in query:
            raise bad_request(f"query parameter '{name}' is given twice")
        query[name] = value
    return query


def whole_number(query, name, default=None, low=0, high=2**63):
    """An integer parameter within its range."""
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise bad_request(f"'{name}' must be a number between {low} and {high}: '{text}'")
    return int(text)


def endpoint_of(request):
    """The name under which requests are counted and faults are armed."""
    name = request.match_info.route.name or "unknown"
    if name.startswith("ims"):
        return "ims"
    if name == "files" and ("path" in request.query or request.method == "HEAD"):
        return FILE_NAMES.get(request.method, name)
    return name


def target_of(request):
    """Path and query, decoded."""
    return urllib.parse.unquote_plus(request.raw_path)


class Counters:
    """What was asked and what was sent."""

    def __init__(self):
        self.requests = collections.Counter()
        self.statuses = collections.Counter()
        self.sent = collections.Counter()  # bytes of each file, "{dataset file id}/{name}"
        self.reads = collections.Counter()
        self.running = 0
        self.most_running = 0
        self.impatient = 0  # requests that made a penalty longer
        self.log = collections.deque(maxlen=LOG_LENGTH)

    def begin(self, endpoint):
        """A request has arrived."""
        self.requests[endpoint] += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)

    def end(self, endpoint, status, request):
        """It was answered, or given up (status 0)."""
        self.running -= 1
        self.statuses[f"{endpoint} {status}"] += 1
        self.log.append({"at": time.time(), "endpoint": endpoint, "method": request.method,
                         "status": status, "target": target_of(request),
                         "range": request.headers.get("Range", "")})

    def to_json(self):
        """For /_sim/counters."""
        return {"requests": self.requests, "statuses": self.statuses, "sent": self.sent,
                "reads": self.reads, "bytes": sum(self.sent.values()),
                "running": self.running, "most_running": self.most_running,
                "impatient": self.impatient}


class State:
    """What the services share."""

    def __init__(self, world, seed=1):
        self.world = world
        self.faults = Faults(seed)
        self.counters = Counters()
        self.settings = {"delay_ms": 0, "bytes_per_second": 0} | IMS_SETTINGS
        self.tokens = {}  # token -> when it dies, by the wall clock


class Gateway:
    """The middleware."""

    def __init__(self, state):
        self.state = state

    @web.middleware
    async def front(self, request, handler):
        """Every request passes here; those for the controls pass through."""
        if request.path.startswith(CONTROL):
            return await handler(request)
        endpoint = endpoint_of(request)
        counters = self.state.counters
        status = 0
        counters.begin(endpoint)
        try:
            response = await self.answer(request, handler, endpoint)
            response.headers.setdefault("x-request-id", uuid.uuid4().hex)
            status = response.status
            if self.packs(request, response):
                response.enable_compression(web.ContentCoding.gzip)
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            counters.end(endpoint, status, request)

    def packs(self, request, response):
        """JSON is sent as gzip to those who ask for it."""
        return (self.state.world.options["gzip"] and isinstance(response, web.Response)
                and response.content_type.endswith("json") and response.body
                and "Content-Encoding" not in response.headers
                and "gzip" in request.headers.get("Accept-Encoding", ""))

    async def answer(self, request, handler, endpoint):
        """Checks, then faults, then the service."""
        request["endpoint"], request["target"] = endpoint, target_of(request)
        try:
            if endpoint not in ("ims", "unknown"):
                self.check_headers(request)
            await self.wait(request)
            instead = await self.fault_answer(request)
            return await handler(request) if instead is None else instead
        except Refused as refused:
            refused.body = reshaped(refused.body, refused.status, self.state.world)
            return refused.response()

    def check_headers(self, request):
        """Key, token, organisation, sandbox: in this order, with the documented bodies."""
        world, headers = self.state.world, request.headers
        journal = request["endpoint"] == "journal"  # the only service of another gateway
        key = headers.get("x-api-key")
        organisation = headers.get("x-ims-org-id" if journal else "x-gw-ims-org-id")
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if not key:
            raise gateway_error(403, "403000", "Api Key is required")
        if key != world.client_id:
            raise gateway_error(403, "403003", "Api Key is invalid")
        if not scheme:
            raise gateway_error(403, "403010", "Oauth token is missing.")
        if scheme != "Bearer" or self.state.tokens.get(token, 0) < time.time():
            raise gateway_error(401, "401013", "Oauth token is not valid")
        if not organisation:
            raise gateway_error(400, "400003", "Missing header")
        if not organisation.endswith("@AdobeOrg"):
            raise gateway_error(403, "403027", "User region is missing")
        if organisation != world.org:
            raise gateway_error(403, "403025", "Profile is not valid")
        if not journal:
            self.check_sandbox(headers.get("x-sandbox-name"))

    def check_sandbox(self, name):
        """Sandboxes isolate; what one gets for a name that nobody has is up to the world."""
        world = self.state.world
        if not name:
            raise gateway_error(400, "400003", "Missing header")
        status = world.options["wrong_sandbox"]
        if status == "empty" or name == world.sandbox or name in {
                dataset.sandbox for dataset in world.datasets.values()}:
            return
        title = {403: "ForbiddenError", 404: "NotFoundError"}[status]
        raise Refused(status, {"type": "/placeholder/type/uri", "status": status, "title": title,
                               "detail": f"sandbox {name} is not one of this organisation"})

    async def wait(self, request):
        """Latency, of the setting and of the faults."""
        pause = self.state.settings["delay_ms"]
        for name in ("delay", "ims_slow"):
            fault = self.hit(name, request)
            pause += fault.args["ms"] if fault else 0
        if pause:
            await asyncio.sleep(pause / 1000)

    async def fault_answer(self, request):
        """The answer of a fault that strikes in place of a service, or None."""
        hang = self.hit("hang", request)
        if hang:
            await asyncio.sleep(hang.args["seconds"])
            raise Refused(504, "Gateway Timeout")
        for name, make in ANSWERS.items():
            fault = self.hit(name, request)
            if fault:
                return make(fault.args).response()
        penalty = self.hit("penalty", request)
        return self.penalize(penalty.args, penalty.memory) if penalty else None

    def penalize(self, args, memory):
        """429 to the first request; those that come before its Retry-After is over make it
        longer. What was under way when it was answered (`grace_ms`) is forgiven."""
        now = time.monotonic()
        if not memory:
            memory |= {"at": now, "until": now + args["seconds"], "seconds": args["seconds"]}
        elif now >= memory["until"]:
            return None
        elif now > memory["at"] + args["grace_ms"] / 1000:
            self.state.counters.impatient += 1
            memory["seconds"] *= 2
            memory |= {"at": now, "until": now + memory["seconds"]}
        wait = str(math.ceil(memory["until"] - now))
        return gateway_error(429, "429050", "Too many requests", {"Retry-After": wait}).response()

    def hit(self, name, request):
        """The armed fault of this name, if it strikes this request."""
        return self.state.faults.hit(name, request["endpoint"], request["target"])


HTML = "<html><head><title>Maintenance</title></head><body>Come back later.</body></html>"

ANSWERS = {
    "auth_401_once": lambda args: gateway_error(401, "401013", "Oauth token is not valid"),
    "throttle_429_retry_after": lambda args: gateway_error(
        429, "429050", "Too many requests", {"Retry-After": str(args["seconds"])}),
    "throttle_429_bare": lambda args: gateway_error(429, "429050", "Too many requests"),
    "error_500": lambda args: Refused(500, {
        "type": "http://ns.adobe.com/aep/errors/CATALOG-500", "status": 500,
        "title": "InternalServerError", "detail": "unexpected failure"}),
    "error_503": lambda args: Refused(503, "Service Unavailable"),
    "html_200": lambda args: HtmlPage(200, HTML),
    "ims_down": lambda args: Refused(args["status"], "Service Unavailable"),
}


class HtmlPage(Refused):
    """A page of a proxy that answers for the service."""

    def response(self):
        return web.Response(status=self.status, text=self.body, content_type="text/html")
