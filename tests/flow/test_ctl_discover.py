# SPDX-License-Identifier: Apache-2.0
"""sluicectl's commands that look things up: what a person sees, what a program gets, and what each
says to input that cannot work."""
import json
import os
import pathlib
import re
import subprocess

import pytest

from client import Client
from conftest import PREFIX, aws_keys
from ground import File
from world import Sluiced, merged, write_secret, yaml_text

BINARY = os.environ.get("SLUICECTL", str(pathlib.Path(Sluiced.binary).with_name("sluicectl")))
FIRST = 1_706_745_600_000  # 2024-02-01
NOWHERE = "0" * 24
LINES = "id,name\n1,ann\n2,bob\n3,cyd\n"


class Ctl:
    """The command with a configuration of its own. No server but the simulator is needed unless
    the configuration names one."""

    def __init__(self, place, sim, datasets, **changes):
        self.file = place / "sluice.yaml"
        world = sim.world
        config = {
            "redis": {"url": f"unix://{place}/nobody.sock"},
            "aep": {"endpoint": sim.endpoint, "ims_endpoint": sim.endpoint, "org": world.org,
                    "client_id": world.client_id, "sandbox": world.sandbox,
                    "client_secret_file": write_secret(place / "secret", world.secrets[0])},
            "s3": {"endpoint": "http://127.0.0.1:9", "bucket": "bucket", "prefix": PREFIX,
                   "credentials_file": str(place / "credentials")},
            "datasets": [{"id": dataset.id, "as": name} for name, dataset in datasets.items()],
        }
        config = merged(config, changes)
        config["aep"] = {name: value for name, value in config["aep"].items() if value}
        self.file.write_text(yaml_text(config), encoding="utf-8")

    def run(self, *words):
        """(exit status, standard output, standard error)"""
        done = subprocess.run([BINARY, "--config", str(self.file), *map(str, words)],
                              capture_output=True, text=True, timeout=60, check=False)
        print("$", *words, "\n" + done.stdout, done.stderr)
        assert done.returncode >= 0, f"killed by signal {-done.returncode}"
        return done.returncode, done.stdout, done.stderr

    def table(self, *words):
        """Standard output of a command that succeeds."""
        status, text, _ = self.run(*words)
        assert status == 0
        return text

    def document(self, *words, status=0):
        """The JSON document, whose exit status must be the command's."""
        code, text, _ = self.run(*words, "--json")
        document = json.loads(text)
        assert code == document["exit"] == status and document["command"] == words[0]
        return document

    def refused(self, status, *words):
        """The one sentence on standard error of a command that prints nothing else."""
        code, text, error = self.run(*words)
        assert (code, text) == (status, "")
        assert error.startswith("sluicectl") and error.count("\n") == 1
        return error


@pytest.fixture(name="web")
def fixture_web(world):
    """A dataset with good, failed and partial batches."""
    data = world.dataset(name="Web Events Größe", ttl="P3Y", schema="")
    for _ in range(3):
        data.batch([1000, ("_SUCCESS", 0), 70_000])
    data.batch([500], status="failed", failed_records=3)
    data.batch([500], status="failure")
    part = data.batch([5000], failed_records=2)
    data.sub_batch(part)
    return data


@pytest.fixture(name="ctl")
def fixture_ctl(place, sim, web):
    """The command; the dataset is called web in its configuration."""
    sim.start()
    write_secret(place / "credentials",
                 "[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    return Ctl(place, sim, {"web": web})


def column(text, name):
    """The cells of a column of a table, by its head."""
    rows = [re.split(" {2,}", line.strip()) for line in text.splitlines()]
    head = next(number for number, row in enumerate(rows) if name in row)
    return [row[rows[head].index(name)] for row in rows[head + 1:]]


# ---- datasets, dataset


def test_datasets(place, sim, world, web):
    """All pages, each row once, although pages are short; the sandbox decides."""
    for number in range(120):
        world.dataset(name=f"copy {number}")
    hidden = world.dataset(name="elsewhere", sandbox="dev")
    world.options["page_max"] = 50
    sim.start()
    ctl = Ctl(place, sim, {"web": web})
    rows = ctl.document("datasets")["datasets"]
    assert [row["id"] for row in rows] == [name for name in world.datasets if name != hidden.id]
    asked = [line["target"] for line in sim.log() if line["endpoint"] == "datasets"]
    assert "start=0&" in asked[0] and len(asked) == 4
    assert all("limit=100" in target and "properties=name," in target for target in asked)

    text = ctl.table("datasets", "--name", "größe")
    assert column(text, "ID") == [web.id] and column(text, "NAME") == ["Web Events Größe"]
    assert column(text, "FORMAT") == ["parquet"] and column(text, "STATUS") == ["success"]
    assert ctl.document("datasets", "--name", "no such")["datasets"] == []
    other = Ctl(place, sim, {"web": web}, aep={"sandbox": "dev"})
    assert [row["name"] for row in other.document("datasets")["datasets"]] == ["elsewhere"]


def test_wrong_sandbox(place, sim, web):
    """An empty list says what it may mean; single things are not there."""
    sim.start()
    ctl = Ctl(place, sim, {"web": web}, aep={"sandbox": "stage"})
    status, text, error = ctl.run("datasets")
    assert status == 0 and not text and "aep.sandbox" in error
    for command in ("dataset", "schema", "preview", "batches", "last"):
        assert "sluicectl datasets lists" in ctl.refused(66, command, "web")
    _, text, _ = ctl.run("doctor")
    assert "[fail] sandbox: stage shows no dataset" in text


@pytest.mark.parametrize("form", ["", "datasets:\n", "datasets: []\n"])
def test_first_steps(form, place, sim, web):
    """Without a configured dataset the tool works; the daemon refuses, and names the tool."""
    sim.start()
    ctl = Ctl(place, sim, {})
    text = ctl.file.read_text(encoding="utf-8").replace("datasets:\n", form)
    ctl.file.write_text(text, encoding="utf-8")
    assert web.id in ctl.table("datasets") and web.id in ctl.table("dataset", web.id)
    _, text, _ = ctl.run("doctor")
    assert "[warn] datasets: none is configured" in text
    ctl.refused(64, "verify", "web")
    for option in ([], ["--check-config"], ["--print-config"]):
        done = subprocess.run([Sluiced.binary, "--config", ctl.file, *option], timeout=60,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 78 and not done.stdout
        assert "datasets: there is none" in done.stderr and "sluicectl datasets" in done.stderr


def test_dataset(ctl, web, world):
    """Format, tags, expiration, last batch; --json has the same."""
    text = ctl.table("dataset", "web")
    for part in ("Web Events Größe", "parquet", "P3Y", "day(timestamp, _ACP_DATE)",
                 "/schemas/", "delta"):
        assert part in text
    document = ctl.document("dataset", web.id)
    lake = [batch for batch in world.batches.values() if not batch.sub_of]
    assert document["last_batch"] == lake[-1].id and document["last_status"] == "success"
    assert document["last_failed"] == lake[-2].id
    assert document["row_expiration"] == "P3Y" and document["created"].startswith("2024-01-31T")
    assert {"name": "adobe/siphon/table/format", "value": "delta"} in document["tags"]


# ---- schema


def test_schema(ctl, web, sim):
    """By dataset and by id, in the tenant's container; with the Accept that the registry wants."""
    document = ctl.document("schema", "web")
    assert (document["source"], document["container"]) == ("schemaRef", "tenant")
    fields = {row["path"]: (row["type"], row["xdm"]) for row in document["fields"]}
    assert fields["timestamp"] == ("string", "date-time")
    assert fields["person.age"] == ("integer", "int") and len(fields) == 6
    assert column(ctl.table("schema", web.id), "FIELD") == list(fields)
    by_id = ctl.document("schema", document["schema"])
    assert by_id["dataset"] is None and by_id["fields"] == document["fields"]
    observed = ctl.document("schema", "web", "--observed")
    assert observed["source"] == "observableSchema" and len(observed["fields"]) == 6
    assert sim.counters()["statuses"].get("schema 400") is None


def test_schema_of_the_global_container(place, sim, world):
    """Asked for after the tenant's."""
    data = world.dataset(schema="https://ns.adobe.com/xdm/context/profile__union")
    sim.start()
    ctl = Ctl(place, sim, {"web": data})
    assert ctl.document("schema", "web")["container"] == "global"


@pytest.mark.parametrize("options,source", [
    ({"dataset_shape": "seed", "xdms": True}, "schema (deprecated)"),
    ({"dataset_shape": "seed"}, "observableSchema"),
])
def test_schema_of_old(options, source, place, sim, world):
    """The older sources, in the order of the guide; what failed on the way is said."""
    data = world.dataset(fields={"name": "string", "age": "integer"})
    world.options |= options
    sim.start()
    ctl = Ctl(place, sim, {"web": data})
    document = ctl.document("schema", "web")
    assert document["source"] == source
    assert [row["path"] for row in document["fields"]] == ["name", "age"]
    _, _, error = ctl.run("schema", "web")
    assert ("schema (deprecated): Catalog 404" in error) == (source == "observableSchema")


def test_schema_that_does_not_exist(ctl, sim):
    """In neither container; a dataset whose registry fails falls back."""
    error = ctl.refused(66, "schema", "https://ns.adobe.com/simtenant/schemas/nothing")
    assert "neither the tenant's nor the global" in error
    ctl.refused(64, "schema", "no id at all")
    ctl.refused(64, "schema", "https://ns.adobe.com/x/schemas/y", "--observed")
    sim.arm("error_500:times=0,endpoint=schema")
    status, text, error = ctl.run("schema", "web")
    assert status == 0 and "observableSchema" in text and "Schema Registry 500" in error


# ---- preview


def stored(place, data, name, content):
    """A batch with a file of exactly these bytes."""
    path = place / name
    path.write_bytes(content)
    batch = data.batch([(name, len(content))])
    batch.files[0].files = [File(name, len(content), f"stored:{path}")]
    return batch


def test_preview(ctl):
    """Rows of Data Access, as many as wanted."""
    rows = ctl.document("preview", "web", "--limit", 3)["rows"]
    assert len(rows) == 3 and set(rows[0]) >= {"_id", "timestamp", "person"}
    text = ctl.table("preview", "web")
    assert text.count("row ") >= 10 and "  person: {" in text


def test_preview_of_a_file(place, sim, world):
    """Where there is no preview: whole lines of the last readable batch; of Parquet its ends."""
    text = world.dataset(format="json")
    stored(place, text, "lines.csv", LINES.encode() + b"9,cut")
    text.batch([10], status="failed")
    parquet = world.dataset()
    stored(place, parquet, "a.parquet", b"PAR1" + bytes(300) + (292).to_bytes(4, "little") + b"PAR1")
    empty = world.dataset(format="json")
    sim.start()
    ctl = Ctl(place, sim, {"text": text, "parquet": parquet})
    document = ctl.document("preview", "text", "--limit", 2)
    assert [row["line"] for row in document["lines"]] == ["id,name", "1,ann"]
    assert "400" in document["preview"]
    assert [row["line"] for row in ctl.document("preview", "text")["lines"]][-1] == "9,cut"
    sim.arm("error_500:times=0,endpoint=preview")
    document = ctl.document("preview", "parquet")
    assert document["format"] == "Parquet" and document["footer_bytes"] == 292
    assert "no batch with files" in ctl.refused(66, "preview", empty.id)


# ---- batches, files, last


def test_batches(ctl, world):
    """Newest first, with class and counts; windows, statuses and limits."""
    rows = ctl.document("batches", "web")["batches"]
    everything = sorted(world.batches.values(), key=lambda batch: -batch.created)
    assert [row["id"] for row in rows] == [batch.id for batch in everything]
    assert [row["class"] for row in rows] == ["sub"] + ["lake"] * 6
    assert (rows[1]["files"], rows[1]["failed"], rows[1]["errors"]) == (1, 2, "INGEST-1212-400")
    text = ctl.table("batches", "web", "--failed")
    assert column(text, "STATUS") == ["failure", "failed"]
    assert column(text, "ERRORS") == ["INGEST-1555-400", "INGEST-1212-400"]
    second, third = everything[-2], everything[-3]
    rows = ctl.document("batches", "web", "--from", second.created, "--to", third.created)
    assert [row["id"] for row in rows["batches"]] == [second.id]
    rows = ctl.document("batches", "web", "--status", "success", "--limit", "2")["batches"]
    assert len(rows) == 2 and {row["status"] for row in rows} == {"success"}
    _, _, error = ctl.run("batches", "web", "--limit", 1)
    assert "--limit N" in error


def test_many_batches(place, sim, world):
    """More than a page in one instant, and short pages: each once, none left out."""
    data = world.dataset()
    for number in range(260):
        data.batch([10], created=FIRST + (number >= 20) + (number >= 250))
    sim.start()
    sim.arm("short_pages:rows=30")
    sim.arm("unstable_order:times=0")
    ctl = Ctl(place, sim, {"web": data})
    rows = ctl.document("batches", "web", "--limit", 1000)["batches"]
    assert len(rows) == len({row["id"] for row in rows})
    sim.disarm()
    rows = ctl.document("batches", "web", "--limit", 1000)["batches"]
    assert {row["id"] for row in rows} == set(world.batches) and len(rows) == 260


def test_files(ctl, world):
    """Of a readable batch, of a failed one, of one that lost rows."""
    first = next(iter(world.batches.values()))
    document = ctl.document("files", first.id)
    assert [(row["name"], row["length"]) for row in document["files"]] == [
        (file.name, file.size) for _, file in first.data()]
    assert (document["count"], document["bytes"]) == (2, 71_000)
    failed = next(batch for batch in world.batches.values() if batch.status == "failed")
    document = ctl.document("files", failed.id)
    assert document["errors"][0]["code"] == "INGEST-1212-400"
    assert {row["kind"] for row in document["kept"]} == {"failed", "meta"}
    assert document["rows"][0]["code"] == "INGEST-1555-400" and len(document["rows"]) == 3
    assert "required field" in ctl.table("files", failed.id)
    part = next(batch for batch in world.batches.values()
                if batch.status == "success" and batch.failed_records)
    document = ctl.document("files", part.id)
    assert document["failed_records"] == 2 and document["count"] == 1 and document["rows"]


def test_diagnostics_on_short_pages(place, sim, world):
    """Every row of /failed and /meta, however short the pages are."""
    data = world.dataset()
    batch = data.batch([10] * 25, status="failed", failed_records=3)
    world.options["page_max"] = 2
    sim.start()
    kept = Ctl(place, sim, {"web": data}).document("files", batch.id)["kept"]
    names = [row["path"] for row in kept if row["kind"] == "failed"]
    assert sorted(names) == sorted(file.name for _, file in batch.rows())
    assert len([row for row in kept if row["kind"] == "meta"]) == 4


def test_files_of_many_directories(place, sim, world):
    """Nested dataset files, more than a page of them."""
    data = world.dataset()
    flat = data.batch(directories=[[10, 20]] * 130)
    nested = data.batch(directories=[[10], [20], [30]], nested=True)
    sim.start()
    ctl = Ctl(place, sim, {"web": data})
    document = ctl.document("files", flat.id)
    assert (document["count"], document["bytes"]) == (260, 130 * 30)
    assert len({(row["file_id"], row["name"]) for row in document["files"]}) == 260
    document = ctl.document("files", nested.id)
    assert (document["count"], document["bytes"], document["dataset_files"]) == (3, 60, 4)


@pytest.mark.parametrize("status,may,text", [
    ("success", 0, "yes"), ("active", 0, "yes"), ("loading", 1, "wait"), ("staged", 1, "wait"),
    ("failed", 1, "look at it"), ("aborted", 1, "look at it"), ("inactive", 1, "look at it")])
def test_last(status, may, text, place, sim, world):
    """May a new ingestion be scheduled? The exit status answers."""
    data = world.dataset()
    data.batch([10])
    last = data.batch([10], status=status)
    sim.start()
    ctl = Ctl(place, sim, {"web": data})
    document = ctl.document("last", "web", status=may)
    assert (document["last_batch"], document["last_status"]) == (last.id, status)
    assert text in document["may_schedule"]


def test_last_by_the_list(ctl, sim, world):
    """Where lastBatches fails, the newest in the list; a dataset without any may begin."""
    empty = world.dataset()
    sim.add_dataset(empty)
    assert "no batch yet" in ctl.document("last", empty.id)["may_schedule"]
    sim.arm("error_500:times=0,endpoint=last_batches")
    document = ctl.document("last", "web")
    assert document["source"] == "batches" and document["last_status"] == "success"


# ---- input that cannot work, upstreams that do not answer


@pytest.mark.parametrize("words", [
    ("dataset",), ("dataset", "a", "b"), ("datasets", "web"), ("dataset", "../x"),
    ("batches", "web", "--from", "yesterday"), ("batches", "web", "--to", "2024-13-01"),
    ("batches", "web", "--from", "2024-02-02", "--to", "2024-02-01"),
    ("batches", "web", "--status", "x&limit=1"), ("batches", "web", "--export"),
    ("batches", "web", "--failed", "--status", "success"), ("batches", "web", "--limit", "0"),
    ("batches", "web", "--limit", "ten"), ("preview", "web", "--limit", "101"),
    ("files", "a/b"), ("files",), ("last", "web", "--limit", "1"), ("doctor", "web"),
])
def test_usage(words, place, sim, web):
    """Exit status 64, one sentence, and nothing is asked."""
    sim.start()
    Ctl(place, sim, {"web": web}).refused(64, *words)
    assert not sim.counters()["requests"]


def test_unknown(ctl):
    """Exit status 66 and the next step."""
    for command in ("dataset", "schema", "preview", "batches", "last"):
        assert "sluicectl datasets" in ctl.refused(66, command, NOWHERE)
    assert "sluicectl batches" in ctl.refused(66, "files", NOWHERE)
    document = ctl.document("dataset", NOWHERE, status=66)
    assert set(document) == {"command", "exit"}


def test_no_permission(place, sim, web):
    """403 of the gateway: exit status 77, and what it said."""
    sim.start()
    ctl = Ctl(place, sim, {"web": web}, aep={"org": "FFFFFFFFFFFFFFFFFFFFFFFF@AdobeOrg"})
    for words in (("datasets",), ("dataset", "web"), ("batches", "web"), ("last", "web"),
                  ("preview", "web"), ("schema", "web"), ("files", NOWHERE)):
        said = ctl.refused(77, *words)
        assert "403" in said and said.count("; ") == 1, "what to do is said once"
    status, text, _ = ctl.run("doctor")
    assert status == 1 and "[fail] Catalog: " in text and "403" in text


def test_no_token(place, sim, web):
    """A secret that IMS refuses, one that others may read, one that is missing."""
    sim.start()
    ctl = Ctl(place, sim, {"web": web})
    secret = place / "secret"
    write_secret(secret, "p8e-wrong")
    assert "IMS" in ctl.refused(77, "datasets")
    secret.chmod(0o644)
    assert "secret" in ctl.refused(78, "datasets")
    secret.unlink()
    assert "secret" in ctl.refused(78, "dataset", "web")
    status, text, _ = ctl.run("doctor")
    assert status == 1 and "[fail] aep.client_secret_file" in text


def rows_of_doctor(ctl):
    """check -> (result, finding)"""
    _, text, _ = ctl.run("doctor", "--json")
    return {row["check"]: (row["result"], row["finding"]) for row in json.loads(text)["checks"]}


def test_doctor_looks_at_each_secret(place, sim, web, world):
    """What aep.auth reads has a row that says what is in it, and nothing of it."""
    sim.start()
    first, second = world.secrets[0], "p8e-the-other-one"
    ctl = Ctl(place, sim, {"web": web})
    file = place / "secret"
    for text, says in ((first, ("ok", "one client secret")),
                       (f"{first}\n{second}", ("ok", "two client secrets")),
                       (f"{first}\n{second}\nx", ("fail", "3 lines"))):
        write_secret(file, text)
        result, finding = rows_of_doctor(ctl)["aep.client_secret_file"]
        assert result == says[0] and says[1] in finding and "p8e" not in finding
    console = write_secret(place / "console", json.dumps({
        "CLIENT_SECRETS": [first, second], "ORG_ID": world.org, "CLIENT_ID": world.client_id}))
    without = {"client_secret_file": None}
    found = rows_of_doctor(Ctl(place, sim, {"web": web}, aep=without | {
        "credential_file": console}))
    assert found["aep.credential_file"][0] == "ok" and "aep.client_secret_file" not in found
    assert "with 2 client secrets" in found["aep.credential_file"][1]
    token = write_secret(place / "token", "one two")
    found = rows_of_doctor(Ctl(place, sim, {"web": web}, aep={"token_file": token}))
    assert found["aep.token_file"][0] == "fail" and "aep.client_secret_file" not in found
    write_secret(place / "token", Client(sim).token())
    found = rows_of_doctor(Ctl(place, sim, {"web": web}, aep={"token_file": token}))
    assert found["aep.token_file"][0] == "ok" and " min" in found["aep.token_file"][1]
    key = place / "key"
    found = rows_of_doctor(Ctl(place, sim, {"web": web}, aep={
        "private_key_file": str(key), "technical_account": "a@techacct.adobe.com"}))
    assert found["aep.private_key_file"][0] == "fail" and str(key) in found[
        "aep.private_key_file"][1]


def test_passing_trouble(ctl, sim):
    """It is waited out."""
    sim.arm("throttle_429_retry_after:times=1,endpoint=dataset")
    sim.arm("error_503:times=1,endpoint=last_batches")
    document = ctl.document("dataset", "web")
    assert document["last_status"] == "success"
    assert sim.counters()["statuses"]["last_batches 200"] == 1


@pytest.mark.slow
def test_unreachable(ctl, sim):
    """Lasting trouble is exit status 69."""
    sim.stop()
    assert "sluicectl doctor" in ctl.refused(69, "dataset", "web")
    status, text, _ = ctl.run("doctor")
    assert status == 69 and "[ ?? ] token" in text


# ---- with the store and Redis


@pytest.fixture(name="installed")
def fixture_installed(place, sim, web, redis, rgw, bucket):
    """The command beside a real store and a real Redis."""
    sim.start()
    write_secret(place / "credentials", aws_keys(rgw))
    return Ctl(place, sim, {"web": web}, redis={"url": redis.url},
               s3={"endpoint": rgw.endpoint, "bucket": bucket.name})


def test_export(installed, bucket, world):
    """Failed files and row errors land in the quarantine, once."""
    rows = installed.document("batches", "web", "--failed", "--export")["quarantine"]
    keys = {row["key"]: row["bytes"] for row in rows}
    objects = bucket.objects(PREFIX)
    assert {key: size for key, (size, _) in objects.items()} == keys
    assert {row["outcome"] for row in rows} == {"written"}
    failed = next(batch for batch in world.batches.values() if batch.status == "failed")
    base = f"{PREFIX}web/_sluice/quarantine/{failed.id}"
    assert {key for key in keys if key.startswith(base)} == {
        f"{base}/failed/{failed.files[0].files[0].name}", f"{base}/meta/row_errors_sample.json",
        f"{base}/meta/row_errors/conversion_errors_0.json",
        f"{base}/meta/row_errors/parsing_errors_0.json"}
    content = b"".join(bucket.read(f"{base}/failed/{failed.files[0].files[0].name}"))
    assert content == failed.files[0].files[0].content().read(0, 1000)

    again = installed.document("batches", "web", "--failed", "--export")["quarantine"]
    assert {row["outcome"] for row in again} == {"is there"}
    bucket.client.put_object(Bucket=bucket.name, Key=f"{base}/meta/row_errors_sample.json",
                             Body=b"another")
    rows = installed.document("batches", "web", "--failed", "--export", status=1)["quarantine"]
    assert [row["outcome"] for row in rows].count("differs, left as it is") == 1
    assert bucket.objects(f"{base}/meta/row_errors_sample.json").popitem()[1][0] == len("another")
    document = installed.document("batches", "web", "--failed", "--export", "--to", "2024-01-01")
    assert document["quarantine"] == []


def test_doctor(installed, sim, redis, bucket):
    """A sound installation: nothing fails, few calls, nothing is written."""
    document = installed.document("doctor")
    found = {row["check"]: row["result"] for row in document["checks"]}
    assert document["fail"] == document["unchecked"] == 0
    for check in ("configuration", "token", "clock", "sandbox", "dataset web", "lastBatches",
                  "property=updated>=T", "batch=a,b", "number of files",
                  "ranges", "S3 list", "Redis"):
        assert found[check] == "ok", check
    assert found["queue library"] == "warn"  # no daemon has been here
    requests = sim.counters()["requests"]
    assert sum(requests.values()) - requests["ims"] == document["calls"] < 20
    assert not bucket.objects("") and redis.command("DBSIZE") == "0"

    sim.arm("full_200_to_range:times=0")
    sim.arm("unstable_order:times=0,endpoint=batches")
    redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    status, text, _ = installed.run("doctor")
    assert status == 1 and "[warn] ranges: ignored" in text
    assert "[fail] Redis: " in text and "noeviction" in text
    sim.arm("files_partial:endpoint=files,calls=99")
    warned = next(row for row in installed.document("doctor", status=1)["checks"]
                  if row["check"] == "number of files")
    assert warned["result"] == "warn" and "aep.short_listing" in warned["hint"]


def test_doctor_names_what_is_missing(place, sim, web, rgw, redis, world):
    """A dataset that is not there, a bucket that does not exist."""
    sim.start()
    write_secret(place / "credentials", aws_keys(rgw))
    gone = type(web)(world, NOWHERE, "prod", {})
    ctl = Ctl(place, sim, {"gone": gone, "web": web}, redis={"url": redis.url},
              s3={"endpoint": rgw.endpoint, "bucket": "no-such-bucket"})
    status, text, _ = ctl.run("doctor")
    assert status == 1
    assert "[fail] dataset gone" in text and "[ok]   dataset web" in text
    assert "[fail] S3 list" in text
