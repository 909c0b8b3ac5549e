# SPDX-License-Identifier: Apache-2.0
"""Ways to a token, from configuration to batches in the bucket; refusals that are explained; and
that neither the token service nor the platform is asked more often than it likes."""
import json
import subprocess
import time

import pytest

from client import Client
from ground import now_ms
from test_tail import committed, drained
from world import Sluiced, wait_until, write_secret, yaml_text

ORG, CLIENT = "0123456789ABCDEF01234567@AdobeOrg", "0123456789abcdef0123456789abcdef"
FIRST, SECOND = "p8e-first-secret", "p8e-second-secret"
ACCOUNT = "76543210FEDCBA9876543210@techacct.adobe.com"
SCOPES = ["openid", "AdobeID", "session"]
PATIENCE_S = 60

# ---- configuration alone


def run(place, aep, *arguments):
    """(exit status, stdout, stderr) of sluiced with this section `aep`."""
    config = {"aep": aep, "s3": {"endpoint": "http://127.0.0.1:9", "bucket": "bucket"},
              "datasets": [{"id": "5f1a2b3c4d5e6f708192a3b4"}]}
    file = place / "sluice.yaml"
    file.write_text(yaml_text(config), encoding="utf-8")
    done = subprocess.run([Sluiced.binary, "--config", file, *arguments], capture_output=True,
                          text=True, check=False, timeout=PATIENCE_S)
    return done.returncode, done.stdout, done.stderr


def credential(place, content):
    """A credential file with this content."""
    text = content if isinstance(content, str) else json.dumps(content)
    return write_secret(place / "credential.json", text)


AEPP = {"org_id": ORG, "client_id": CLIENT, "secret": FIRST, "sandbox-name": "dev",
        "environment": "prod", "scopes": ", ".join(SCOPES)}
CONSOLE = {"CLIENT_SECRETS": [FIRST, SECOND], "ORG_ID": ORG, "CLIENT_ID": CLIENT,
           "SCOPES": SCOPES, "TECHNICAL_ACCOUNT_ID": ACCOUNT}
CONTEXT = {"client_id": CLIENT, "client_secrets": [FIRST], "ims_org_id": ORG, "scopes": SCOPES}
SHAPES = {
    "aepp": AEPP,
    "console": CONSOLE,
    "project": {"project": {"org": {"ims_org_id": ORG}, "workspace": {"details": {
        "credentials": [{"oauth_server_to_server": CONTEXT}]}}}},
    "aio": {"ims": {"contexts": {"cli": {"access_token": {}}, "mine": CONTEXT}}},
    "postman": {"values": [{"key": "CLIENT_SECRET", "value": FIRST},
                           {"key": "API_KEY", "value": CLIENT}, {"key": "IMS_ORG", "value": ORG},
                           {"key": "SCOPES", "value": ",".join(SCOPES)}]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_credential_files_fill_the_configuration(shape, place):
    """What the file says is in force, its secret is nowhere, and what is printed loads again."""
    file = credential(place, SHAPES[shape])
    code, out, err = run(place, {"credential_file": file}, "--print-config")
    assert code == 0, err
    for text in (f"org: {ORG}", f"client_id: {CLIENT}", "auth: oauth",
                 f"scopes: {','.join(SCOPES)}",
                 f"sandbox: {'dev' if shape == 'aepp' else 'prod'}"):
        assert f"  {text}\n" in out.replace('"', ""), text
    assert FIRST not in out + err
    (place / "again.yaml").write_text(out, encoding="utf-8")
    again = subprocess.run([Sluiced.binary, "-c", place / "again.yaml", "--print-config"],
                           capture_output=True, text=True, check=True)
    assert again.stdout == out


@pytest.mark.parametrize("content, aep, sentences", [
    (CONSOLE, {"org": "FFFF@AdobeOrg"},
     ["aep.org: is FFFF@AdobeOrg here and " + ORG + " in aep.credential_file"]),
    (CONSOLE, {"client_id": "other", "scopes": "openid"},
     ["aep.client_id: is other here and", "aep.scopes: is openid here and"]),
    (CONSOLE, {"scopes": "session, openid,AdobeID", "org": ORG}, []),
    (CONSOLE, {"client_secret_file": "/nowhere"}, ["holds a client secret, too"]),
    (AEPP | {"environment": "stage"}, {},
     ["aep.endpoint: aep.credential_file is for environment stage: set"]),
    ({"CLIENT_SECRETS": [FIRST]}, {}, ["aep.org: is missing", "aep.client_id: is missing"]),
    ({"type": "service_account"}, {}, ["has no known shape; known are an aepp config"]),
    ("client_id = x", {"org": ORG, "client_id": CLIENT}, ["is not JSON; known are"]),
    (None, {}, ["aep.org: is missing: organisation id", "aep.client_id: is missing",
                "aep.client_secret_file: is missing"]),
    (None, {"org": ORG, "client_id": CLIENT, "auth": "token"}, ["aep.token_file: is missing"]),
    (None, {"org": ORG, "client_id": CLIENT, "token_file": "/nowhere"}, []),
    (None, {"org": ORG, "client_id": CLIENT, "client_secret_file": "/nowhere", "auth": "jwt"},
     ["aep.private_key_file: is missing", "aep.technical_account: is missing"]),
    (None, {"credential_file": "/nowhere/x"}, ["aep.org: is missing, and secret file /nowhere/x "
                                               "cannot be opened: No such file",
                                               "aep.client_id: is missing, and secret file"]),
    (None, {"org": ORG, "client_id": CLIENT, "credential_file": "/nowhere/x"}, []),
])
def test_what_is_missing_or_contradicts_is_said(content, aep, sentences, place):
    """All of it at once, with exit status 78, and no secret."""
    if content is not None:
        aep = aep | {"credential_file": credential(place, content)}
    code, _, err = run(place, aep, "--check-config")
    assert code == (78 if sentences else 0), err
    for sentence in sentences:
        assert sentence in err
    assert FIRST not in err and err.count(": error: ") == len(sentences)


def test_open_credential_files_are_refused(place):
    """Mode 0600, as every secret."""
    file = credential(place, CONSOLE)
    (place / "credential.json").chmod(0o644)
    code, _, err = run(place, {"credential_file": file}, "--check-config")
    assert code == 78 and "chmod 0600" in err


# ---- with the daemon


def token_requests(sim):
    """Those to the token service, in order."""
    return [entry for entry in sim.log() if entry["endpoint"] == "ims"]


def all_well(daemon, redis, judge, batches):
    """So many batches committed, nothing given up, the bucket right."""
    committed(daemon, batches, PATIENCE_S)
    drained(daemon, redis)
    judge()
    assert daemon.metric("sluice_dead_letters_total") == 0


def without(daemon, *keys):
    """Takes keys out of the section `aep`."""
    for key in keys:
        del daemon.config["aep"][key]
    return daemon


def test_secrets_rotate_without_a_gap(world, sim, sluiced, redis, judge, place):
    """A credential file with two secrets, of which the first is deleted while tokens end every
    two seconds: work goes on, IMS is asked at most once a second, the log says which one works.
    All of that with a token service that refuses who asks too often."""
    data = world.dataset()
    data.batch([100_000, 7])
    sim.start()
    sim.set(token_ttl=2, token_gap_ms=900)
    file = credential(place, CONSOLE)
    daemon = without(sluiced(aep={"credential_file": file}), "org", "client_id",
                     "client_secret_file")
    daemon.start()
    committed(daemon, 1, PATIENCE_S)
    assert daemon.metric("sluice_client_secret_in_use") == 1
    sim.set(secrets=[SECOND])
    sim.add(data.batch([1000], created=now_ms()))
    wait_until(lambda: daemon.metric("sluice_client_secret_in_use") == 2, PATIENCE_S, "second")
    wait_until(lambda: len(token_requests(sim)) > 4, PATIENCE_S, "some more tokens")
    all_well(daemon, redis, judge, 2)
    assert daemon.metric("sluice_exported_bytes_total") == 101_007
    asked = token_requests(sim)
    assert [entry["status"] for entry in asked].count(401) == 1
    assert {entry["status"] for entry in asked} == {200, 401}
    for before, after in zip(asked, asked[1:]):
        assert after["at"] - before["at"] > 0.9 or before["status"] == 401
    log = daemon.log.read_text(encoding="utf-8")
    assert "client secret 2 of 2 is the one that works" in log
    assert FIRST not in log and SECOND not in log


def test_jwt_credentials_are_exchanged(world, sim, sluiced, redis, judge, place):
    """An aepp config of the old kind, its key beside it: the batch lands, a warning is logged."""
    world.dataset().batch([1000])
    (place / "private.key").touch(mode=0o600)
    subprocess.run(["openssl", "genrsa", "-out", place / "private.key", "2048"], check=True,
                   capture_output=True)
    public = subprocess.run(["openssl", "rsa", "-in", place / "private.key", "-pubout"],
                            check=True, capture_output=True, text=True).stdout
    sim.start()
    sim.set(technical_account=ACCOUNT, public_key=public)
    jwt = {"org_id": ORG, "client_id": CLIENT, "secret": FIRST, "tech_id": ACCOUNT,
           "pathToKey": "private.key", "sandbox-name": world.sandbox, "environment": "prod"}
    daemon = without(sluiced(aep={"credential_file": credential(place, jwt)}), "org", "client_id",
                     "client_secret_file")
    daemon.start()
    all_well(daemon, redis, judge, 1)
    assert [(entry["target"], entry["status"]) for entry in token_requests(sim)] == \
        [("/ims/exchange/jwt", 200)]
    left_s = daemon.metric("sluice_credential_expiry_timestamp_seconds") - time.time()
    assert 86000 < left_s <= 86400
    assert "Adobe ended JWT credentials on 2026-03-01" in daemon.log.read_text(encoding="utf-8")


def test_ready_tokens_are_taken_from_their_file(world, sim, sluiced, redis, judge, place):
    """No client secret at all. A token that is revoked is said to be refused; the next one in
    the file is used, and nothing is given up."""
    data = world.dataset()
    data.batch([1000])
    sim.start()
    client = Client(sim)
    file = write_secret(place / "token", client.token())
    daemon = without(sluiced(aep={"token_file": file}), "client_secret_file")
    daemon.start()
    committed(daemon, 1, PATIENCE_S)
    sim.revoke()
    sim.add(data.batch([7], created=now_ms()))
    wait_until(lambda: "write a new one" in daemon.get("/readyz?verbose")[1], PATIENCE_S,
               "the refusal is shown")
    (place / "token").write_text(client.token(), encoding="utf-8")
    all_well(daemon, redis, judge, 2)
    wait_until(lambda: daemon.get("/readyz")[0] == 200, PATIENCE_S, "ready again")
    assert sim.counters()["requests"]["ims"] == 3  # all of them ours: the client asks, too


@pytest.mark.parametrize("settings, aep, sentence", [
    ({}, {"org": "FFFF@AdobeOrg"}, "403025: Profile is not valid"),
    ({"scopes": "openid,AdobeID"}, {}, "copy the credential's scopes from the Developer Console"),
])
def test_refusals_are_explained_and_kill_nothing(settings, aep, sentence, world, sim, sluiced,
                                                 redis, judge):
    """/readyz and the log say what to do; once it is done, all that waited is moved."""
    world.dataset().batch([1000])
    sim.start()
    sim.set(**settings)
    daemon = sluiced(aep=aep)
    daemon.start()
    wait_until(lambda: sentence in daemon.get("/readyz?verbose")[1], PATIENCE_S, sentence)
    assert daemon.get("/readyz")[0] == 503
    assert sentence in daemon.log.read_text(encoding="utf-8")
    assert redis.command("ZCARD", "sluice:dead") == "0"
    sim.set(scopes="")
    daemon.stop()
    daemon.config["aep"]["org"] = ORG
    daemon.start()
    all_well(daemon, redis, judge, 1)


def test_penalties_are_served_and_never_grow(world, sim, sluiced, redis, judge):
    """A gateway that makes the wait longer for whoever does not obey, for Catalog, listings and
    contents; and waits that make no sense, or throttling that says 500."""
    data = world.dataset()
    for _ in range(6):
        data.batch([5000] * 8)
    sim.start()
    sim.arm("penalty:seconds=3,endpoint=content|files|batch_files|head,nth=20 "
            "penalty:seconds=2,endpoint=batches|batch,nth=2 "
            "throttle_429_retry_after:seconds=-7,times=2 "
            "throttle_429_retry_after:seconds=0,times=2 error_500:times=3,endpoint=content")
    daemon = sluiced(aep={"window_start": 4})
    daemon.start()
    all_well(daemon, redis, judge, 6)
    counters = sim.counters()
    assert counters["impatient"] == 0
    assert counters["faults"]["penalty"] > 2
    assert sum(n for name, n in counters["statuses"].items() if name.endswith(" 429")) >= 6
    assert daemon.metric("sluice_exported_bytes_total") == 6 * 8 * 5000
