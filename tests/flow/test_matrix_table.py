# SPDX-License-Identifier: Apache-2.0
"""The fault matrix stands, and scripts/check-matrix would notice if it did not."""
import re
import subprocess

import pytest

from world import ROOT

TABLE = ROOT / "tests/faults/MATRIX.md"
ONLY_TEST_OF_R5 = "test_matrix_redis.py::test_r5_two_masters"


def findings(path):
    """(exit status, what the check says) of a table."""
    done = subprocess.run([ROOT / "scripts/check-matrix", path], capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_matrix_stands():
    assert findings(TABLE) == (0, "")


def without(text, row):
    """The table without a row."""
    return re.sub(rf"^\| {row} \|.*\n", "", text, flags=re.M)


def doubled(text, row):
    """The table with a row twice."""
    return re.sub(rf"^(\| {row} \|.*\n)", r"\1\1", text, flags=re.M)


SPOILT = {
    "missing": (lambda text: without(text, "P8"), "P8: 0 rows"),
    "doubled": (lambda text: doubled(text, "S7"), "S7: 2 rows"),
    "unknown": (lambda text: text.replace("| N3 |", "| N4 |"), "N4: no such fault"),
    "renamed": (lambda text: text.replace("::test_p8_poison", "::test_p8_gone"),
                "P8: there is no test_matrix_process.py::test_p8_gone"),
    "moved": (lambda text: text.replace("`test_matrix_process.py::test_p8_poison`", "waits: x")
              + "\n| P1 | a | b | `test_matrix_process.py::test_p8_poison` |\n", "not in row P8"),
    "no test": (lambda text: text.replace(f"`{ONLY_TEST_OF_R5}`", ""),
                "R5: neither a test nor"),
    "unlisted": (lambda text: text.replace("`test_matrix_process.py::test_p8_poison`", "waits: x"),
                 "test_matrix_process.py::test_p8_poison: in no row"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_spoilt_tables_are_noticed(how, tmp_path):
    spoil, finding = SPOILT[how]
    text = TABLE.read_text(encoding="utf-8")
    spoilt = tmp_path / "MATRIX.md"
    spoilt.write_text(spoil(text), encoding="utf-8")
    assert spoilt.read_text(encoding="utf-8") != text
    status, said = findings(spoilt)
    assert status == 1 and finding in said
