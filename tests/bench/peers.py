# SPDX-License-Identifier: Apache-2.0
"""How each peer is started on a workload, and when it is done.

A peer is a class with start() -> Client and close(); the bench knows nothing else about it.
"""
import os

from lab import HERE, ROOT, MIB, Client, Redis

PYTHON = "/usr/bin/python3"
# As in dataset.h.
DATASET = "65d0bench0000000000000001"
MEMORY_MIB = 128
PART_MIB = 8
LANES = 16


class Relay:
    """The floor: a bare libcurl relay."""

    def __init__(self, setup):
        self.setup = setup

    def start(self):
        """Ends by itself."""
        s = self.setup
        command = [s.programs["relay"], "-i", s.source.url, "-o", s.sink.url, "-b",
                   s.load.batches, "-f", s.load.files, "-n", s.load.at_once]
        return Client(command + (["-a", s.ca] if s.ca else []), s.directory / "relay.log")

    def close(self):
        """Owns nothing."""


class Seed:
    """requests and boto3 in threads."""

    def __init__(self, setup):
        self.setup = setup

    def start(self):
        """Ends by itself."""
        s = self.setup
        command = [PYTHON, HERE / "seed.py", "--source", s.source.url, "--sink", s.sink.url,
                   "--dataset", DATASET, "--threads", min(s.load.at_once, 64)]
        return Client(command + (["--ca", s.ca] if s.ca else []), s.directory / "seed.log")

    def close(self):
        """Owns nothing."""


# A short lease, so that the run after kill -9 measures the resume and not the wait for it.
CONFIG = """\
redis:
  url: {redis}
aep:
  endpoint: {source}
  ims_endpoint: {source}
  org: bench@AdobeOrg
  client_id: bench
  client_secret_file: {directory}/secret
  requests_per_second: 100000
  window_start: {window}
  window_max: {window}
{aep_ca}
s3:
  endpoint: {sink}
  bucket: bench
  prefix: sluiced/
  credentials_file: {directory}/credentials
  payload: unsigned
{s3_ca}
transfer:
  memory: {memory}MiB
  part_size: {part}MiB
  files: {files}
  batches: {batches}
  lanes: {lanes}
queue:
  lease: 2s
health:
  socket: {directory}/health.sock
datasets:
  - id: "{dataset}"
    as: bench
    start: {start}
    poll: 1s
"""


class Sluiced:
    """The daemon, with a Redis of its own; done when every batch has its manifest."""

    def __init__(self, setup):
        self.setup = setup
        self.socket = setup.directory / "health.sock"
        self.redis = Redis(setup.directory / "redis")
        self.write_files()

    @staticmethod
    def program():
        """$SLUICED, else the plain build."""
        return os.environ.get("SLUICED", str(ROOT / "build/plain/sluiced"))

    def write_files(self):
        """Configuration and secrets."""
        s = self.setup
        trust = f"  ca_file: {s.ca}" if s.ca else ""
        at_once = s.load.at_once  # as many as the floor: it decides how many connections are made
        self.write("secret", "bench-secret\n")
        self.write("credentials", "[default]\naws_access_key_id = bench\n"
                                  "aws_secret_access_key = bench-secret\n")
        self.write("sluice.yaml", CONFIG.format(
            redis=self.redis.url, source=s.source.url, sink=s.sink.url, directory=s.directory,
            aep_ca=trust, s3_ca=trust, memory=MEMORY_MIB, part=PART_MIB, lanes=LANES,
            dataset=DATASET, start=s.start_text, window=at_once,
            files=at_once + at_once // 2, batches=max(8, at_once // 4)))

    def write(self, name, text):
        """A file that only we may read."""
        path = self.setup.directory / name
        path.write_text(text)
        path.chmod(0o600)

    def start(self):
        """Runs until stopped."""
        s = self.setup
        return Client([self.program(), "-c", s.directory / "sluice.yaml"],
                      s.directory / "sluiced.log",
                      finished=lambda: s.sink.stats()["manifests"] >= s.load.batches)

    def cpu(self):
        """Of its Redis."""
        return self.redis.cpu()

    def close(self):
        """Stops Redis."""
        self.redis.close()


PEERS = {"relay": Relay, "seed": Seed, "sluiced": Sluiced}
FLOOR, OURS = "relay", "sluiced"
BUDGET_MIB = MEMORY_MIB + 20
REREAD_BYTES = LANES * PART_MIB * MIB
