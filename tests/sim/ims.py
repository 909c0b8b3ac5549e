# SPDX-License-Identifier: Apache-2.0
"""The token service: OAuth server-to-server, and the legacy exchange of a signed assertion."""
import base64
import binascii
import json
import subprocess
import tempfile
import time
import uuid

from aiohttp import web

from gateway import Refused


def ims_error(error, description, status=400):
    """The token service's shape of an error."""
    return Refused(status, {"error": error, "error_description": description})


def encode(part):
    """Base64 for URLs of an object."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def decode(text):
    """The bytes of one part of a JWT."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def signature_fits(public_key, text, signature):
    """RS256, by the openssl program."""
    with (tempfile.NamedTemporaryFile() as key, tempfile.NamedTemporaryFile() as proof):
        for file, content in (key, public_key.encode()), (proof, signature):
            file.write(content)
            file.flush()
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", key.name, "-signature",
                               proof.name], input=text.encode(), capture_output=True, check=False)
    return done.returncode == 0


class Ims:
    """Tokens for the one credential of the world."""

    def __init__(self, state):
        self.state = state
        self.issued_at = 0.0

    def routes(self):
        """Current, older and legacy."""
        return [web.post("/ims/token/v3", self.token, name="ims"),
                web.post("/ims/token/v2", self.token, name="ims_v2"),
                web.post("/ims/exchange/jwt", self.exchange, name="ims_jwt"),
                web.post("/ims/exchange/jwt/", self.exchange, name="ims_jwt_slash")]

    def setting(self, name):
        """One of gateway.IMS_SETTINGS."""
        return self.state.settings[name]

    def check_client(self, fields):
        """The id, and one of the secrets that live."""
        secrets = self.setting("secrets") or self.state.world.secrets
        if fields.get("client_id") != self.state.world.client_id:
            raise ims_error("invalid_client", "invalid client_id parameter")
        if fields.get("client_secret") not in secrets:
            raise ims_error("invalid_client", "invalid client_secret parameter", 401)

    def check_scopes(self, asked):
        """What is asked for must be what the credential owns."""
        owned = self.setting("scopes")
        if not asked:
            raise ims_error("invalid_scope", "scope is missing")
        unknown = set(asked.split(",")) - set(owned.split(","))
        if owned and unknown:
            raise ims_error("invalid_scope", f"Invalid scope: {','.join(sorted(unknown))}")

    async def token(self, request):
        """OAuth server-to-server: parameters in the form or in the query."""
        fields = dict(request.query) | dict(await request.post())
        if fields.get("grant_type") != "client_credentials":
            raise ims_error("unsupported_grant_type", "grant_type must be client_credentials")
        if not fields.get("scope"):
            raise ims_error("invalid_scope", "scope is missing")
        self.check_client(fields)
        self.check_scopes(fields["scope"])
        return self.issue(request, 1)

    async def exchange(self, request):
        """The legacy exchange: form or multipart; a life in milliseconds."""
        fields = dict(await request.post())
        self.check_client(fields)
        self.check_assertion(str(request.url.origin()), fields.get("jwt_token", ""))
        return self.issue(request, 1000)

    def check_assertion(self, origin, token):
        """Signature and claims."""
        head, _, signature = token.rpartition(".")
        world, account = self.state.world, self.setting("technical_account")
        try:
            header, claims = (json.loads(decode(part)) for part in head.split("."))
            proof = decode(signature)
        except (ValueError, binascii.Error):
            raise ims_error("invalid_token", "the JWT is malformed") from None
        wanted = {"iss": world.org, "sub": account, "aud": f"{origin}/c/{world.client_id}",
                  f"{origin}/s/ent_dataservices_sdk": True}
        wrong = [name for name, value in wanted.items() if claims.get(name) != value]
        if header.get("alg") != "RS256" or wrong:
            raise ims_error("invalid_token", f"wrong in the JWT: {wrong or 'alg'}")
        if not time.time() < claims.get("exp", 0) < time.time() + 86400 * 3:
            raise ims_error("invalid_token", "the JWT has expired")
        if not signature_fits(self.setting("public_key"), head, proof):
            raise ims_error("invalid_token", "Could not match JWT signature to any of the bindings")

    def issue(self, request, unit):
        """The answer with a new token; `unit`s of its life in a second."""
        now = time.monotonic()
        if now < self.issued_at + self.setting("token_gap_ms") / 1000:
            raise Refused(429, {"error_code": "429050", "message": "Too many requests"})
        self.issued_at = now
        life = says = self.setting("token_ttl")
        fault = self.state.faults.hit("expired_token", request["endpoint"], request["target"])
        if fault:
            life = fault.args["seconds"]
            says = fault.args["says"] or life
        token = self.new_token(says)
        self.state.tokens[token] = time.time() + life
        return web.json_response({"access_token": token, "token_type": "bearer",
                                  "expires_in": says * unit})

    def new_token(self, seconds):
        """Three parts with dots between, as a real one; only the middle means anything."""
        payload = {"id": uuid.uuid4().hex, "type": "access_token", "as": "ims-na1",
                   "client_id": self.state.world.client_id,
                   "created_at": str(int(time.time() * 1000)),
                   "expires_in": str(seconds * 1000)}
        return ".".join(encode(part) for part in
                        ({"alg": "RS256"}, payload, {"signature": "none"}))
