"""The gateway's side of the node agents: one ``PowerMeter``, ``PowerCap`` and ``JobControl`` over all of them.

An agent that does not answer stops nobody else: its devices' commands time out, its readings are missing, its devices
stay known as last heard of. Nothing is retried here but a connection that had ended meanwhile; every request may be
repeated.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar, cast

from hardware.device import CapCommand, CapResult, DeviceView, Outcome, PowerReading
from hardware.errors import AgentUnreachable, HardwareError, MeterSilent, WireError
from hardware.job import JobAction, JobResult, JobView
from hardware.wire import (
    MAX_LINE_BYTES,
    Act,
    Acted,
    Applied,
    Apply,
    Describe,
    Described,
    Failed,
    Read,
    Readings,
    Reply,
    Request,
    Restore,
    decode_reply,
    encode_request,
)

Item = TypeVar("Item")
R = TypeVar("R", CapResult, JobResult)


class Link(Protocol):
    """A way to one agent."""

    async def request(self, message: Request) -> Reply:
        """Ask and wait for the answer, for a bounded time. Raises ``AgentUnreachable`` or ``WireError``."""

    async def close(self) -> None:
        """Let go of the connection; a later request makes a new one."""


class Answering(Protocol):
    """What an in-process agent does."""

    def handle(self, request: Request) -> Reply: ...


class LocalLink:
    """An agent in this very process and thread, for virtual time: no JSON, no socket."""

    def __init__(self, agent: Answering) -> None:
        self._agent = agent

    async def request(self, message: Request) -> Reply:
        return self._agent.handle(message)

    async def close(self) -> None:
        return


class SocketLink:
    """An agent behind a local socket. One request at a time; ``timeout_s`` covers the wait for its turn, too."""

    def __init__(self, path: Path, *, timeout_s: float = 2.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, message: Request) -> Reply:
        line = encode_request(message)
        try:
            async with asyncio.timeout(self._timeout_s), self._turn:
                return decode_reply(await self._exchange(line))
        except TimeoutError as cause:
            raise AgentUnreachable(f"the agent at {self._path} did not answer in {self._timeout_s:g} s") from cause
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as cause:
            raise AgentUnreachable(f"the agent at {self._path} does not answer: {cause}") from cause

    async def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await streams[1].wait_closed()
            except OSError:
                return  # The other side had gone, or does not say goodbye (TimeoutError is an OSError).

    async def _exchange(self, line: bytes) -> bytes:
        if self._streams is not None:
            try:
                return await self._ask(self._streams, line)
            except (ConnectionError, asyncio.IncompleteReadError) as fault:
                if isinstance(fault, asyncio.IncompleteReadError) and fault.partial:
                    raise
                # The agent was started anew since the last request: ask the new one.
        self._streams = await asyncio.open_unix_connection(self._path, limit=MAX_LINE_BYTES)
        return await self._ask(self._streams, line)

    async def _ask(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], line: bytes) -> bytes:
        reader, writer = streams
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readuntil()
        except BaseException:
            # Also when cancelled at the deadline: a late answer must not be taken for the next one's.
            self._streams = None
            writer.close()
            raise


class AgentFleet:
    """All devices and jobs of all agents. Which agent has which is learnt by ``refresh``."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = tuple(links)
        self._heard: list[Described | None] = [None] * len(self._links)
        self._devices: dict[str, DeviceView] = {}
        self._jobs: dict[str, JobView] = {}
        self._news: dict[str, CapResult] = {}
        self._link_of_device: dict[str, int] = {}
        self._link_of_job: dict[str, int] = {}

    @property
    def highest_epoch(self) -> int:
        """The highest epoch that any agent has heard, as of the last ``refresh``; a new gateway begins above it."""
        return max((heard.highest_epoch for heard in self._heard if heard is not None), default=0)

    def devices(self) -> Mapping[str, DeviceView]:
        for result in self._news.values():
            view = self._devices.get(result.device_id)
            if view is not None:
                self._devices[view.device_id] = _with_news(view, result)
        self._news.clear()
        return self._devices

    def jobs(self) -> Mapping[str, JobView]:
        return self._jobs

    async def refresh(self) -> None:
        """Ask every agent. One that does not answer stays as last heard of; raises only where none answers."""
        replies = await self._ask_all({index: Describe() for index in range(len(self._links))})
        for index, reply in replies.items():
            if isinstance(reply, Described):
                self._heard[index] = reply
        self._devices, self._link_of_device = {}, {}
        self._news.clear()
        self._jobs, self._link_of_job = {}, {}
        for index, heard in enumerate(self._heard):
            if heard is not None:
                self._devices |= {view.device_id: view for view in heard.devices}
                self._link_of_device |= {view.device_id: index for view in heard.devices}
                self._jobs |= {view.job_id: view for view in heard.jobs}
                self._link_of_job |= {view.job_id: index for view in heard.jobs}
        if not any(isinstance(reply, Described) for reply in replies.values()):
            raise AgentUnreachable(_in_words(replies.values()))

    async def read(self) -> tuple[PowerReading, ...]:
        """What the agents that answer have measured; raises only where there is nothing."""
        replies = await self._ask_all({index: Read() for index in range(len(self._links))})
        readings = [one for reply in replies.values() if isinstance(reply, Readings) for one in reply.readings]
        if not readings:
            raise MeterSilent(_in_words(replies.values()))
        return tuple(readings)

    async def apply(self, commands: Sequence[CapCommand]) -> tuple[CapResult, ...]:
        def failed(command: CapCommand, outcome: Outcome, detail: str) -> CapResult:
            if not _is_finite(command):
                outcome, detail = Outcome.REFUSED, "a cap and its lease are finite numbers"
            return _cap_result(command.device_id, command.cap_w, outcome, detail)

        # JSON has no room for a number that is none, so that no agent can be asked to refuse it.
        results = await self._spread(
            commands,
            [self._link_of_device.get(one.device_id) if _is_finite(one) else None for one in commands],
            lambda part: Apply(commands=part),
            Applied,
            failed,
        )
        self._note_limits(results)
        return results

    async def restore(self, device_ids: Collection[str], epoch: int) -> tuple[CapResult, ...]:
        def failed(device_id: str, outcome: Outcome, detail: str) -> CapResult:
            return _cap_result(device_id, 0.0, outcome, detail)

        results = await self._spread(
            tuple(device_ids),
            [self._link_of_device.get(device_id) for device_id in device_ids],
            lambda part: Restore(device_ids=part, epoch=epoch),
            Applied,
            failed,
        )
        self._note_limits(results)
        return results

    async def act(self, actions: Sequence[JobAction]) -> tuple[JobResult, ...]:
        def failed(action: JobAction, outcome: Outcome, detail: str) -> JobResult:
            return JobResult(job_id=action.job_id, verb=action.verb, state=None, outcome=outcome, detail=detail)

        results = await self._spread(
            actions,
            [self._link_of_job.get(action.job_id) for action in actions],
            lambda part: Act(actions=part),
            Acted,
            failed,
        )
        for result in results:
            job = self._jobs.get(result.job_id)
            if job is not None and result.state is not None and job.state is not result.state:
                self._jobs[result.job_id] = replace(job, state=result.state)
        return results

    async def close(self) -> None:
        """Let go of every connection. Leases run on without us, and end."""
        await asyncio.gather(*(link.close() for link in self._links))

    async def _spread(
        self,
        items: Sequence[Item],
        links: Sequence[int | None],
        message: Callable[[tuple[Item, ...]], Request],
        answer: type[Applied] | type[Acted],
        failed: Callable[[Item, Outcome, str], R],
    ) -> tuple[R, ...]:
        """Send each item to its agent and gather one result an item, in the order of the items."""
        parts: dict[int, list[int]] = {}
        results: dict[int, R] = {}
        for index, link in enumerate(links):
            if link is None:
                results[index] = failed(items[index], Outcome.LOST, "no agent has it")
            else:
                parts.setdefault(link, []).append(index)
        replies = await self._ask_all(
            {link: message(tuple(items[index] for index in part)) for link, part in parts.items()}
        )
        for link, part in parts.items():
            reply = replies[link]
            answers = reply.results if isinstance(reply, answer) else ()
            if len(answers) == len(part):
                # R is the result of the items' kind: CapResult in Applied, JobResult in Acted.
                results |= zip(part, cast("tuple[R, ...]", answers), strict=True)
                continue
            outcome = Outcome.TIMED_OUT if isinstance(reply, AgentUnreachable) else Outcome.REFUSED
            results |= {index: failed(items[index], outcome, _in_words([reply])) for index in part}
        return tuple(results[index] for index in range(len(items)))

    async def _ask_all(self, requests: Mapping[int, Request]) -> dict[int, Reply | HardwareError]:
        """Ask several agents at once; what went wrong takes the reply's place."""
        if len(requests) == 1:
            ((index, request),) = requests.items()
            return {index: await self._ask(index, request)}
        replies = await asyncio.gather(*(self._ask(index, request) for index, request in requests.items()))
        return dict(zip(requests, replies, strict=True))

    async def _ask(self, index: int, request: Request) -> Reply | HardwareError:
        try:
            return await self._links[index].request(request)
        except (AgentUnreachable, WireError) as fault:
            return fault

    def _note_limits(self, results: Iterable[CapResult]) -> None:
        """Keep what was read back, for ``devices`` to tell: far fewer ask for it than caps come by."""
        self._news.update((result.device_id, result) for result in results)


def _with_news(view: DeviceView, result: CapResult) -> DeviceView:
    limit_w = view.limit_w if result.applied_w is None else result.applied_w
    present = result.outcome is not Outcome.LOST and (view.present or result.applied_w is not None)
    return replace(view, limit_w=limit_w, present=present)


def _is_finite(command: CapCommand) -> bool:
    return math.isfinite(command.cap_w) and math.isfinite(command.lease.duration_s)


def _cap_result(device_id: str, requested_w: float, outcome: Outcome, detail: str) -> CapResult:
    return CapResult(device_id=device_id, requested_w=requested_w, applied_w=None, outcome=outcome, detail=detail)


def _in_words(replies: Iterable[Reply | HardwareError]) -> str:
    """What went wrong with these replies."""
    faults = []
    for reply in replies:
        if isinstance(reply, HardwareError):
            faults.append(str(reply))
        elif isinstance(reply, Failed):
            faults.append(f"{reply.error}: {reply.detail}")
        else:
            faults.append(f"an answer that does not fit: {reply.kind}")
    return "; ".join(faults) or "there is no agent"
