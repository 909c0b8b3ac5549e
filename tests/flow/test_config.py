# SPDX-License-Identifier: Apache-2.0
"""The configuration as an operator meets it on the command line: errors, conf.d, origins, schema."""
import json
import os
import pathlib
import re
import subprocess

import pytest
from world import ROOT, Sluiced

GOOD = """aep:
  org: A@AdobeOrg
  client_id: c
  client_secret_file: /run/nowhere/secret
s3:
  endpoint: https://s3.example
  bucket: ${BUCKET:-lake}
datasets:
  - id: d1
"""
CTL = str(pathlib.Path(Sluiced.binary).with_name("sluicectl"))


@pytest.fixture
def ask(tmp_path):
    """ask(binary, words…) with the configuration in tmp_path; the finished process."""
    def run(binary, *words, **environment):
        return subprocess.run([binary, "--config", tmp_path / "sluiced.yaml", *words],
                              env=os.environ | environment, capture_output=True, text=True,
                              check=False)
    (tmp_path / "sluiced.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "conf.d").mkdir()
    return run


def test_errors_of_all_files(ask, tmp_path):
    """Both programs say the same, with carets, and end with 78."""
    (tmp_path / "sluiced.yaml").write_text(GOOD.replace("bucket", "buckt"), encoding="utf-8")
    more = tmp_path / "conf.d/10-more.yaml"
    more.write_text("datasets:\n  - id: d2\n    poll: 5\n", encoding="utf-8")
    done = ask(Sluiced.binary, "--check-config")
    assert done.returncode == 78 and not done.stdout
    assert (f'{tmp_path}/sluiced.yaml:7:3: error: unknown key s3.buckt '
            '(did you mean "bucket"?)\n    7 |   buckt\n      |   ^~~~~\n') in done.stderr
    assert f"{more}:3:11: error: datasets[].poll: \"5\" is not a duration" in done.stderr
    assert "    3 |     poll: 5\n      |           ^\n" in done.stderr
    again = ask(CTL, "check-config")
    assert (again.returncode, again.stderr) == (78, done.stderr)


def test_what_is_in_force(ask, tmp_path):
    """What is printed can be read again; origins name files and lines."""
    (tmp_path / "conf.d/10-more.yaml").write_text("datasets: [{id: d2, page: 50}]\n",
                                                  encoding="utf-8")
    printed = ask(Sluiced.binary, "--print-config", BUCKET="b-$1")
    assert printed.returncode == 0 and '\n  bucket: "b-$$1"\n' in printed.stdout
    shown = ask(CTL, "config", "show", "--origins").stdout
    assert re.search(r"\n  bucket: \"lake\"  # \S+/sluiced.yaml:7\n", shown)
    assert re.search(r"\n    page: 50  # \S+/conf.d/10-more.yaml:1\n", shown)
    assert "region" not in shown
    rows = json.loads(ask(CTL, "--json", "config", "show", "--effective", "--origins").stdout)
    of = {row["key"]: (row.get("value"), row["origin"]) for row in rows}
    assert of["s3.region"] == ('"us-east-1"', "default")
    assert of["aep.sandbox"] == ('"prod"', "derived")
    assert of["datasets[1].page"][0] == "50"
    assert "2 datasets" in ask(CTL, "check-config").stdout
    (tmp_path / "conf.d/10-more.yaml").unlink()
    (tmp_path / "sluiced.yaml").write_text(printed.stdout, encoding="utf-8")
    assert ask(Sluiced.binary, "--print-config").stdout == printed.stdout


def conforms(value, schema, path=""):
    """Yields what a parsed configuration has and its schema does not know, and the reverse."""
    if schema.get("type") == "object":
        for name in schema["required"]:
            if name not in value:
                yield f"{path}.{name} is required"
        for name, member in value.items():
            if name not in schema["properties"]:
                yield f"{path}.{name} is unknown"
            else:
                yield from conforms(member, schema["properties"][name], f"{path}.{name}")
    elif schema.get("type") == "array":
        for item in value:
            yield from conforms(item, schema["items"], f"{path}[]")
    elif not any(fits(value, choice) for choice in schema["anyOf"]):
        yield f"{path}: {value!r} fits none of {schema['anyOf']}"


def fits(value, schema):
    """Whether a value is what one alternative of the schema says."""
    if "enum" in schema:
        return value in schema["enum"]
    kinds = {"string": str, "integer": int, "boolean": bool}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    known = any(type(value) is kinds[name] for name in types)  # pylint: disable=unidiomatic-typecheck
    text = str(value)
    return (known and bool(re.search(schema.get("pattern", ""), text))
            and schema.get("minimum", 0) <= (value if isinstance(value, int) else 0)
            and len(text) >= schema.get("minLength", 0))


def sample():
    """conf/sluice.yaml as editors parse it: plain words are texts, digits numbers."""
    tree, section = {}, ""
    for line in (ROOT / "conf/sluice.yaml").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"(\w+):$", line):
            section = match[1]
            tree[section] = [{}] if section == "datasets" else {}
        elif match := re.match(r"\s+(?:- )?(\w+): (.*)$", line):
            text = match[2].strip('"')
            plain = {"true": True, "false": False}.get(text, text)
            value = int(text) if re.fullmatch(r"[1-9]\d*", match[2]) else plain
            (tree[section][0] if section == "datasets" else tree[section])[match[1]] = value
    return tree


def test_schema_fits_the_sample():
    """Each key of the sample is known to the schema and of the right type."""
    done = subprocess.run([CTL, "config", "schema"], capture_output=True, text=True, check=True)
    schema = json.loads(done.stdout)
    assert not list(conforms(sample(), schema))
    broken = sample()
    broken["log"]["level"] = "loud"
    broken["transfer"]["memori"] = "1MiB"
    assert len(list(conforms(broken, schema))) == 2


def test_log_formats(ask, tmp_path):
    """The command line rules over log.format; what cannot start says so in that form."""
    refused = ask(Sluiced.binary, "--log-format", "json")
    line = json.loads(refused.stderr)
    assert refused.returncode == 78 and line["level"] == "error"
    assert line["event"] == "cannot start" and "/run/nowhere/secret" in line["message"]
    assert " error sluiced cannot start error=secret" in ask(Sluiced.binary).stderr
    assert ask(Sluiced.binary, "--log-format", "xml").returncode == 64
    with open(tmp_path / "sluiced.yaml", "a", encoding="utf-8") as file:
        file.write("log: {format: json}\n")
    assert json.loads(ask(Sluiced.binary).stderr)["event"] == "cannot start"
