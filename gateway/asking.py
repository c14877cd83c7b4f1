"""Agents asked once, each over a link of its own: what a command of the operator's has them tell or do."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.attach import agent_paths, open_fleet
from gateway.config import Settings
from hardware.device import DeviceView, Lease, PowerReading
from hardware.errors import HardwareError
from hardware.job import Asker, JobAction, JobResult, JobView, NodeView, Verb

AGENT_ANSWER_S = 2.0
"""So long a command waits for the agent of this host."""

JOB_ANSWER_S = 45.0
"""As long where it acts on jobs: a scheduler may take its whole deadline for each call."""


async def ask_fleet(
    settings: Settings,
) -> tuple[tuple[DeviceView, ...], tuple[JobView, ...], tuple[PowerReading, ...]]:
    """Devices, jobs and the latest readings as the agents tell them now. Raises ``HardwareError`` where none answers.

    Where only the readings are missing, there are none of them.
    """
    fleet = open_fleet(settings)
    try:
        await fleet.refresh()
        try:
            readings = await fleet.read()
        except HardwareError:
            readings = ()
        return tuple(fleet.devices().values()), tuple(fleet.jobs().values()), readings
    finally:
        await fleet.close()


async def ask_jobs(settings: Settings) -> tuple[tuple[JobView, ...], tuple[NodeView, ...]]:
    """The jobs and nodes of this host's agent, and what is wrong with each. Raises ``HardwareError``."""
    async with _agent_of_this_host(settings) as (_, described):
        return described.jobs, described.nodes


async def act_on_jobs(
    settings: Settings, verb: Verb, ids: Sequence[str], *, lasts_s: float, priority: int | None = None
) -> tuple[JobResult, ...]:
    """Act on jobs (or nodes) of this host's agent as the operator. Raises ``HardwareError``.

    The operator speaks under the highest epoch that the agent has heard, so that no gateway is locked out, and counts
    by the boot clock, which no other of the operator's commands on this host can have used.
    """
    from hardware.agent import boot_s
    from hardware.wire import Act, Acted

    async with _agent_of_this_host(settings) as (link, described):
        lease = Lease(epoch=described.highest_epoch, sequence=int(boot_s() * 1e9), duration_s=lasts_s)
        actions = tuple(
            JobAction(job_id=one, verb=verb, lease=lease, priority=priority, asker=Asker.OPERATOR) for one in ids
        )
        acted = await link.request(Act(actions=actions))
        if not isinstance(acted, Acted):
            raise HardwareError(f"the agent cannot act: {getattr(acted, 'detail', acted.kind)}")
        return acted.results


@asynccontextmanager
async def _agent_of_this_host(settings: Settings) -> AsyncIterator[tuple[Any, Any]]:
    """A link to the agent, and what it says of itself. Raises ``HardwareError`` where it does not answer."""
    from hardware.agent_links import SocketLink
    from hardware.wire import Describe, Described

    link = SocketLink(agent_paths(settings)["socket"], timeout_s=JOB_ANSWER_S)
    try:
        described = await link.request(Describe())
        if not isinstance(described, Described):
            raise HardwareError(f"the agent does not describe itself: {getattr(described, 'detail', described.kind)}")
        yield link, described
    finally:
        await link.close()


async def ask_agent(path: Path) -> Any:
    """What the agent at a local socket says of itself, as ``Described``. Raises ``HardwareError``."""
    from hardware.agent_links import SocketLink
    from hardware.wire import Describe

    link = SocketLink(path, timeout_s=AGENT_ANSWER_S)
    try:
        return await link.request(Describe())
    finally:
        await link.close()


async def answers(path: Path) -> bool:
    """Whether the agent at a local socket answers."""
    try:
        await ask_agent(path)
    except HardwareError:
        return False
    return True
