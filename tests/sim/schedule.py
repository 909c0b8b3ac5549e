# SPDX-License-Identifier: Apache-2.0
"""A random week of a tenant: hundreds of batches in one or two datasets, with everything that
becomes of batches and with faults of all kinds, the same for the same seed."""
import random

import ground
from content import PARQUET_MIN
from faults import TABLE, faults_from_text
from ground import ODD_NAMES, World, part_name
from lineage import PATHS, life

SEMANTICS = ("incremental", "snapshot-latest", "snapshot-versions")
ORDERS = ("concurrent", "commit", "sequential")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
BEGIN_MS = 1_709_251_200_000  # 2024-03-01T00:00:00Z
GRACE_MS = 2 * DAY  # after the last event, until all lives have come to their end
FAULTS_MIN, FAULTS_MAX = 8, 16

# What may strike, and how: a schedule takes some of them. Those that slow a service down for a
# second (answers that look like throttling) strike once or twice, others as often as they like.
SCRIPTS = (
    "short_pages:rows=7", "duplicate_rows", "unstable_order",
    "empty_page:times=5,p=0.2", "list_empty_then_full", "files_partial",
    "listing_length:p=0.03,times=30", "late_by_id:ms=900000,percent=20",
    "new_batches_while_paging:times=9,p=0.2",
    "many_files:files=130,directories=4,size=40", "many_files:files=3,directories=110,size=20",
    "late_listing:ms=400000,percent=20", "late_listing:ms=20000000,percent=5",
    "updated_bumps:p=0.2,times=40",
    "status_flap:p=0.05,times=60", "unknown_status:p=0.3,times=40",
    "sub_batch_404", "late_success:ms=40000000,p=0.05,times=9",
    "compaction:p=0.02,times=20", "compaction:p=0.02,times=20,how=rename",
    "consolidation:p=0.01,times=6", "consolidation:p=0.01,times=6,batches=9,after_ms=7200000",
    "replacement:p=0.01,times=4", "replacement:p=0.01,times=4,listing=ALL,batches=2",
    "reverted:p=0.01,times=6", "row_expiry:p=0.01,times=5", "odd_batches:p=0.05,times=3",
    "auth_401_once:p=0.02,times=5", "expired_token:seconds=1", "expired_token:seconds=1,says=9000",
    "throttle_429_bare:times=2,p=0.05", "throttle_429_retry_after:seconds=1,p=0.02",
    "retry_after_date:seconds=1,p=0.02,times=1", "retry_after_odd:values=0|-5|soon,times=2,p=0.02",
    "growing_penalty:every=900", "storm_503:ms=60,p=0.01",
    "endpoint_bucket:per_second=900,burst=200",
    "permission_lost:p=0.01,times=3", "error_bodies:p=0.01,status=404,times=5,endpoint=content",
    "error_bodies:p=0.003,status=500,times=2", "error_503:times=1", "error_500:times=1",
    "hang:seconds=0,times=1,p=0.02", "html_200:p=0.02,times=9", "redirect:p=0.01,times=5",
    "closed_at_idle:p=0.1,times=50", "skewed_date:seconds=45", "skewed_date:seconds=-45",
    "extra_fields", "null_fields:p=0.3", "missing_fields:p=0.3", "numbers_as_text:p=0.5",
    "truncated_json:p=0.02,times=9", "gzip_json:p=0.02,times=9", "json_as_text",
    "truncated_body:p=0.03,times=9", "reset_mid_body:p=0.03,times=9",
    "full_200_to_range:p=0.1,times=30", "shifted_content_range:bytes=100,p=0.03,times=9",
    "short_range:p=0.1,times=30", "total_changes:p=0.02,times=5", "chunked_body:p=0.1,times=50",
    "no_content_range:p=0.03,times=9", "gzip_body:p=0.02,times=9", "wrong_content_type:times=3",
    "stall:seconds=0.3,p=0.02,times=3", "ims_down:times=1", "ims_slow:ms=100,times=3",
)
SETTINGS = {"reconcile_window": "60d"}  # of the daemon's aep section
NO_SNAPSHOTS = ("consolidation", "odd_batches")  # make batches that are no whole tables

NO_ARRAYS = ("short_pages", "empty_page")  # look like the end where there are no links


class Schedule:
    """`advance` is called before each step of the clock. Faults end with the schedule."""

    disarms = True

    def __init__(self, seed):
        self.seed, self.chance = seed, random.Random(f"schedule {seed}")
        chance = self.chance
        self.world = World(seed)
        self.world.options |= {"shape": chance.choice(("rows", "array")),
                               "length": chance.choice(("text", "number")),
                               "marker": chance.choice(("offset", "name"))}
        if self.world.options["shape"] == "rows":  # bare arrays cannot say that there is more
            self.world.options["page_max"] = chance.choice((11, 50, 100, 100))
        self.modes = {}
        self.add_dataset(SEMANTICS[seed % 3], ORDERS[seed // 3 % 3])
        if chance.random() < 0.5:
            self.add_dataset(chance.choice(SEMANTICS), chance.choice(ORDERS))
        self.steps = chance.randint(200, 320)
        self.step_ms = chance.randint(1, 7) * DAY // self.steps
        self.total = chance.randint(500, 620)
        self.made = self.step = 0
        self.faults = self.choose_faults()
        self.deadly = [chance.randint(50, 5000) for _ in range(chance.choice((0, 1, 1, 2, 4)))]
        self.settings = SETTINGS

    def add_dataset(self, semantics, order):
        """One more, with the mode in which it is extracted."""
        self.modes[self.world.dataset().id] = (semantics, order)

    def choose_faults(self):
        """[(step, specification)]; the same script never twice."""
        chance = self.chance
        snapshots = any(map(self.snapshots, self.world.datasets.values()))
        arrays = self.world.options["shape"] == "array"
        scripts = [text for text in SCRIPTS if not (snapshots and text.startswith(NO_SNAPSHOTS)
                                                    or arrays and text.startswith(NO_ARRAYS))]
        chosen = chance.sample(scripts, chance.randint(FAULTS_MIN, FAULTS_MAX))
        if any(text.startswith("skewed_date") for text in chosen):  # they tell different times
            chosen = [text for text in chosen if not text.startswith("retry_after_date")]
        found = []
        for text in chosen:
            spec, = faults_from_text(text)
            slows = TABLE[spec["name"]].times and spec.get("p", 1) == 1
            nth = {"nth": chance.randint(1, 40)} if slows else {}
            found.append((chance.randint(0, self.steps // 2),
                          nth | spec | {"seed": chance.randint(1, 10**6)}))
        return found

    @property
    def over(self):
        """Nothing more is going to happen, but that lives go on."""
        return self.step >= self.steps

    def advance(self, arm):
        """What happens in this step; `arm` takes the faults that begin now."""
        for step, spec in self.faults:
            if step == self.step:
                arm(spec)
        self.step += 1
        while self.made * self.steps < self.total * self.step:
            self.made += 1
            self.new_batch(self.pick_dataset())
        for event, probability in EVENTS:
            if self.chance.random() < probability:
                event(self, self.pick_dataset())

    def pick_dataset(self):
        """Any of them."""
        return self.chance.choice(list(self.world.datasets.values()))

    def snapshots(self, data):
        """Are its batches whole tables?"""
        return self.modes[data.id][0] != "incremental"

    # ---- batches

    def new_batch(self, data):
        """A batch of any form, in any state."""
        chance, now = self.chance, ground.now_ms()
        batches = self.world.of_dataset(data.id)
        created = now - chance.choice((0, 0, 0, 0, chance.randint(0, 10 * MINUTE)))
        if batches and chance.random() < 0.1:
            created = batches[-1].created
        path = chance.choice(list(PATHS)) if chance.random() < 0.2 else "straight"
        pace = chance.choice((MINUTE, 10 * MINUTE, HOUR)) if path != "straight" or \
            chance.random() < 0.1 else 0
        batch = data.batch(directories=self.directories(data), created=created,
                           form=chance.choice(("ulid", "ulid", "hex", "uuid")),
                           nested=chance.random() < 0.05, life=life(path, pace),
                           failed_records=chance.choice((0,) * 20 + (3,)))
        if chance.random() < 0.04:
            self.world.datasets[data.id].sub_batch(batch)

    def directories(self, data):
        """Files of 0 to 4 KB; now and then none, markers, odd names."""
        chance = self.chance
        if chance.random() < 0.06 and not self.snapshots(data):
            return chance.choice(([], [[("_SUCCESS", 0)]], [[0, 90]]))
        names = [None] * 4 + chance.sample(ODD_NAMES, 2) * (chance.random() < 0.1)
        rows = []
        for _ in range(chance.choice((1, 1, 1, 1, 2, 3))):
            files = {}
            for number in range(chance.choice((1, 1, 1, 2, 3))):
                size = chance.choice((0, 1, 70, 900, chance.randint(1, 4096)))
                name = chance.choice(names) if size >= PARQUET_MIN else None
                files[name or part_name(f"part-{number}", size)] = size
            rows.append(list(files.items()))
        return rows

    # ---- what becomes of them

    def readable(self, data, count=1):
        """Some readable ones in a row that nothing has been decided about; maybe fewer."""
        free = sorted((batch for batch in self.world.of_dataset(data.id)
                       if batch.free() and batch.held()), key=lambda b: b.created)
        if not free:
            return []
        at = self.chance.choice((0, len(free) - count, self.chance.randrange(len(free))))
        return free[max(at, 0):max(at, 0) + count]

    def age(self):
        """How long the platform takes for something."""
        return self.chance.choice((0, 0, MINUTE, HOUR, 5 * HOUR))

    def successor(self):
        """created and life of a batch that takes the place of others."""
        pace = self.chance.choice((0, 0, MINUTE, 20 * MINUTE))
        return {"created": ground.now_ms(), "life": life("straight", pace)}

    def collect(self, batches):
        """The bytes of inactive ones are deleted some time later, or never."""
        for batch in batches:
            if self.chance.random() < 0.5:
                after, word = batch.life[-1]
                batch.life.append([after + self.chance.randint(1, 30) * HOUR, "deleted"])
                assert word == "inactive"

    def rewrite(self, data):
        """Compaction or renaming."""
        for batch in self.readable(data):
            batch.compact() if self.chance.random() < 0.5 else batch.rename_files()

    def touch(self, data):
        """Tags."""
        for batch in self.readable(data, self.chance.randint(1, 20)):
            batch.touch(flowId=[str(self.step)])

    def revert(self, data):
        """Taken back."""
        for batch in self.readable(data):
            self.world.revert(batch, self.chance.randint(1, 30) * HOUR)

    def expire(self, data):
        """Old rows go."""
        for batch in self.readable(data):
            batch.expire()

    def consolidate(self, data):
        """Small ones become one."""
        batches = self.readable(data, self.chance.randint(1, 6))
        if batches and not self.snapshots(data):
            self.world.consolidate(batches, into=self.chance.randint(1, 3), after_ms=self.age(),
                                   **self.successor())
            self.collect(batches)

    def replace(self, data):
        """Others come in their place."""
        batches = self.readable(data, self.chance.randint(1, 3))
        if batches:
            self.world.replace(
                batches, [self.chance.randint(1, 3000) for _ in range(self.chance.randint(1, 3))],
                reason=self.chance.choice(("replace", "Replacing for 2024-03-02")),
                listing=self.chance.choice(("IMMEDIATE", "IMMEDIATE", "ALL")),
                external=self.chance.random() < 0.2, after_ms=self.age(), **self.successor())
            self.collect(batches)

    def replace_open(self, data):
        """One is replaced before anybody could read it."""
        opened = [batch for batch in self.world.of_dataset(data.id) if not batch.successor
                  and batch.current()[0] in ("loading", "loaded", "processing", "staging")]
        if opened:
            self.world.replace([self.chance.choice(opened)], [500], **self.successor())


EVENTS = ((Schedule.rewrite, 0.08), (Schedule.touch, 0.1), (Schedule.revert, 0.03),
          (Schedule.expire, 0.02), (Schedule.consolidate, 0.06), (Schedule.replace, 0.03),
          (Schedule.replace_open, 0.02))
