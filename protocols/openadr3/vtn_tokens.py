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
_LONGEST = 4096
_NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_ASK_FOR_BEARER = {"WWW-Authenticate": "Bearer"}


def hash_secret(secret: str, *, cost: int = 1 << 14) -> str:
    """A client's secret as it is declared: ``scrypt$COST$SALT$HASH``, salt and hash in hexadecimal digits.

    ``cost`` is a power of two; each doubling doubles time and memory (16 MiB and some 50 ms at the default).
    """
    salt = secrets.token_bytes(16)
    return f"scrypt${cost}${salt.hex()}${_scrypt(secret, salt, cost).hex()}"


def _scrypt(secret: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=cost, r=8, p=1)


def _matches(secret: str, hashed: str) -> bool:
    scheme, _, rest = hashed.partition("$")
    try:
        cost, salt, wanted = rest.split("$")
        found = _scrypt(secret, bytes.fromhex(salt), int(cost))
        return scheme == "scrypt" and hmac.compare_digest(found, bytes.fromhex(wanted))
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
            ways = _credentials(request)
            client = await self._client(ways, request.peer)
            scopes = _scopes(ways[0].scope, client)
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

    async def _client(self, ways: Sequence[model_access.TokenRequest], peer: str) -> Client:
        watched = (peer, ways[0].client_id[:128])
        self._count(watched)
        self._waiting += 1
        try:
            async with self._checking:
                found = [client for asked in ways if (client := await self._proven(asked)) is not None]
        finally:
            self._waiting -= 1
        if not found:
            raise _NoToken("invalid_client", "no client with this id and this secret")
        self._failures.pop(watched, None)
        return found[0]

    def _count(self, watched: tuple[str, str]) -> None:
        """Count an attempt as failed until it has succeeded, so that guesses made at once are counted all."""
        now = self._now()
        recent = [at for at in self._failures.get(watched, ()) if at > now - FAILURES_WITHIN]
        if len(recent) >= MOST_FAILURES or self._waiting >= _MOST_WAITING:
            headers = {"Retry-After": str(round(FAILURES_WITHIN.total_seconds()))}
            raise Refused(429, "too many requests for tokens: wait a minute and check the credentials", headers=headers)
        self._failures[watched] = [*recent, now]
        self._failures.move_to_end(watched)
        while len(self._failures) > _MOST_WATCHED:
            self._failures.popitem(last=False)

    async def _proven(self, asked: model_access.TokenRequest) -> Client | None:
        client = self._clients.get(asked.client_id)
        # An id that is not known takes as long as a secret that is wrong.
        hashed = _NOBODY if client is None else client.secret_hash
        return client if await asyncio.to_thread(_matches, asked.client_secret, hashed) else None


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


def _credentials(request: Request) -> tuple[model_access.TokenRequest, ...]:
    """Credentials in the body or by HTTP Basic (RFC 6749, 2.3.1), not in both; in each way that they can be meant."""
    form = _form(request)
    if form.get("grant_type") != "client_credentials":
        kind = "unsupported_grant_type" if form.get("grant_type") else "invalid_request"
        raise _NoToken(kind, "grant_type must be client_credentials")
    client_id, secret, scope = form.get("client_id", ""), form.get("client_secret", ""), form.get("scope")
    if max(len(client_id), len(secret), len(scope or "")) > _LONGEST:
        raise _NoToken("invalid_request", f"a field of the form is over {_LONGEST} characters")
    meant = ((client_id, secret),) if request.authorization is None else _basic(request.authorization)
    if request.authorization is not None and (secret or client_id not in {"", *(name for name, _ in meant)}):
        raise _NoToken("invalid_request", "send the credentials in the header or in the form, not in both")
    if not all(name and word for name, word in meant):
        raise _NoToken("invalid_request", "send client_id and client_secret")
    return tuple(model_access.TokenRequest(client_id=name, client_secret=word, scope=scope) for name, word in meant)


def _form(request: Request) -> dict[str, str]:
    if request.content_type.partition(";")[0].strip().lower() not in {_FORM, ""}:
        raise _NoToken("invalid_request", f"send the request as {_FORM}")
    try:
        pairs = parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=32, errors="strict")
    except ValueError as cause:
        raise _NoToken("invalid_request", "the body is no form in UTF-8") from cause
    form = dict(pairs)
    if len(form) < len(pairs):
        raise _NoToken("invalid_request", "a field of the form stands twice")
    return form


def _basic(authorization: str) -> tuple[tuple[str, str], ...]:
    """Id and secret of the header. The RFC has them encoded as in a form, and most clients send them as they are."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        if scheme.lower() != "basic" or len(encoded) > 4 * _LONGEST:
            raise ValueError(scheme)
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        if not colon:
            raise ValueError(encoded)
        decoded = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (ValueError, binascii.Error) as cause:
        raise _NoToken("invalid_client", "the Authorization header is no HTTP Basic with id and secret") from cause
    return tuple(dict.fromkeys(((client_id, secret), decoded)))
