"""What stands around the objects: tokens, errors, and by which ways a VTN tells its clients of changes."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """Client credentials for a token (RFC 6749, 4.4). The secret is not shown in logs."""

    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token, good for ``expires_in_s`` seconds where that is said. Not shown in logs."""

    access_token: str = field(repr=False)
    token_type: str = "Bearer"  # noqa: S105 - a type, not a token
    expires_in_s: int | None = None
    refresh_token: str | None = field(default=None, repr=False)
    scope: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthError:
    """Why there is no token; ``error`` is a word of RFC 6749, 5.2."""

    error: str
    description: str | None = None
    uri: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthServer:
    """Where tokens are to be had (3.1 only)."""

    token_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a request failed (RFC 7807); ``status`` is the HTTP status."""

    type: str | None = None
    title: str | None = None
    status: int | None = None
    detail: str | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anonymous:
    """A broker that asks for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerToken:
    """A broker that takes the token as password; ``{clientID}`` as user name stands for the client's own id."""

    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A broker that asks for a certificate, and what to show it, in PEM. The key is not shown in logs."""

    ca_certificate: str
    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mqtt:
    """Where and how a VTN's MQTT broker is reached."""

    uris: tuple[str, ...]
    authentication: Anonymous | BearerToken | ClientCertificate
    serialization: str = "JSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifiers:
    """By which ways a VTN tells of changes (3.1 only)."""

    webhook: bool
    mqtt: Mqtt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The topics on which operations are told; no ``create`` for a single object, ``all`` where there is such a one."""

    update: str
    delete: str
    create: str | None = None
    all: str | None = None
