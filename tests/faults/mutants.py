# SPDX-License-Identifier: Apache-2.0
"""Broken programs, each in one place: does the judge find out?

A row is a name, a file, a piece of text that occurs once in it, what replaces it. Each mutant is
built from a copy of the tree and put through a part of the campaign, until the first violation.
What only shows where the campaign does not strike (an object of somebody else's, an index that
an operator deleted) has a flow test of its own, which the row names and which then is asked
first. A row may say that it survives, and why: then another layer covers what it breaks.
"""
import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUEUE, STEPS, COMMIT = "lib/queue/queue.lua", "daemon/file_steps.c", "daemon/commit.c"
AT_ONCE = 2
PATIENCE_S = 1800  # for one stage
STAGES = (["--seed", "5", "single", "--sample", "150"], ["--seed", "900", "random", "150"],
          ["--seed", "7", "--scenario", "lived", "single", "--sample", "100"],
          ["--seed", "6", "single", "--sample", "700"], ["--seed", "2000", "random", "500"],
          ["rollback"])

Mutant = collections.namedtuple("Mutant", "name file old new test survives", defaults=("", ""))

TABLE = [
    # ---- leases and fences
    Mutant("no-owner-no-fence", QUEUE,
           "task.status == 'in-progress' and task.owner == owner and task.fence == fence",
           "task.status == 'in-progress'"),
    Mutant("no-status", QUEUE,
           "task.status == 'in-progress' and task.owner == owner and task.fence == fence",
           "true"),
    Mutant("fence-only", QUEUE,
           "task.status == 'in-progress' and task.owner == owner and task.fence == fence",
           "task.status == 'in-progress' and task.fence == fence",
           test="test_queue_library.py::test_stale_writes_are_fenced_and_write_nothing"),
    Mutant("owner-only", QUEUE,
           "task.status == 'in-progress' and task.owner == owner and task.fence == fence",
           "task.status == 'in-progress' and task.owner == owner"),
    Mutant("fence-stands-still", QUEUE, "local fence = math.max((tonumber(task.fence) or 0) + 1, time[1] * 1000000 + time[2])",
           "local fence = 1", test="test_queue_library.py::test_a_fence_is_never_given_twice"),
    Mutant("claimed-stays-ready", QUEUE,
           "call('ZREM', ready_key(task), task.id)\n  call('HINCRBY', task.key, 'attempts', 1)",
           "call('HINCRBY', task.key, 'attempts', 1)",
           test="test_queue_library.py::test_a_claimed_task_is_in_one_index"),
    Mutant("claim-without-lease", QUEUE,
           "call('ZADD', lease_key(task), NOW + lease_ms, task.id)\n  note", "note"),
    Mutant("fence-repeats-after-rollback", QUEUE, "time[1] * 1000000 + time[2])", "0)",
           test="test_queue_library.py::test_a_fence_is_never_given_twice"),
    Mutant("lapsed-not-ready", QUEUE,
           "set(task, { status = 'pending', owner = '' })\n  enqueue(task)\n  note(task.id, 'lease-lost')",
           "set(task, { status = 'pending', owner = '' })\n  note(task.id, 'lease-lost')"),
    Mutant("due-not-ready", QUEUE,
           "if task and task.status == 'pending' then\n      enqueue(task)",
           "if task and task.status == 'pending' then\n      set(task, {})"),
    Mutant("released-not-ready", QUEUE, "  else\n    enqueue(task)\n  end\nend\n\nlocal function fail",
           "  end\nend\n\nlocal function fail"),
    Mutant("done-keeps-lease", QUEUE,
           "call('ZREM', lease_key(task), task.id)\n  set_fields(task, fields)\n  if task.kind == 'batch'",
           "set_fields(task, fields)\n  if task.kind == 'batch'"),
    # ---- listing
    Mutant("cursor-not-compared", QUEUE, "if task.offset ~= previous then", "if false then",
           test="test_queue_library.py::test_fan_compares_the_cursor"),
    Mutant("cursor-stays", QUEUE, "set(task, { offset = cursor, lost = 0 })",
           "set(task, { lost = 0 })"),
    Mutant("fan-not-repeatable", QUEUE, "if is_repeated_fan(task, owner, fence, cursor, sealed) then",
           "if false then",
           test="test_queue_library.py::"
                "test_sealed_fan_repeated_is_recognised_by_its_holder_only"),
    Mutant("fan-in-before-sealed", QUEUE, "if not task or task.phase ~= 'wait' then",
           "if not task or task.phase == 'end' or task.phase == 'fin' or task.kind == 'tail' then"),
    Mutant("parent-not-told", QUEUE, "  leave_parents(task)\n  return note(task.id, 'completed', task.owner)",
           "  return note(task.id, 'completed', task.owner)"),
    Mutant("waits-for-the-completed", QUEUE, "if stays_ended(task) then", "if false then",
           test="test_queue_library.py::test_submit_says_have_and_revived"),
    Mutant("dead-child-not-noted", QUEUE, "call('SADD', P .. 'dead:' .. id, task.id)\n    settle(load(id))",
           "settle(load(id))",
           test="test_queue_library.py::"
                "test_dead_files_fail_the_batch_once_nothing_else_is_open"),
    Mutant("row-not-kept", QUEUE, "call('HSET', P .. 'rows:' .. task.parent, task.id, row)", ""),
    Mutant("rows-not-counted", QUEUE, "if lacks_rows(task) then\n    relist(task)\n    return\n  end", "",
           test="test_queue_library.py::test_a_batch_without_the_rows_of_its_files_is_listed_again"),
    Mutant("gate-open-at-once", QUEUE, "return task.phase == GATED_PHASE[order_mode(task.dataset)]",
           "return false"),
    Mutant("gate-ignores-unlisted", QUEUE,
           "if not head[1] or lowest[1] and tonumber(head[2]) >= tonumber(lowest[2]) then",
           "if not head[1] then"),
    Mutant("gate-not-reopened", QUEUE,
           "call('ZADD', P .. 'done', NOW, task.id)\n    open_gate(task.dataset)",
           "call('ZADD', P .. 'done', NOW, task.id)"),
    Mutant("done-not-repeatable", QUEUE,
           "known.status == 'completed' and known.owner == a[2]", "known.status == 'never'",
           test="test_queue_library.py::test_done_repeated_answers_ok_to_the_same_lease_only"),
    # ---- the daemon
    Mutant("done-before-complete", STEPS, "    if (file->parts.count > 1)\n        return FILE_ENDS;",
           "    if (file->parts.count > 1) {\n        file->crc32c = parts_crc32c(&file->parts);\n"
           "        return file->fault.code ? FILE_LOOK : FILE_REPORT;\n    }"),
    Mutant("complete-not-doubted", STEPS,
           "return err && !resume_doubts(err) ? FILE_COMPLETE : doubt(file);",
           "(void)err;\n    file->fault.code = OK;\n    return FILE_REPORT;"),
    Mutant("upload-id-not-kept", STEPS, "    return FILE_KEEP;\n", "    return FILE_STREAM;\n"),
    Mutant("fault-of-keep-ignored", STEPS, "file->fault = file->keep.fault;\n    return FILE_STREAM;",
           "return FILE_STREAM;",
           survives="the task is fenced at its next write anyway"),
    Mutant("manifest-not-compared", COMMIT,
           "if (!fault.code && !same)", "if (!fault.code && false && !same)",
           test="test_recovery_s3.py::test_another_manifest_in_the_way"),
    Mutant("manifest-fault-ignored", COMMIT,
           "    else if (upload->call.fault.code)\n        task_fail(&commit->task, &upload->call.fault);\n    else\n        complete(commit);",
           "    else\n        complete(commit);"),
    Mutant("manifest-written-over", COMMIT, ".create_only = true },", ".create_only = false },"),
    Mutant("object-written-over", "daemon/transfer.c", ".create_only = whole,", ".create_only = false,"),
    Mutant("empty-list-at-loss", "lib/queue/queue.c",
           "queue->why = *fault; /* what is asked until we know more fails with it */", ""),
    Mutant("watermark-first", "daemon/tail.c", "fan(tail, tail->reached, &found, on_page_queued);",
           "found.count -= found.count > 0; fan(tail, tail->reached, &found, on_page_queued);"),
    Mutant("first-page-only", "daemon/walk.c", "    if (walk->count)\n        walk->page(walk);",
           "    if (walk->pages == 1)\n        walk->at = walk->to;\n    if (walk->count)\n        walk->page(walk);"),
    Mutant("ties-skipped", "daemon/walk.c", "        remember_edge(walk, last);\n        walk->offset = walk->quiet = 0;\n        walk->fresh = false;",
           "        walk->at = last + 1;"),
    Mutant("untried-needs-no-look", "daemon/file.c",
           "queue_task_int(lease, \"created_at\", 0) < file->task.core->watched_since", "false"),
    Mutant("skip-not-in-the-cursor", COMMIT, "if (why) {", "if (false && why) {"),
    Mutant("claims-not-counted", "lib/queue/queue_verbs.c",
           "    op->task = mem_alloc_array(count, sizeof *op->task);\n    queue_run_seq(run, redis_reply_at(reply, 0));",
           "    op->task = mem_alloc_array(count, sizeof *op->task);",
           survives="the tick after it notices"),
    Mutant("ledger-not-read-at-start", "daemon/enroll.c", "|| !enroll->complete ? JOBS", "? JOBS"),
    Mutant("jobs-not-written-down", "daemon/enroll.c", "if (!enroll->op.found)\n        return ORDER;", ""),
    Mutant("keep-skipped-by-sigterm", "daemon/file.c", "return clears(file) || file->state == FILE_KEEP;",
           "return clears(file);"),
    Mutant("open-batch-skipped", "daemon/batch.c",
           "        look_again(batch, info->state, info->status);", "        skip(batch, \"failed\");"),
    # ---- what becomes of stored batches
    Mutant("rows-below-not-revoked", "daemon/revoke.c",
           "revoke->last = revoke->at >= revoke->count;", "revoke->last = true;"),
    Mutant("unclear-not-looked-at-again", "daemon/withdrawn.c",
           "if (again && row->updated < withdrawn->oldest)",
           "if (again && row->updated < 0)",
           test="test_lineage.py::test_a_successor_that_fails_late"),
    Mutant("swept-although-failed", "daemon/tail.c", "    } else if (fault->code) {\n        metrics->sweeps_failed++;",
           "    } else if (fault->code && false) {\n        metrics->sweeps_failed++;"),
    Mutant("replaced-not-named", "daemon/lineage.c",
           "lineage->replaces = list_of(lineage, false);", "lineage->replaces = NULL;"),
    Mutant("replay-among-the-first", "lib/s3/key.c",
           "        if (replay)\n            buf_print(&key, GENERATION",
           "        if (replay && false)\n            buf_print(&key, GENERATION"),
]


def needless(directory, names):
    """What a copy of the tree does without: of what was built, all but the plain objects."""
    built = pathlib.Path(directory) == ROOT / "build"
    return set(names) - {"plain", "deps"} if built else {".git", "__pycache__"} & set(names)


def build(mutant, directory):
    """A broken program, or None if the text is not there once or does not compile."""
    tree = pathlib.Path(directory) / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=needless)
    file = tree / mutant.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        return None, f"the text occurs {text.count(mutant.old)} times in {mutant.file}"
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    made = subprocess.run(["make", "-s", "-C", tree, "all", "WARN="], capture_output=True,
                          text=True, check=False)
    return (tree / "build/plain/sluiced", "") if made.returncode == 0 else (None, made.stderr)


def hunt(mutant):
    """(mutant, "killed" | "survived" | "broken", what told)"""
    with tempfile.TemporaryDirectory(prefix="sluice-mutant-") as directory:
        binary, trouble = build(mutant, directory)
        if not binary:
            return mutant, "broken", trouble[-300:]
        if mutant.test and flow_test_fails(mutant, binary):
            return mutant, "killed", mutant.test
        for stage in STAGES:
            ended = ask(binary, ROOT / "tests/faults/run", "--stop", "--labs", "5", *stage)
            if not ended:
                return mutant, "killed", f"{' '.join(stage)} does not come to an end"
            if ended.returncode:
                told = re.search(r"^VIOLATION in (.*)\n(.*)", ended.stdout, re.M)
                return mutant, "killed", " | ".join(told.groups()) if told else ended.stderr[-300:]
        return mutant, "survived", mutant.survives


def ask(binary, *words):
    """Runs a Python program against a broken sluiced; None if that takes for ever."""
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, start_new_session=True, env={
                              "SLUICED": str(binary), "PATH": "/usr/bin:/bin:/usr/sbin"}) as asked:
        try:
            out, err = asked.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(asked.pid, signal.SIGKILL)
            return None
    return subprocess.CompletedProcess(words, asked.returncode, out, err)


def flow_test_fails(mutant, binary):
    """Does the test that the row names find it out? The tests of the copied tree are run: they
    see the broken library, too. Exit status 1 is a test that failed, and nothing else."""
    tests = binary.parents[2] / "tests/flow"
    ended = ask(binary, "-m", "pytest", "-q", "-x", tests / mutant.test)
    return ended and ended.returncode == 1


def main(names):
    """All mutants, or those of these names; prints a table."""
    rows = [mutant for mutant in TABLE if not names or mutant.name in names]
    count = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for done in concurrent.futures.as_completed([pool.submit(hunt, row) for row in rows]):
            mutant, end, why = done.result()
            count[end] += 1
            count["unexplained"] += end == "survived" and not mutant.survives
            print(f"{end:9} {mutant.name:26} {why[:150]}", flush=True)
    print(f"mutants={len(rows)} killed={count['killed']} survived={count['survived']} "
          f"unexplained={count['unexplained']} broken={count['broken']}")
    return 1 if count["unexplained"] or count["broken"] else 0

