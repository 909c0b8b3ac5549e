# SPDX-License-Identifier: Apache-2.0
"""The bench's table and the aims beside it. Says where we stand, also where we fall short."""
from lab import MIB
from peers import BUDGET_MIB, FLOOR, OURS, REREAD_BYTES

COLUMNS = [  # head, width, digits, how to get it from (measure, load, floor)
    ("wall s", 9, 2, lambda m, load, floor: m.wall),
    ("files/s", 8, 0, lambda m, load, floor: m.more["files_s"]),
    ("MiB/s", 7, 0, lambda m, load, floor: m.more["mib_s"]),
    ("CPU s", 7, 2, lambda m, load, floor: m.cpu),
    ("ms/file", 11, 3, lambda m, load, floor: m.cpu * 1000 / load.count()),
    ("x floor", 8, 2, lambda m, load, floor: m.cpu / floor.cpu if usable(floor) else None),
    ("RSS MiB", 8, 0, lambda m, load, floor: m.rss_mib),
    ("1st obj s", 10, 2, lambda m, load, floor: m.more["first"]),
    ("src/file", 9, 2, lambda m, load, floor: m.more["source_calls"]),
    ("S3/file", 8, 2, lambda m, load, floor: m.more["s3_calls"]),
    ("Redis s", 8, 2, lambda m, load, floor: m.more["redis_cpu"]),
]


def usable(measure):
    """A floor that was not run, or failed, is nothing to compare with."""
    return measure is not None and not measure.error


def print_table(results):
    """One row for each workload and peer. CPU is the client's, user and system."""
    heads = "".join(f"{head:>{width}}" for head, width, _, _ in COLUMNS)
    print(f"{'load':8}{'peer':9}{heads}")
    for load, row in results.items():
        if load.kill:
            continue
        for peer, measure in row.items():
            text = f"  {measure.error}"
            if not measure.error:
                text = cells(measure, load, row.get(FLOOR))
            print(f"{load.name:8}{peer:9}{text}")


def cells(measure, load, floor):
    """The figures of one row."""
    return "".join(cell(get(measure, load, floor), width, digits)
                   for _, width, digits, get in COLUMNS)


def cell(value, width, digits):
    """Right-aligned; a dash where a peer has no such figure."""
    return f"{'-':>{width}}" if value is None else f"{value:>{width},.{digits}f}"


def print_kills(results):
    """Bytes beyond one copy, counted where the source's and the client's kernels took them."""
    for load, row in results.items():
        for peer, measure in row.items() if load.kill else ():
            text = measure.error or (
                f"{measure.more['reread'] / MIB:,.0f} MiB read again, "
                f"{measure.more['resent'] / MIB:,.0f} MiB sent again, "
                f"of {load.size // MIB:,} MiB")
            print(f"{load.name:8}{peer:9}  {text}")


def cpu_ratio(ours, floor):
    return ours.cpu / floor.cpu


def speed_ratio(ours, floor):
    return ours.more["files_s"] / floor.more["files_s"]


def wall_ratio(ours, floor):
    return ours.wall / floor.wall


def source_calls(ours, _):
    return round(ours.more["source_calls"], 2)


def s3_data_calls(ours, _):
    return ours.more["s3_data_calls"]


def reread_mib(ours, _):
    return ours.more["reread"] / MIB


AIMS = [  # workload, what, how to get it, sign, aim, needs the floor
    ("A", "CPU, times the floor", cpu_ratio, "<=", 1.5, True),
    ("B", "CPU, times the floor", cpu_ratio, "<=", 1.2, True),
    ("C", "CPU, times the floor", cpu_ratio, "<=", 1.4, True),
    ("A-slow", "files/s, times the floor", speed_ratio, ">=", 0.8, True),
    ("C-cap", "wall, times a single stream", wall_ratio, "<=", 0.1, True),
    ("A", "source calls per file", source_calls, "<=", 2.05, False),
    ("A", "S3 calls per small file", s3_data_calls, "<=", 1.0, False),
    ("C-kill", "MiB read again", reread_mib, "<=", REREAD_BYTES / MIB, False),
]


def print_aim(name, what, value, sign, aim):
    """One line: where it stands."""
    met = value <= aim if sign == "<=" else value >= aim
    print(f"{name:8}{what:32}{value:>9.2f}   aim {sign} {aim:<8g}{'met' if met else 'SHORT'}")


def print_aims(results):
    """Only what was measured."""
    by_name = {load.name: row for load, row in results.items()}
    print("\naims for " + OURS)
    for name, what, get, sign, aim, needs_floor in AIMS:
        row = by_name.get(name, {})
        ours, floor = row.get(OURS), row.get(FLOOR)
        if not usable(ours) or (needs_floor and not usable(floor)):
            print(f"{name:8}{what:32}{'-':>9}   aim {sign} {aim:<8g}not measured")
            continue
        print_aim(name, what, get(ours, floor), sign, aim)
    peaks = [row[OURS].rss_mib for row in results.values() if usable(row.get(OURS))]
    if peaks:
        print_aim("all", "peak RSS, MiB", max(peaks), "<=", BUDGET_MIB)
