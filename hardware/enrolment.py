"""Taking hosts into the fleet: one-time tokens, certificates, who is enrolled, and what the NATS server is told of it.

All of it lies in one folder that the gateway and its commands share, each change under a lock and written whole:

    ca.pem ca.key            the fleet's authority
    gateway.pem gateway.key  this gateway's own certificate
    server.pem server.key    for the NATS server and the enrolment listener
    registry.json            hosts that are enrolled, and tokens by their hashes
    nats-users.conf          users and permissions, included by the NATS server's configuration
    reload-owed              there while the NATS server has not read the last change of users or certificates
"""

import fcntl
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import structlog
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from hardware.errors import EnrolmentRefused, HardwareError
from hardware.fleet_ca import FleetCa, subject_of_agent, subject_of_gateway, validity, write_private
from hardware.nats_names import (
    WHAT_A_NAME_IS,
    agent_may_publish,
    agent_may_subscribe,
    gateway_may_publish,
    gateway_may_subscribe,
    is_name,
)
from hardware.passport import Token

log = structlog.get_logger()

TOKEN_S = 3600.0
MOST_ATTEMPTS = 5
"""A token at which so many wrong secrets were tried is void: 256 random bits do not need more patience."""

MOST_HOSTS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledHost:
    """A host whose agent may connect. ``certificate_ends_at`` is when the one issued last ends."""

    host_id: str
    generation: int
    enrolled_at: AwareDatetime
    certificate_ends_at: AwareDatetime


@dataclass(slots=True, kw_only=True)
class _Pending:
    """A token as it is kept: by its hash."""

    secret_sha256: str
    expires_at: AwareDatetime
    attempts: int = 0
    used: bool = False


@dataclass(slots=True, kw_only=True)
class _Registry:
    hosts: dict[str, EnrolledHost] = field(default_factory=dict)
    tokens: dict[str, _Pending] = field(default_factory=dict)
    # Kept for hosts that were removed, too: their old certificates must not come to life again.
    generations: dict[str, int] = field(default_factory=dict)
    version: int = 1


_REGISTRY = TypeAdapter(_Registry)


class Enrolment:
    """The folder's keeper. Blocking, for short. Raises ``OSError`` where the folder cannot be used."""

    def __init__(self, folder: Path, *, site_id: str, now: datetime, certificate_days: int = 90) -> None:
        self._folder = folder
        self._site_id = site_id
        self._days = certificate_days
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked():
            self._ca = FleetCa(folder, site_id=site_id, now=now)
        self._seen: tuple[int, int] | None = None
        self._hosts: Mapping[str, EnrolledHost] = {}

    @property
    def ca_pem(self) -> bytes:
        """The authority's certificate."""
        return self._ca.certificate_pem

    def hosts(self) -> Mapping[str, EnrolledHost]:
        """The hosts that are enrolled; read again only where somebody changed the registry.

        As last known where it cannot be read: the fleet goes on, and the log says what to do.
        """
        try:
            found = self._registry_path.stat()
        except FileNotFoundError:
            return {}
        if self._seen != (found.st_mtime_ns, found.st_ino):
            self._seen = (found.st_mtime_ns, found.st_ino)
            try:
                self._hosts = MappingProxyType(self._load().hosts)
            except (HardwareError, OSError) as fault:
                log.error("registry_not_read", reason=str(fault), hosts_known=len(self._hosts))
        return self._hosts

    def keep_certificates(self, *, server_names: Sequence[str], now: datetime) -> bool:
        """Have the gateway's and the servers' certificates, and the users file; whether the NATS server must reload."""
        with self._locked():
            self._ca.keep_gateway(self._folder, now=now, days=self._days)
            if self._ca.keep_server(self._folder, names=server_names, now=now, days=self._days):
                self._owe_reload()
            self._write_users(self._load())
        return self.reload_owed() is not None

    def reload_owed(self) -> str | None:
        """Which change the NATS server has still to read, ``None`` for none. Outlives us."""
        try:
            return self._owed_path.read_text()
        except FileNotFoundError:
            return None

    def reloaded(self, owed: str) -> None:
        """The NATS server has read this change; a later one stays owed."""
        with self._locked():
            if self.reload_owed() == owed:
                self._owed_path.unlink()

    def new_token(self, host_id: str, *, url: str, now: datetime, lasts_s: float = TOKEN_S) -> Token:
        """A token by which this host can enrol once; an earlier one of it is void. Raises ``EnrolmentRefused``."""
        if not is_name(host_id):
            raise EnrolmentRefused(f"{host_id!r} is no name for a host", cure=f"a name is {WHAT_A_NAME_IS}")
        secret = secrets.token_urlsafe(32)
        with self._changing() as registry:
            if len(registry.generations) >= MOST_HOSTS and host_id not in registry.generations:
                raise EnrolmentRefused(f"{MOST_HOSTS} hosts are as many as one gateway takes")
            registry.tokens = {
                key: one for key, one in registry.tokens.items() if one.expires_at > now and not one.used
            }
            registry.tokens[host_id] = _Pending(
                secret_sha256=_hash(secret), expires_at=now + timedelta(seconds=lasts_s)
            )
        return Token(host_id=host_id, url=url, ca_sha256=self._ca.fingerprint, secret=secret)

    def enrol(self, *, host_id: str, secret: str, csr_pem: bytes, now: datetime) -> bytes:
        """Redeem a token: the host's certificate as PEM. Raises ``EnrolmentRefused``, which names the cure."""
        with self._changing() as registry:
            refusal = _refusal(registry.tokens.get(host_id), secret, host_id, now)
        # Outside, so that a wrong attempt is kept, too.
        if refusal is not None:
            raise refusal
        with self._changing() as registry:
            pending = registry.tokens.get(host_id)
            if pending is None or pending.used or pending.secret_sha256 != _hash(secret):
                raise _used(host_id)
            generation = registry.generations.get(host_id, 0) + 1
            certificate = self._ca.sign_agent(csr_pem, host_id=host_id, generation=generation, now=now, days=self._days)
            pending.used = True
            registry.generations[host_id] = generation
            registry.hosts[host_id] = EnrolledHost(
                host_id=host_id, generation=generation, enrolled_at=now, certificate_ends_at=validity(certificate)[1]
            )
            self._write_users(registry)
        return certificate

    def renew(self, *, subject: str, csr_pem: bytes, now: datetime) -> bytes:
        """A new certificate for a host whose present one has this name, ``CN=...,OU=...,O=...``.

        Raises ``EnrolmentRefused`` where it is not enrolled under that name.
        """
        host_id = subject.partition(",")[0].removeprefix("CN=")
        with self._changing() as registry:
            known = registry.hosts.get(host_id)
            if known is None or subject != subject_of_agent(self._site_id, host_id, known.generation):
                raise EnrolmentRefused(
                    f"host {host_id!r} is not enrolled any more, or was enrolled anew", cure=_enrol_again(host_id)
                )
            certificate = self._ca.sign_agent(
                csr_pem, host_id=host_id, generation=known.generation, now=now, days=self._days
            )
            registry.hosts[host_id] = EnrolledHost(
                host_id=host_id,
                generation=known.generation,
                enrolled_at=known.enrolled_at,
                certificate_ends_at=validity(certificate)[1],
            )
        return certificate

    def remove(self, host_id: str) -> None:
        """Let a host go: its certificate opens nothing any more. Raises ``EnrolmentRefused`` for an unknown one."""
        with self._changing() as registry:
            token = registry.tokens.pop(host_id, None)
            if registry.hosts.pop(host_id, None) is None and token is None:
                raise EnrolmentRefused(f"host {host_id!r} is not enrolled", cure="see `gridgate asset list`")
            self._write_users(registry)

    @property
    def _owed_path(self) -> Path:
        return self._folder / "reload-owed"

    def _owe_reload(self) -> None:
        write_private(self._owed_path, secrets.token_hex(8).encode())

    @property
    def _registry_path(self) -> Path:
        return self._folder / "registry.json"

    def _load(self) -> _Registry:
        try:
            return _REGISTRY.validate_json(self._registry_path.read_bytes())
        except FileNotFoundError:
            return _Registry()
        except ValidationError as cause:
            raise HardwareError(
                f"{self._registry_path} cannot be read: {cause.error_count()} errors",
                cure="put it back from a backup, or remove it and enrol every host again",
            ) from cause

    @contextmanager
    def _changing(self) -> Iterator[_Registry]:
        """The registry, to change; written back whole at the end unless something is raised."""
        with self._locked():
            registry = self._load()
            before = _REGISTRY.dump_json(registry, indent=1)
            yield registry
            after = _REGISTRY.dump_json(registry, indent=1)
            # Whoever guesses at hosts that have no token keeps no disk busy.
            if after != before:
                write_private(self._registry_path, after)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write_users(self, registry: _Registry) -> None:
        """Tell the NATS server who there is; where that is news, it is to be had read."""
        site_id = self._site_id
        users = [_user(subject_of_gateway(site_id), gateway_may_publish(site_id), gateway_may_subscribe(site_id))]
        users += [
            _user(
                subject_of_agent(site_id, host.host_id, host.generation),
                agent_may_publish(site_id, host.host_id),
                agent_may_subscribe(site_id, host.host_id),
            )
            for host in sorted(registry.hosts.values(), key=lambda one: one.host_id)
        ]
        content = ("users = [\n" + "".join(users) + "]\n").encode()
        path = self._folder / "nats-users.conf"
        if path.exists() and path.read_bytes() == content:
            return
        # First what is owed: if we die in between, the server reads once too often.
        self._owe_reload()
        write_private(path, content)


def _user(subject: str, publish: Sequence[str], subscribe: Sequence[str]) -> str:
    def quoted(subjects: Sequence[str]) -> str:
        return ", ".join(f'"{one}"' for one in subjects)

    allowed = f"publish = {{allow = [{quoted(publish)}]}}, subscribe = {{allow = [{quoted(subscribe)}]}}"
    return f'  {{user = "{subject}", permissions = {{{allowed}}}}}\n'


def _refusal(pending: _Pending | None, secret: str, host_id: str, now: datetime) -> EnrolmentRefused | None:
    """Why a token is not taken; notes an attempt that was wrong."""
    given, kept = _hash(secret), "" if pending is None else pending.secret_sha256
    right = hmac.compare_digest(given, kept)
    if pending is None:
        return EnrolmentRefused(f"there is no token for host {host_id!r}", cure=_enrol_again(host_id))
    if pending.attempts >= MOST_ATTEMPTS:
        return EnrolmentRefused(
            f"the token of {host_id!r} is void: wrong ones were tried too often", cure=_enrol_again(host_id)
        )
    if not right:
        pending.attempts += 1
        return EnrolmentRefused(
            f"this is not the token of host {host_id!r}",
            cure=f"it may be another host's, or an earlier one; {_enrol_again(host_id)}",
        )
    if pending.used:
        return _used(host_id)
    if now >= pending.expires_at:
        return EnrolmentRefused(
            f"the token of {host_id!r} ended at {pending.expires_at:%Y-%m-%d %H:%M:%S} UTC", cure=_enrol_again(host_id)
        )
    return None


def _used(host_id: str) -> EnrolmentRefused:
    return EnrolmentRefused(
        f"the token of {host_id!r} was used before",
        cure=f"if that was not you, run `gridgate asset remove {host_id}`; {_enrol_again(host_id)}",
    )


def _enrol_again(host_id: str) -> str:
    return f"run `gridgate asset enrol {host_id}` on the gateway for a new token"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
