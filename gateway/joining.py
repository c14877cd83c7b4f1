"""Hosts join the fleet: the gateway's authority and its listener, and this host's own part in a fleet elsewhere.

Imports what is of the extra ``fleet`` only where it is used.
"""

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.config import AgentsSettings, Settings
from gateway.tls import client_context, server_context
from hardware.errors import EnrolmentRefused, HardwareError

log = structlog.get_logger()

RELOAD_S = 10.0
LOOK_AGAIN = timedelta(minutes=1)
LOOK = timedelta(hours=1)
"""How often the gateway looks at the age of its own certificates."""


def fleet_folder(settings: Settings) -> Path:
    """Where the gateway keeps its authority, and what the NATS server reads."""
    return settings.gateway.state_dir / "fleet"


def open_enrolment(settings: Settings, agents: AgentsSettings) -> Any:
    """The gateway's authority (``hardware.enrolment.Enrolment``). Raises ``OSError`` and ``HardwareError``."""
    from hardware.enrolment import Enrolment

    return Enrolment(
        fleet_folder(settings),
        site_id=settings.site.id,
        now=datetime.now(UTC),
        certificate_days=agents.certificate_days,
    )


def nats_hosts(settings: Settings, agents: AgentsSettings, enrolment: Any) -> Any:
    """The agents of all enrolled hosts (``hardware.nats_link.NatsHosts``)."""
    from hardware.nats_link import NatsHosts

    folder = fleet_folder(settings)

    def tls() -> ssl.SSLContext:
        return client_context(ca=folder / "ca.pem", certificate=folder / "gateway.pem", key=folder / "gateway.key")

    return NatsHosts(
        site_id=settings.site.id,
        servers=agents.servers,
        enrolled=enrolment.hosts,
        tls=tls,
        timeout_s=agents.timeout_s,
    )


async def reload_server(agents: AgentsSettings, enrolment: Any) -> None:
    """Have the NATS server read users and certificates anew, if it has not read the last change.

    Raises ``HardwareError`` where the command fails: then the change stays owed, and the gateway tries again.
    """
    owed = await asyncio.to_thread(enrolment.reload_owed)
    if owed is None:
        return
    if agents.reload:
        await _reload(agents)
    await asyncio.to_thread(enrolment.reloaded, owed)


async def _reload(agents: AgentsSettings) -> None:
    try:
        done = await asyncio.to_thread(_ran, agents.reload)
    except (OSError, subprocess.TimeoutExpired) as cause:
        raise HardwareError(f"the reload command does not run: {cause}", cure=_RELOAD_CURE) from cause
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-200:]
        raise HardwareError(f"the reload command ended with {done.returncode}: {said}", cure=_RELOAD_CURE)


_RELOAD_CURE = (
    "see reload in [[hardware]]; until the NATS server has read its users anew a new host cannot connect, and a removed"
    " one is not let go; the gateway runs the command again each minute"
)


def _ran(command: Sequence[str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(list(command), capture_output=True, timeout=RELOAD_S, check=False)  # noqa: S603 - as declared


class Certificates:
    """Keeps the gateway's and the servers' certificates from ending, and shows new ones at the listener."""

    def __init__(self, *, settings: Settings, agents: AgentsSettings, enrolment: Any, clock: Clock) -> None:
        self._agents = agents
        self._enrolment = enrolment
        self._clock = clock
        self._folder = fleet_folder(settings)
        self._context: ssl.SSLContext | None = None

    async def keep(self) -> None:
        """Look at them once. Raises ``OSError`` and ``HardwareError``."""
        changed = await asyncio.to_thread(
            self._enrolment.keep_certificates, server_names=self._agents.server_names, now=self._clock.now()
        )
        if not changed:
            return
        log.info("fleet_files_written", folder=str(self._folder))
        if self._context is not None:
            # New connections see the new one; those that are open go on.
            self._context.load_cert_chain(str(self._folder / "server.pem"), str(self._folder / "server.key"))
        await reload_server(self._agents, self._enrolment)

    def listener_context(self) -> ssl.SSLContext:
        """The TLS context of the enrolment listener, kept up to date."""
        self._context = server_context(
            ca=self._folder / "ca.pem", certificate=self._folder / "server.pem", key=self._folder / "server.key"
        )
        return self._context

    def listener(self, settings: Settings) -> Any:
        """The enrolment listener's application."""
        from gateway.http.enrol import make_enrolment

        return make_enrolment(
            self._enrolment,
            site_id=settings.site.id,
            servers=self._agents.servers,
            now=self._clock.now,
            monotonic_s=time.monotonic,
            changed=lambda: reload_server(self._agents, self._enrolment),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Look at them again from time to time, until told to stop."""
        while not stop.is_set():
            try:
                await self.keep()
            except (OSError, HardwareError) as fault:
                log.warning("certificates_not_kept", reason=str(fault))
            # What another process changed is owed, too, and it may have failed there.
            until = self._clock.now() + LOOK
            while not stop.is_set() and self._clock.now() < until:
                await self._clock.wait(self._clock.now() + LOOK_AGAIN, stop)
                if await asyncio.to_thread(self._enrolment.reload_owed) is not None:
                    break


def host_id_of(settings: Settings) -> str:
    """How the fleet calls this host."""
    return settings.agent.host_id or socket.gethostname().partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCertificate:
    """What this host shows in the fleet, and from when to when (UTC) it counts."""

    host_id: str
    site_id: str
    servers: tuple[str, ...]
    from_at: datetime
    to_at: datetime


def certificate_of_this_host(settings: Settings) -> HostCertificate | None:
    """The certificate that this host was enrolled with, ``None`` before that.

    Raises ``EnrolmentRefused``, ``OSError`` or ``ValueError`` where it cannot be read.
    """
    from hardware.fleet_ca import validity
    from hardware.passport import Passport

    passport = Passport(_certificates(settings))
    membership = passport.membership()
    if membership is None:
        return None
    from_at, to_at = validity(passport.certificate_path.read_bytes())
    return HostCertificate(
        host_id=membership.host_id,
        site_id=membership.site_id,
        servers=membership.servers,
        from_at=from_at,
        to_at=to_at,
    )


def fleet_doors(settings: Settings, now_s: Callable[[], float]) -> list[Any]:
    """The doors by which a fleet elsewhere reaches this host's agent: one on NATS where it was enrolled, else none.

    Raises ``HardwareError``.
    """
    folder = _certificates(settings)
    if not (folder / "fleet.json").exists():
        return []
    from gateway.http.enrol_client import keep_valid
    from hardware.nats_door import NatsDoor
    from hardware.passport import Passport

    passport = Passport(folder)
    membership = passport.membership()
    if membership is None:
        return []
    if membership.host_id != host_id_of(settings):
        raise EnrolmentRefused(
            f"the certificate in {folder} is of host {membership.host_id!r}, and this is {host_id_of(settings)!r}",
            cure="set host_id in [agent], or remove that folder and enrol this host",
        )
    return [
        NatsDoor(
            site_id=membership.site_id,
            host_id=membership.host_id,
            servers=membership.servers,
            now_s=now_s,
            tls=lambda: client_context(ca=passport.ca_path, certificate=passport.certificate_path),
            keep_certificate=lambda: keep_valid(passport, membership, datetime.now(UTC)),
        )
    ]


async def enrol_this_host(settings: Settings, token_text: str) -> str:
    """Get this host's certificate by a token; returns which fleet it is part of now.

    The files are the worker's, which connects with them and renews them. Raises ``EnrolmentRefused`` and ``OSError``.
    """
    from gateway.http.enrol_client import enrol
    from hardware.passport import Passport, Token

    passport = Passport(_certificates(settings))
    membership = await enrol(passport, Token.parse(token_text), host_id=host_id_of(settings))
    if settings.agent.worker_user is not None:
        for path in (passport.folder, *passport.folder.iterdir()):
            shutil.chown(path, user=settings.agent.worker_user)
    return f"host {membership.host_id} is enrolled with site {membership.site_id} at {', '.join(membership.servers)}"


def _certificates(settings: Settings) -> Path:
    return settings.agent.certificates or settings.gateway.state_dir / "agent"
