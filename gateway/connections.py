"""Opens the counterparties: who asks us, and whom we ask. What a dialect needs is loaded where it is declared."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp

from gateway.clock import Clock
from gateway.config import ConfigError, Settings
from gateway.config.connections import (
    Ven2bSettings,
    Ven3Settings,
    VenSettings,
    Vtn2bSettings,
    Vtn3Settings,
    VtnSettings,
)
from gateway.domain.fleet import Site
from gateway.stages import Record
from protocols.grid import GridConnection, GridProgram


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """What is open: where we are asked, and by name where we ask."""

    vens: Sequence[GridConnection]
    programs: Mapping[str, GridProgram]


async def open_connections(edges: AsyncExitStack, settings: Settings, record: Record, clock: Clock) -> Connected:
    """Open every ``[[connection]]``; ``edges`` closes them.

    Raises ``OSError`` where we cannot listen or a file cannot be read, ``ConfigError`` where one holds something else.
    """
    site = settings.site.site()
    vens: list[GridConnection] = []
    programs: dict[str, GridProgram] = {}
    for one in settings.connection:
        try:
            if isinstance(one, VtnSettings):
                programs[one.name] = await _vtn(edges, one, record, clock)
            else:
                vens.append(await _ven(edges, one, record, site, clock))
        except ValueError as cause:
            raise ConfigError(f"[[connection]] {one.name!r}: {cause}") from cause
    return Connected(vens=vens, programs=programs)


async def ask_to_register(settings: VenSettings, session: aiohttp.ClientSession) -> str:
    """Ask the VTN what changes nothing, and say what it is. Raises ``ProtocolError``."""
    if isinstance(settings, Ven2bSettings):
        from gateway.connections_openadr2b import ask_to_register as ask_2b

        return await ask_2b(settings, session)
    from gateway.connections_openadr3 import ask_for_programs

    return await ask_for_programs(settings, session)


async def _ven(
    edges: AsyncExitStack, settings: Ven2bSettings | Ven3Settings, record: Record, site: Site, clock: Clock
) -> GridConnection:
    if isinstance(settings, Ven2bSettings):
        from gateway.connections_openadr2b import open_ven

        return await open_ven(edges, settings, record, site, clock)
    from gateway.connections_openadr3 import open_ven as open_ven_3

    return await open_ven_3(edges, settings, record, site, clock)


async def _vtn(
    edges: AsyncExitStack, settings: Vtn2bSettings | Vtn3Settings, record: Record, clock: Clock
) -> GridProgram:
    if isinstance(settings, Vtn2bSettings):
        from gateway.connections_openadr2b import open_vtn

        return await open_vtn(edges, settings, record, clock)
    from gateway.connections_openadr3 import open_vtn as open_vtn_3

    return await open_vtn_3(edges, settings, record, clock)
