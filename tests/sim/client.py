# SPDX-License-Identifier: Apache-2.0
"""A client of the simulator in a few lines, for its own tests and for experiments."""
import urllib.parse

import requests

BATCHES = "/data/foundation/catalog/batches"
EXPORT = "/data/foundation/export"


class Client:
    """A client that sends what the platform demands."""

    def __init__(self, sim):
        self.sim = sim
        self.session = requests.Session()
        self.headers = {"x-api-key": sim.world.client_id, "x-gw-ims-org-id": sim.world.org,
                        "x-sandbox-name": "prod", "Authorization": f"Bearer {self.token()}"}

    def ims(self, version="v3", **changes):
        """The answer to a token request."""
        world = self.sim.world
        fields = {"grant_type": "client_credentials", "client_id": world.client_id,
                  "client_secret": world.secrets[0], "scope": "openid"} | changes
        where = {"data": fields} if version == "v3" else {"params": fields}
        return self.session.post(f"{self.sim.endpoint}/ims/token/{version}", **where)

    def token(self, **changes):
        """A new access token."""
        return self.ims(**changes).json()["access_token"]

    def get(self, path, params=None, headers=None, method="GET"):
        """One call; a header of value None is left out."""
        return self.session.request(method, self.sim.endpoint + path, params=params,
                                    headers=self.headers | (headers or {}), timeout=10)

    def batches(self, **params):
        """The keyed object of a Catalog list."""
        answer = self.get(BATCHES, params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def rows(self, path, **params):
        """All rows of a Data Access listing, by its next links; also the number of pages."""
        rows, pages = [], 0
        while True:
            body = self.get(path, params).json()
            rows, pages = rows + body["data"], pages + 1
            following = body.get("_links", {}).get("next")
            if not following:
                return rows, pages
            query = urllib.parse.urlsplit(following["href"]).query
            params = dict(urllib.parse.parse_qsl(query))

    def read(self, batch, number=0, span=None, method="GET"):
        """The content of a file of a batch, or a range of it."""
        file_id, file = list(batch.rows())[number]
        headers = {"Range": f"bytes={span[0]}-{span[1]}"} if span else None
        return self.get(f"{EXPORT}/files/{urllib.parse.quote(file_id, safe='')}",
                        {"path": file.name}, headers, method)
