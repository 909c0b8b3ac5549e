# SPDX-License-Identifier: Apache-2.0
"""Named faults and when they strike.

A fault is armed with a script, as JSON or as text:

    name                                  as often as the table says
    name:nth=3                            the third matching request, once
    name:nth=3,times=5                    the third to the seventh
    name:p=0.1                            one request in ten, by a seeded generator
    name:times=4,endpoint=content         the first four reads of file contents
    name:match=part-00001                 only where the path and query contain this text
    name:seconds=2                        any other member is an argument of the fault

Several are separated by blanks. Endpoints: ims, batches, batch, batch_files, files, content,
head, and those of WIDER; several of them with | between.
"""
import random
from dataclasses import dataclass, field

LISTINGS = ("batches", "batch_files", "files")
WIDER = ("datasets", "dataset", "dataset_patch", "view_files", "dataset_files", "dataset_file",
         "last_batches", "xdm", "schemas", "schema", "preview", "failed", "meta", "create_batch",
         "batch_action", "upload", "upload_mark", "upload_chunk", "upload_head", "journal")
PLATFORM = ("batches", "batch", "batch_files", "files", "content", "head", *WIDER)
ENDPOINTS = ("ims",) + PLATFORM
CONTENT = ("content",)
JOURNAL = ("journal",)
JSON = ("batches", "batch", "batch_files", "files")
ALWAYS = 0


@dataclass(frozen=True)
class Row:
    """What a fault is: where it applies, how often by default, its arguments."""
    endpoints: tuple
    times: int
    args: dict
    help: str


TABLE = {
    # Instead of an answer.
    "auth_401_once": Row(PLATFORM, 1, {}, "401013 although the token is valid"),
    "throttle_429_retry_after": Row(PLATFORM, 1, {"seconds": 1}, "429 with Retry-After"),
    "throttle_429_bare": Row(PLATFORM, 1, {}, "429 without Retry-After"),
    "penalty": Row(PLATFORM, ALWAYS, {"seconds": 2, "grace_ms": 500},
                   "429 with Retry-After, longer for whoever does not wait"),
    "error_500": Row(PLATFORM, 1, {}, "500, problem body"),
    "error_503": Row(PLATFORM, 1, {}, "503, plain text"),
    "html_200": Row(PLATFORM, 1, {}, "an HTML page with status 200"),
    "hang": Row(PLATFORM, 1, {"seconds": 3600}, "no answer"),
    "ims_down": Row(("ims",), ALWAYS, {"status": 503}, "the token service fails"),
    # Before an answer.
    "delay": Row(PLATFORM, ALWAYS, {"ms": 200}, "each call takes longer"),
    "ims_slow": Row(("ims",), ALWAYS, {"ms": 2000}, "the token service is slow"),
    # Tokens.
    "expired_token": Row(("ims",), ALWAYS, {"seconds": 1, "says": 0},
                         "tokens die after `seconds`; expires_in claims `says` (0 = truth)"),
    # Listings.
    "short_pages": Row(LISTINGS, ALWAYS, {"rows": 7}, "short pages before the end"),
    "duplicate_rows": Row(LISTINGS, ALWAYS, {"rows": 5},
                          "the last row of a page opens the next, up to `rows` times in a walk"),
    "unstable_order": Row(LISTINGS, ALWAYS, {}, "rows that tie in the sort order move"),
    "list_empty_then_full": Row(("batch_files",), ALWAYS, {"calls": 1},
                                "the first `calls` listings of each object are empty"),
    "late_success": Row(("batches",), 1, {"ms": 1000},
                        "the readable batches of the answer are not readable yet"),
    "new_batches_while_paging": Row(("batches",), 3, {"files": 1, "size": 1000, "created": 0},
                                    "a batch appears after each page (created now, or so)"),
    "many_files": Row(("batches",), 1, {"files": 250, "directories": 120, "size": 100},
                      "a batch with more files and dataset files than a page holds appears"),
    "late_listing": Row(("batches",), ALWAYS, {"ms": 60_000, "percent": 100},
                        "lists show a batch only some time after it came, GET by id at once"),
    "late_by_id": Row(("batch",), ALWAYS, {"ms": 60_000, "percent": 100},
                      "GET by id finds a batch only some time after it came, lists at once"),
    "updated_bumps": Row(("batches",), 3, {}, "the readable batches of the answer get tags"),
    "status_flap": Row(("batches", "batch"), 1, {}, "a stale replica: readable is staging"),
    "unknown_status": Row(("batches", "batch"), 3, {}, "what is not readable has a new status"),
    "files_partial": Row(("batch_files", "files"), ALWAYS, {"calls": 1},
                         "the first `calls` listings of each object show half of the rows"),
    "empty_page": Row(LISTINGS, 1, {}, "a page behind the first is empty, though there is more"),
    "sub_batch_404": Row(("batch_files",), ALWAYS, {}, "the files of sub-batches: 404, not []"),
    "listing_length": Row(("files",), 1, {"bytes": 5}, "files are listed with another length"),
    "head_length": Row(("head",), ALWAYS, {"bytes": 5}, "HEAD tells another length"),
    # The world changes under the call.
    "compaction": Row(("files", "content"), 1, {"how": "compact"},
                      "the batch's files are merged (how=rename: renamed); the old ones are 404"),
    "consolidation": Row(PLATFORM, 1, {"batches": 3, "after_ms": 0},
                         "the oldest `batches` become one, inactive `after_ms` later"),
    "replacement": Row(PLATFORM, 1, {"batches": 1, "reason": "replace", "listing": "IMMEDIATE"},
                       "the oldest `batches` are replaced by one with other rows"),
    "reverted": Row(("batch_files", "files", "content"), 1,
                    {"deleted_ms": 60_000, "merged": 1},
                    "the batch (merged=0: no consolidation) is inactive, later deleted"),
    "dataset_deleted": Row(PLATFORM, 1, {}, "the dataset and its batches are gone"),
    "row_expiry": Row(("files", "content"), 1, {}, "every second file of the batch vanishes"),
    "odd_batches": Row(("batches",), 1, {},
                       "batches appear: empty, marker only, empty part, odd names, sub-batch"),
    "huge_file": Row(("batches",), 1, {"size": 5 << 30}, "a batch with a file > 4 GiB appears"),
    # Throttling and refusals.
    "retry_after_date": Row(PLATFORM, 1, {"seconds": 1}, "429, Retry-After as an HTTP date"),
    "retry_after_odd": Row(PLATFORM, 1, {"values": "0|-5|86400|soon"},
                           "429, Retry-After with these values in turn"),
    "growing_penalty": Row(PLATFORM, ALWAYS, {"every": 50, "seconds": 1, "grace_ms": 500},
                           "429 every so many calls; calling before it is over doubles it"),
    "crowd_500": Row(PLATFORM, ALWAYS, {"running": 8}, "500 while more than so many calls run"),
    "storm_503": Row(PLATFORM, ALWAYS, {"ms": 1000}, "503 for everybody, for a while"),
    "endpoint_bucket": Row(PLATFORM, ALWAYS, {"per_second": 50, "burst": 20},
                           "429 when calls of one endpoint come too fast"),
    "sandbox_bucket": Row(PLATFORM, ALWAYS, {"per_second": 50, "burst": 20},
                          "429 when calls for one sandbox come too fast"),
    "permission_lost": Row(PLATFORM, 1, {}, "403025: the permission was taken away"),
    "error_bodies": Row(ENDPOINTS, 10, {"status": 503}, "errors in all shapes, in turn"),
    # Connections and proxies.
    "redirect": Row(ENDPOINTS, 1, {"to": "http://127.0.0.1:9", "status": 307},
                    "to another host, which must not see the token"),
    "gateway_timeout": Row(PLATFORM, 1, {"seconds": 60}, "504 after a long silence"),
    "slow_header": Row(ENDPOINTS, 1, {"seconds": 70}, "a header that does not end"),
    "closed_at_idle": Row(ENDPOINTS, 1, {"ms": 0}, "the connection closes after the answer"),
    "skewed_date": Row(ENDPOINTS, ALWAYS, {"seconds": 90}, "the Date header is wrong"),
    # Shapes.
    "extra_fields": Row(JSON, ALWAYS, {}, "members that nobody knows"),
    "null_fields": Row(JSON, ALWAYS, {}, "null instead of absent"),
    "missing_fields": Row(JSON, ALWAYS, {}, "all that may be absent is"),
    "numbers_as_text": Row(JSON, ALWAYS, {}, "numbers as text and the reverse"),
    "truncated_json": Row(JSON, 1, {}, "half a document"),
    "gzip_json": Row(JSON, 1, {}, "gzip although nobody asked"),
    "json_as_text": Row(JSON, ALWAYS, {}, "JSON labelled as plain text"),
    # Events of the journal; `match` selects batch ids.
    "journal_missing": Row(JOURNAL, ALWAYS, {}, "the event never comes"),
    "journal_duplicate": Row(JOURNAL, ALWAYS, {}, "the event comes twice"),
    "journal_unordered": Row(JOURNAL, 1, {}, "the event comes after the next one"),
    # Contents.
    "truncated_body": Row(CONTENT, 1, {}, "closed before Content-Length"),
    "reset_mid_body": Row(CONTENT, 1, {}, "connection reset halfway"),
    "full_200_to_range": Row(CONTENT, 1, {}, "200 and the whole file for a range"),
    "shifted_content_range": Row(CONTENT, 1, {"bytes": 1000}, "the range begins later"),
    "short_range": Row(CONTENT, 1, {}, "half of the range"),
    "total_changes": Row(CONTENT, 1, {"bytes": 1}, "Content-Range says another total"),
    "chunked_body": Row(CONTENT, 1, {}, "chunked, without length"),
    "no_content_range": Row(CONTENT, 1, {}, "206 that does not say which range"),
    "gzip_body": Row(CONTENT, 1, {}, "gzip although nobody asked"),
    "wrong_content_type": Row(CONTENT, ALWAYS, {}, "text/html, but the right bytes"),
    "bit_flip": Row(CONTENT, 1, {"at": -1},
                    "one bit is wrong, in the byte at this offset (counts answers that have it)"),
    "stall": Row(CONTENT, 1, {"seconds": 70}, "no bytes for a while, halfway"),
    "cut_off": Row(CONTENT, ALWAYS, {"seconds": 60}, "answers end after this time"),
    "slow": Row(CONTENT, ALWAYS, {"bytes_per_second": 1 << 20}, "throughput of one connection"),
}


@dataclass
class Fault:
    """An armed fault."""
    name: str
    endpoints: tuple
    args: dict
    nth: int = 1
    times: int = 1
    probability: float = 1.0
    match: str = ""
    seed: int = 1
    seen: int = 0
    struck: int = 0
    memory: dict = field(default_factory=dict)  # what a fault keeps from call to call

    def __post_init__(self):
        self.random = random.Random(f"{self.seed} {self.name}")

    def strikes(self, endpoint, target):
        """Counts a request; does the fault hit it?"""
        if endpoint not in self.endpoints or self.match not in target:
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times and self.struck >= self.times):
            return False
        if self.random.random() >= self.probability:
            return False
        self.struck += 1
        return True


def fault_from(spec):
    """A Fault from its JSON form; ValueError says what is wrong with it."""
    spec = dict(spec)
    name = spec.pop("name", None)
    row = TABLE.get(name)
    if row is None:
        raise ValueError(f"no fault {name!r}; there are {', '.join(TABLE)}")
    endpoints = spec.pop("endpoint", None)
    endpoints = tuple(endpoints.split("|")) if endpoints else row.endpoints
    script = {key: spec.pop(key) for key in ("nth", "times", "match", "seed") if key in spec}
    probability = float(spec.pop("p", 1))
    script.setdefault("times", ALWAYS if probability < 1 else row.times)
    unknown = set(spec) - set(row.args) | set(endpoints) - set(ENDPOINTS)
    if unknown:
        raise ValueError(f"fault {name}: unknown {', '.join(sorted(unknown))}")
    return Fault(name, endpoints, row.args | spec, probability=probability, **script)


def faults_from_text(text):
    """The JSON forms of `name:key=value,key=value name ...`."""
    specs = []
    for word in text.split():
        name, _, rest = word.partition(":")
        spec = {"name": name}
        for pair in filter(None, rest.split(",")):
            key, _, value = pair.partition("=")
            spec[key] = number_or_text(value)
        specs.append(spec)
    return specs


def number_or_text(text):
    """`text` as a number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


class Faults:
    """All armed faults."""

    def __init__(self, seed=1):
        self.seed = seed
        self.armed = []

    def arm(self, spec):
        """Arms one fault, in addition to those that are."""
        self.armed.append(fault_from({"seed": self.seed} | spec))

    def disarm(self, name=None):
        """Ends the faults of this name, or all."""
        self.armed = [fault for fault in self.armed if name not in (None, fault.name)]

    def named(self, name, endpoint):
        """The armed faults of this name that apply to this endpoint; they decide themselves
        what they strike."""
        return [fault for fault in self.armed
                if fault.name == name and endpoint in fault.endpoints]

    def hit(self, name, endpoint, target):
        """The armed fault of this name that strikes this request, or None."""
        for fault in self.armed:
            if fault.name == name and fault.strikes(endpoint, target):
                return fault
        return None

    def report(self):
        """How often each armed fault struck."""
        total = {}
        for fault in self.armed:
            total[fault.name] = total.get(fault.name, 0) + fault.struck
        return total
