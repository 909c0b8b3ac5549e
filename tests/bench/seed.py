# SPDX-License-Identifier: Apache-2.0
"""The usual script as a peer: requests and boto3 in a thread pool.

Lists batches, then files, and streams each file through upload_fileobj. It tracks nothing and
verifies nothing, which is in its favour here.
"""
import argparse
from concurrent.futures import ThreadPoolExecutor

import boto3
import requests
from botocore.config import Config
from requests.adapters import HTTPAdapter

HEADERS = {"Authorization": "Bearer bench.bench.bench", "x-api-key": "bench",
           "x-gw-ims-org-id": "bench@AdobeOrg", "x-sandbox-name": "prod"}
PAGE = 100


class Seed:
    """One session and one S3 client, shared by all threads."""

    def __init__(self, args):
        self.api = args.source + "/data/foundation"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update(HEADERS)
        self.session.verify = args.ca or True
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(pool_maxsize=args.threads))
        self.s3 = boto3.client(
            "s3", endpoint_url=args.sink, verify=args.ca, region_name="us-east-1",
            aws_access_key_id="bench", aws_secret_access_key="bench-secret",
            config=Config(max_pool_connections=max(10, args.threads), proxies={},
                          s3={"addressing_style": "path"}))

    def get(self, path, **params):
        """The JSON answer of one call."""
        answer = self.session.get(self.api + path, params=params)
        answer.raise_for_status()
        return answer.json()

    def batches(self, dataset):
        """All batch ids, page by page."""
        start, page = 0, True
        while page:
            page = self.get("/catalog/batches", dataSet=dataset, limit=PAGE, start=start)
            yield from page
            start += PAGE

    def files(self, batch):
        """The dataset files of a batch."""
        rows = self.get(f"/export/batches/{batch}/files")["data"]
        return [row["dataSetFileId"] for row in rows]

    def copy(self, file_id):
        """Everything that one dataset file holds."""
        for row in self.get(f"/export/files/{file_id}")["data"]:
            url = f"{self.api}/export/files/{file_id}"
            with self.session.get(url, params={"path": row["name"]}, stream=True) as answer:
                answer.raise_for_status()
                self.s3.upload_fileobj(answer.raw, "bench", f"seed/{file_id}-{row['name']}")


def main():
    """Copies the dataset, or dies of the first error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--sink", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--ca")
    args = parser.parse_args()
    seed = Seed(args)
    with ThreadPoolExecutor(args.threads) as pool:
        batches = list(seed.batches(args.dataset))
        files = [f for group in pool.map(seed.files, batches) for f in group]
        for _ in pool.map(seed.copy, files):
            pass


if __name__ == "__main__":
    main()
