"""The gateway's side of the node agents: one ``PowerMeter``, ``PowerCap`` and ``JobControl`` over all of them.

An agent that does not answer stops nobody else: its devices' commands time out, its readings are missing, its devices
stay known as last heard of. One that is known to have gone is absent with its devices until it is back. Nothing is
retried here but a connection that had ended meanwhile; every request may be repeated.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar, cast

from hardware.agent_links import Link
from hardware.device import CapCommand, CapResult, DeviceView, Fault, Outcome, PowerReading
from hardware.errors import AgentUnreachable, Condition, HardwareError, MeterSilent, WireError
from hardware.job import JobAction, JobResult, JobView
from hardware.known_devices import KnownDevices
from hardware.roll import Roll, believable
from hardware.wire import (
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
)

Item = TypeVar("Item")
R = TypeVar("R", CapResult, JobResult)


class Hosts(Protocol):
    """Agents that come and go, asked all at once."""

    @property
    def fault(self) -> str | None:
        """Why none can be reached at all."""

    @property
    def host_ids(self) -> Collection[str]:
        """The hosts there are."""

    async def open(self, news: "AgentFleet") -> None:
        """Begin to connect, and return once connected, or after some seconds. ``came`` and ``left`` are called."""

    async def ask(self, requests: Mapping[str, Request]) -> Mapping[str, Reply | HardwareError]:
        """Ask each host, for a bounded time; what went wrong takes the reply's place."""

    async def close(self) -> None: ...


Key = int | str
"""A link by its number, or a host by its name."""

DESCRIBE = Describe()
READ = Read()

WAVE = 256
"""So many hosts are described at once: a fleet that is back takes its turn, and control goes on between."""


class AgentFleet:
    """All devices and jobs of all agents. Which agent has which is learnt by ``refresh``, and as hosts come.

    With ``known`` the devices of agents that were heard of before are there from the beginning, absent, and count with
    all they can draw. Raises ``OSError`` where that cannot be read.
    """

    def __init__(self, links: Sequence[Link], hosts: Hosts | None = None, known: KnownDevices | None = None) -> None:
        self._links = tuple(links)
        self._hosts = hosts
        self._roll: Roll[Key] = Roll()
        self._known = known
        if known is not None:
            self._recall(known)
        self._news: dict[str, CapResult] = {}
        # Hosts in the order in which they are described: those that came first of all, then in turn.
        self._came: dict[str, None] = {}
        self._turn: deque[str] = deque()
        # Hosts that left after they were last asked: what they said before it is over.
        self._gone: set[str] = set()
        self._waked = asyncio.Event()
        self._usher: asyncio.Task[None] | None = None

    @property
    def highest_epoch(self) -> int:
        """The highest epoch that any agent was ever heard to have; a new gateway begins above it."""
        return self._roll.highest_epoch

    @property
    def epoch_to_pass(self) -> int | None:
        """The highest epoch above ours that an agent came with, ``None`` for none or while another gateway is alive."""
        return self._roll.epoch_to_pass

    @property
    def taken(self) -> Collection[str]:
        """Agents that another gateway commands now: our commands are refused there."""
        return [str(key) for key in self._roll.taken]

    def begin(self, epoch: int) -> None:
        """From now on we command in this epoch."""
        self._roll.begin(epoch)

    def devices(self) -> Mapping[str, DeviceView]:
        for result in self._news.values():
            self._roll.note_limit(result)
        self._news.clear()
        return self._roll.devices

    def jobs(self) -> Mapping[str, JobView]:
        return self._roll.jobs

    async def refresh(self) -> None:
        """Ask every agent; of hosts the first time all, then a wave at a call, since they tell when they come and go.

        One that does not answer stays as last heard of; raises only where none answers.
        """
        replies = await self._ask_all(dict.fromkeys(range(len(self._links)), DESCRIBE))
        self._hear(replies)
        answered = any(isinstance(reply, Described) for reply in replies.values())
        if self._hosts is not None:
            await self._refresh_hosts(self._hosts)
            fault = self._hosts.fault
            if fault is not None:
                raise AgentUnreachable(
                    f"no connection to NATS: {fault}; hosts keep their caps until their leases end",
                    cure="see that the NATS server runs and that this gateway's certificate is in its configuration",
                )
            answered = answered or self._roll.any_present or not self._hosts.host_ids
        if not answered:
            raise AgentUnreachable(_in_words(replies.values()))

    def came(self, host_id: str) -> None:
        """A host's agent is there: it is described next."""
        self._came[host_id] = None
        self._waked.set()

    def left(self, host_id: str, fault: Fault) -> None:
        """A host's agent is not there: its devices are absent."""
        self.devices()
        self._gone.add(host_id)
        self._roll.leave(host_id, fault)

    def _recall(self, known: KnownDevices) -> None:
        """Begin with what the gateway before us knew. Links that there are no more are left out."""
        for key, views in known.open().items():
            if key in range(len(self._links)) if isinstance(key, int) else self._hosts is not None:
                self._roll.recall(key, views)
            else:
                known.forget(key)
        known.flush()

    async def _refresh_hosts(self, hosts: Hosts) -> None:
        first = self._usher is None
        if self._usher is None:
            self._usher = asyncio.create_task(self._see_in(), name="hosts that come")
            await hosts.open(self)
        enrolled = hosts.host_ids
        for key in [key for key in self._roll.known if isinstance(key, str) and key not in enrolled]:
            self._roll.forget(key)
            if self._known is not None:
                self._known.forget(key)
        if self._known is not None:
            self._known.flush()
        known = set(self._turn)
        self._turn.extend(host_id for host_id in enrolled if host_id not in known)
        for _ in range(-(-len(enrolled) // WAVE) if first else 1):
            wave = [self._turn.popleft() for _ in range(min(WAVE, len(self._turn)))]
            self._turn.extend(host_id for host_id in wave if host_id in enrolled)
            await self._describe(wave)

    async def _see_in(self) -> None:
        """Describe hosts as they come, for ever, a wave at a time."""
        while True:
            await self._waked.wait()
            self._waked.clear()
            while self._came:
                wave = list(islice(self._came, WAVE))
                for host_id in wave:
                    del self._came[host_id]
                await self._describe(wave)

    async def _describe(self, wave: Sequence[str]) -> None:
        if self._hosts is not None:
            enrolled = self._hosts.host_ids
            self._gone.difference_update(wave)
            self._hear(await self._ask_all(dict.fromkeys((one for one in wave if one in enrolled), DESCRIBE)))

    def _hear(self, replies: Mapping[Key, Reply | HardwareError]) -> None:
        enrolled = () if self._hosts is None else self._hosts.host_ids
        for key, reply in replies.items():
            # A host may have been removed while it answered.
            if not isinstance(reply, Described) or not (isinstance(key, int) or key in enrolled) or key in self._gone:
                continue
            for view in reply.devices:
                # What was read back before this was said is older.
                self._news.pop(view.device_id, None)
            said = believable(key, reply) if isinstance(key, str) else reply
            self._roll.hear(key, said)
            if self._known is not None:
                self._known.note(key, said.devices)
        if self._known is not None:
            self._known.flush()

    async def read(self) -> tuple[PowerReading, ...]:
        """What the agents that answer have measured; raises only where there is nothing."""
        replies = await self._ask_all(dict.fromkeys(self._keys(), READ))
        readings = [
            one
            for key, reply in replies.items()
            if isinstance(reply, Readings)
            for one in reply.readings
            # A host speaks for its own devices; the agent of a link may have the site's meter, too.
            if isinstance(key, int) or self._roll.owner_of_device(one.meter_id) == key
        ]
        if not readings:
            raise MeterSilent(_in_words(replies.values()))
        return tuple(readings)

    async def apply(self, commands: Sequence[CapCommand]) -> tuple[CapResult, ...]:
        def failed(command: CapCommand, outcome: Outcome, detail: str) -> CapResult:
            if not _is_finite(command):
                outcome, detail = Outcome.REFUSED, "a cap and its lease are finite numbers"
            return _cap_result(command.device_id, command.cap_w, outcome, detail)

        owner_of = self._roll.owner_of_device
        # JSON has no room for a number that is none, so that no agent can be asked to refuse it.
        results = await self._spread(
            commands,
            [owner_of(one.device_id) if _is_finite(one) else None for one in commands],
            lambda part: Apply(commands=part),
            Applied,
            failed,
        )
        self._note_limits(results)
        return results

    async def restore(
        self, device_ids: Collection[str], epoch: int, sequence: int | None = None
    ) -> tuple[CapResult, ...]:
        def failed(device_id: str, outcome: Outcome, detail: str) -> CapResult:
            return _cap_result(device_id, 0.0, outcome, detail)

        results = await self._spread(
            tuple(device_ids),
            [self._roll.owner_of_device(device_id) for device_id in device_ids],
            lambda part: Restore(device_ids=part, epoch=epoch, sequence=sequence),
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
            [self._roll.owner_of_job(action.job_id) for action in actions],
            lambda part: Act(actions=part),
            Acted,
            failed,
        )
        for result in results:
            self._roll.note_job(result)
        return results

    async def close(self) -> None:
        """Let go of every connection. Leases run on without us, and end."""
        usher, self._usher = self._usher, None
        if usher is not None:
            usher.cancel()
            await asyncio.wait([usher])
        if self._hosts is not None:
            await self._hosts.close()
        await asyncio.gather(*(link.close() for link in self._links))

    def _keys(self) -> list[Key]:
        """Every link, and every host that is not known to be away."""
        hosts = () if self._hosts is None else self._hosts.host_ids
        return [*range(len(self._links)), *(one for one in hosts if self._roll.is_present(one))]

    async def _spread(
        self,
        items: Sequence[Item],
        links: Sequence[Key | None],
        message: Callable[[tuple[Item, ...]], Request],
        answer: type[Applied] | type[Acted],
        failed: Callable[[Item, Outcome, str], R],
    ) -> tuple[R, ...]:
        """Send each item to its agent and gather one result an item, in the order of the items."""
        parts: dict[Key, list[int]] = {}
        results: list[R | None] = [None] * len(items)
        for index, link in enumerate(links):
            if link is None:
                results[index] = failed(items[index], Outcome.LOST, "no agent has it")
            elif link in parts:
                parts[link].append(index)
            else:
                parts[link] = [index]
        replies = await self._ask_all(
            {link: message(tuple([items[index] for index in part])) for link, part in parts.items()}
        )
        for link, part in parts.items():
            reply = replies[link]
            answers = reply.results if isinstance(reply, answer) else ()
            # R is the result of the items' kind: CapResult in Applied, JobResult in Acted.
            told = cast("Sequence[R]", answers)
            if len(told) != len(part):
                told = [failed(items[index], _outcome(reply), _in_words([reply])) for index in part]
            for index, result in zip(part, told, strict=True):
                results[index] = result
        return cast("tuple[R, ...]", tuple(results))

    async def _ask_all(self, requests: Mapping[Key, Request]) -> dict[Key, Reply | HardwareError]:
        """Ask several agents at once; what went wrong takes the reply's place."""
        links = {key: request for key, request in requests.items() if isinstance(key, int)}
        hosts = {key: request for key, request in requests.items() if isinstance(key, str)}
        if self._hosts is None or not hosts:
            return dict((await self._ask_links(links)).items())
        if not links:
            return dict((await self._hosts.ask(hosts)).items())
        of_links, of_hosts = await asyncio.gather(self._ask_links(links), self._hosts.ask(hosts))
        return dict([*of_links.items(), *of_hosts.items()])

    async def _ask_links(self, requests: Mapping[int, Request]) -> dict[int, Reply | HardwareError]:
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
        self._news.update({result.device_id: result for result in results})


def _outcome(reply: Reply | HardwareError) -> Outcome:
    """What a command came to whose agent gave no result. Where no agent is, its host puts back what it held."""
    if not isinstance(reply, AgentUnreachable):
        return Outcome.REFUSED
    return Outcome.LOST if reply.condition is Condition.LOST else Outcome.TIMED_OUT


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
