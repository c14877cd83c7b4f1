"""Tokens for client credentials (RFC 6749, 4.4) at /auth/token, and whom a token stands for.

Tokens are random and kept by their hash only, so that neither the database nor its backup opens anything. Secrets are
checked by scrypt, one at a time in a thread: whoever guesses costs us no more than that thread.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, unquote_plus

from protocols.object_store import Asked, ObjectStore, StoredObject
from protocols.openadr3 import model_access
from protocols.openadr3.codec import encode
from protocols.openadr3.names import Version
from protocols.openadr3.vtn_access import Caller, Client
from protocols.openadr3.vtn_answers import Answer, Refused, Request

MOST_FAILURES = 10
FAILURES_WITHIN = timedelta(minutes=1)
MOST_TOKENS = 50
"""Of one client at a time; the oldest goes for a new one."""

_KIND = "TOKEN"
_FORM = "application/x-www-form-urlencoded"
_MOST_WATCHED = 4096
_MOST_WAITING = 16
_COST = {"n": 1 << 14, "r": 8, "p": 1}
_NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_ASK_FOR_BEARER = {"WWW-Authenticate": "Bearer"}


def hash_secret(secret: str) -> str:
    """A client's secret as it is declared: ``scrypt$SALT$HASH`` in hexadecimal digits."""
    salt = secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${_scrypt(secret, salt).hex()}"


def _scrypt(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, **_COST)


def _matches(secret: str, hashed: str) -> bool:
    scheme, _, rest = hashed.partition("$")
    salt, _, wanted = rest.partition("$")
    try:
        return scheme == "scrypt" and hmac.compare_digest(_scrypt(secret, bytes.fromhex(salt)), bytes.fromhex(wanted))
    except ValueError:
        return False


_NOBODY = hash_secret(secrets.token_hex())


class Tokens:
    """Tokens of the clients of one VTN, good for ``lifetime_s`` seconds each."""

    def __init__(
        self,
        *,
        connection_id: str,
        clients: Sequence[Client],
        store: ObjectStore,
        now: Callable[[], datetime],
        lifetime_s: int = 3600,
    ) -> None:
        self._connection_id = connection_id
        self._clients: Mapping[str, Client] = {client.client_id: client for client in clients}
        self._store = store
        self._now = now
        self._lifetime_s = lifetime_s
        self._checking = asyncio.Lock()
        self._waiting = 0
        self._failures: OrderedDict[tuple[str, str], list[datetime]] = OrderedDict()
        self._known: dict[str, StoredObject] = {}

    async def answer(self, request: Request) -> Answer:
        """The answer to a request for a token."""
        try:
            asked = _credentials(request)
            client = await self._client(asked, request.peer)
            scopes = _scopes(asked.scope, client)
        except _NoToken as fault:
            return _error(fault)
        token = secrets.token_urlsafe(32)
        await self._keep(token, client, scopes)
        given = model_access.Token(
            access_token=token, expires_in_s=self._lifetime_s, scope=" ".join(sorted(scopes)) or None
        )
        return Answer(status=200, body=encode(given, Version.V3_1), headers=_NOT_STORED)

    async def caller(self, authorization: str | None) -> Caller:
        """Who sends this header. Raises ``Refused`` (401) for a token that is not ours, or no longer good."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(401, "send Authorization: Bearer and a token from /auth/token", headers=_ASK_FOR_BEARER)
        held = await self._held(_digest(token.strip()))
        client = None if held is None else self._clients.get(held.owner)
        if held is None or client is None or held.modified_at <= self._now():
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise Refused(401, "this token is not known or has expired: ask /auth/token for another", headers=headers)
        return Caller(client_id=client.client_id, role=client.role, scopes=client.granted & set(held.name.split()))

    async def _held(self, digest: str) -> StoredObject | None:
        if digest not in self._known:
            found = await self._store.objects(self._connection_id, Asked(kind=_KIND, object_id=digest))
            if not found:
                return None
            self._known[digest] = found[0]
        return self._known[digest]

    async def _keep(self, token: str, client: Client, scopes: frozenset[str]) -> None:
        now = self._now()
        earlier = await self._store.objects(self._connection_id, Asked(kind=_KIND, owner=client.client_id))
        live = [held for held in earlier if held.modified_at > now]
        gone = [held for held in earlier if held.modified_at <= now] + live[: max(0, len(live) + 1 - MOST_TOKENS)]
        held = StoredObject(
            kind=_KIND,
            object_id=_digest(token),
            owner=client.client_id,
            name=" ".join(sorted(scopes)),
            created_at=now,
            modified_at=now + timedelta(seconds=self._lifetime_s),
            body="{}",
        )
        await self._store.change(
            self._connection_id, kept=[held], gone=[(_KIND, outdated.object_id) for outdated in gone]
        )
        for outdated in gone:
            self._known.pop(outdated.object_id, None)
        self._known[held.object_id] = held

    async def _client(self, asked: model_access.TokenRequest, peer: str) -> Client:
        now = self._now()
        watched = (peer, asked.client_id[:128])
        recent = [at for at in self._failures.get(watched, ()) if at > now - FAILURES_WITHIN]
        if len(recent) >= MOST_FAILURES or self._waiting >= _MOST_WAITING:
            headers = {"Retry-After": str(round(FAILURES_WITHIN.total_seconds()))}
            raise Refused(429, "too many requests for tokens: wait a minute and check the credentials", headers=headers)
        client = self._clients.get(asked.client_id)
        hashed = _NOBODY if client is None else client.secret_hash
        self._waiting += 1
        try:
            async with self._checking:
                right = await asyncio.to_thread(_matches, asked.client_secret, hashed)
        finally:
            self._waiting -= 1
        if client is not None and right:
            self._failures.pop(watched, None)
            return client
        self._failures[watched] = [*recent, now]
        self._failures.move_to_end(watched)
        while len(self._failures) > _MOST_WATCHED:
            self._failures.popitem(last=False)
        raise _NoToken("invalid_client", "no client with this id and this secret")


class _NoToken(Exception):
    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _error(fault: _NoToken) -> Answer:
    """An error of RFC 6749, 5.2, which is a problem of the definition's too."""
    status = 401 if fault.error == "invalid_client" else 400
    said = {"error": fault.error, "error_description": fault.detail}
    body = {**said, "title": fault.error, "status": status, "detail": fault.detail}
    basic = {"WWW-Authenticate": 'Basic realm="token"'} if status == 401 else {}
    return Answer(status=status, body=json.dumps(body).encode(), headers={**_NOT_STORED, **basic})


def _scopes(wanted: str | None, client: Client) -> frozenset[str]:
    """What of the scopes that are wanted the client may have: all it may have, where it names none."""
    asked = frozenset((wanted or "").split())
    given = client.granted & asked if asked else client.granted
    if asked and not given:
        raise _NoToken("invalid_scope", f"this client may ask for: {' '.join(sorted(client.granted))}")
    return given


def _credentials(request: Request) -> model_access.TokenRequest:
    """Credentials in the body or by HTTP Basic (RFC 6749, 2.3.1), not in both ways at once."""
    if request.content_type.partition(";")[0].strip().lower() not in {_FORM, ""}:
        raise _NoToken("invalid_request", f"send the request as {_FORM}")
    try:
        pairs = parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=32, errors="strict")
    except ValueError as cause:
        raise _NoToken("invalid_request", "the body is no form in UTF-8") from cause
    form = dict(pairs)
    if len(form) < len(pairs):
        raise _NoToken("invalid_request", "a field of the form stands twice")
    if form.get("grant_type") != "client_credentials":
        kind = "unsupported_grant_type" if form.get("grant_type") else "invalid_request"
        raise _NoToken(kind, "grant_type must be client_credentials")
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    if request.authorization is not None:
        basic_id, basic_secret = _basic(request.authorization)
        if secret or client_id not in {"", basic_id}:
            raise _NoToken("invalid_request", "send the credentials in the header or in the form, not in both")
        client_id, secret = basic_id, basic_secret
    if not client_id or not secret or max(len(client_id), len(secret), len(form.get("scope", ""))) > 4096:
        raise _NoToken("invalid_request", "send client_id and client_secret, each of 1 to 4096 characters")
    return model_access.TokenRequest(client_id=client_id, client_secret=secret, scope=form.get("scope"))


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        if not colon:
            raise ValueError(encoded)
    except (ValueError, binascii.Error) as cause:
        raise _NoToken("invalid_client", "the Authorization header is no HTTP Basic with id and secret") from cause
    return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
