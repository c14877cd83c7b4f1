"""Messages between gateway and agent: one JSON object a line, bounded in length, with a version.

    {"version": 1, "message": {"kind": "apply", "commands": [...]}}

A step's caps are under one lease, and mostly come to what was asked; both have a short form, of a third and of a
fifteenth of the bytes, that stands for the ``Apply`` and the ``Applied``:

    {"message": {"kind": "caps", "lease": {...}, "device_ids": ["GPU-1"], "caps_w": [400.0]}, "version": 1}
    {"message": {"kind": "held", "caps": 1}, "version": 1}

Each request has one reply, in order. Unknown fields are ignored, so that either side may be newer by a field; a change
of meaning raises the version. All requests may be repeated: commands carry epoch and sequence.
Every number is finite.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from hardware.device import CapCommand, CapResult, DeviceView, Lease, Outcome, PowerReading
from hardware.errors import WireError
from hardware.job import JobAction, JobResult, JobView, NodeView

VERSION: Literal[1] = 1

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Room for several thousand devices; a longer line is no message of ours."""

_FINITE = ConfigDict(allow_inf_nan=False)

T = TypeVar("T")


def _aware(readings: tuple[PowerReading, ...]) -> tuple[PowerReading, ...]:
    if any(reading.measured_at.tzinfo is None for reading in readings):
        raise ValueError("an instant without a time zone")
    return readings


def _dated(jobs: tuple[JobView, ...]) -> tuple[JobView, ...]:
    for job in jobs:
        if job.deadline_at is not None and job.deadline_at.tzinfo is None:
            raise ValueError("an instant without a time zone")
        if job.remaining_s is not None and job.remaining_s < 0.0:
            raise ValueError("less than no work is left")
    return jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Ask for the host's devices and jobs."""

    kind: Literal["describe"] = "describe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The agent, its devices, jobs and nodes, and the highest epoch it has heard (0: none)."""

    host_id: str
    highest_epoch: int
    devices: tuple[DeviceView, ...]
    jobs: Annotated[tuple[JobView, ...], AfterValidator(_dated)] = ()
    nodes: tuple[NodeView, ...] = ()
    kind: Literal["described"] = "described"


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Cap devices, or renew their caps."""

    commands: tuple[CapCommand, ...]
    kind: Literal["apply"] = "apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Put back the limits found. ``sequence`` is its place among the caps of its epoch, so that it never acts late."""

    device_ids: tuple[str, ...]
    epoch: int
    sequence: int | None = None
    kind: Literal["restore"] = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One result a command or device, in the order of the request."""

    results: tuple[CapResult, ...]
    kind: Literal["applied"] = "applied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Pause or resume jobs."""

    actions: tuple[JobAction, ...]
    kind: Literal["act"] = "act"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """One result an action, in the order of the request."""

    results: tuple[JobResult, ...]
    kind: Literal["acted"] = "acted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Ask for the latest readings."""

    kind: Literal["read"] = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The latest reading of each meter that is not silent."""

    readings: Annotated[tuple[PowerReading, ...], AfterValidator(_aware)]
    kind: Literal["readings"] = "readings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The request as a whole could not be answered. ``error`` is the name of a class in ``hardware.errors``."""

    error: str
    detail: str
    kind: Literal["failed"] = "failed"


Request: TypeAlias = Describe | Apply | Restore | Act | Read
Reply: TypeAlias = Described | Applied | Acted | Readings | Failed

Answer: TypeAlias = Callable[[bytes, float], Awaitable[bytes]]
"""What a door asks: a request's line, and when it came in seconds of the agent's clock, to the reply's line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caps:
    """An ``Apply`` whose commands are under one lease."""

    lease: Lease
    device_ids: tuple[str, ...]
    caps_w: tuple[float, ...]
    kind: Literal["caps"] = "caps"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """An ``Applied`` of so many results, each read back as exactly what was asked."""

    caps: int
    kind: Literal["held"] = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    __pydantic_config__ = _FINITE

    message: Annotated[Request | _Caps, Field(discriminator="kind")]
    version: Literal[1] = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    __pydantic_config__ = _FINITE

    message: Annotated[Reply | _Held, Field(discriminator="kind")]
    version: Literal[1] = VERSION


_QUESTION = TypeAdapter(_Question)
_ANSWER = TypeAdapter(_Answer)
_LEASE = TypeAdapter(Lease)


def encode_request(request: Request) -> bytes:
    """The request as one line. Raises ``WireError`` where it is too long."""
    line = _caps_line(request) if isinstance(request, Apply) else None
    return _bounded(line or _QUESTION.dump_json(_Question(message=request)) + b"\n")


def encode_reply(reply: Reply, to: Request | None = None) -> bytes:
    """The reply as one line, short where the request that it is to allows it.

    Raises ``WireError`` where it is too long.
    """
    if isinstance(to, Apply) and isinstance(reply, Applied) and _all_held(to.commands, reply.results):
        return _held_line(len(to.commands))
    return _bounded(_ANSWER.dump_json(_Answer(message=reply)) + b"\n")


def decode_request(line: bytes) -> Request:
    """A request from its line. Raises ``WireError`` for anything else."""
    message = _decoded(_QUESTION, line).message
    if not isinstance(message, _Caps):
        return message
    if len(message.device_ids) != len(message.caps_w):
        raise WireError("no message of ours: as many caps as devices")
    lease = message.lease
    return Apply(
        commands=tuple(
            CapCommand(device_id=device_id, cap_w=cap_w, lease=lease)
            for device_id, cap_w in zip(message.device_ids, message.caps_w, strict=True)
        )
    )


def decode_reply(line: bytes, to: Request | None = None) -> Reply:
    """The reply to a request from its line. Raises ``WireError`` for anything else.

    Without the request a short reply cannot be understood.
    """
    commands = to.commands if isinstance(to, Apply) else ()
    if commands and line == _held_line(len(commands)):
        return _held(commands)
    message = _decoded(_ANSWER, line).message
    if not isinstance(message, _Held):
        return message
    if not commands or message.caps != len(commands):
        raise WireError(f"no answer to what was asked: {message.caps} caps hold")
    return _held(commands)


def _caps_line(request: Apply) -> bytes | None:
    """The short form, ``None`` where it has no room for the request: a gateway writes it once a host and step."""
    commands = request.commands
    if not commands:
        return None
    lease = commands[0].lease
    if any(command.lease is not lease and command.lease != lease for command in commands):
        return None
    device_ids = ",".join([encode_basestring_ascii(command.device_id) for command in commands])
    caps_w = ",".join([repr(float(command.cap_w)) for command in commands])
    if "n" in caps_w:
        return None  # nan and inf are no numbers of JSON.
    return (
        f'{{"message":{{"kind":"caps","lease":{_lease_json(lease)},"device_ids":[{device_ids}],"caps_w":[{caps_w}]}},'
        f'"version":{VERSION}}}\n'
    ).encode()


@lru_cache(maxsize=4)
def _lease_json(lease: Lease) -> str:
    """A step's lease, which is the same for every host."""
    return _LEASE.dump_json(lease).decode()


def _held_line(caps: int) -> bytes:
    return b'{"message":{"kind":"held","caps":%d},"version":%d}\n' % (caps, VERSION)


def _all_held(commands: tuple[CapCommand, ...], results: tuple[CapResult, ...]) -> bool:
    return 0 < len(commands) == len(results) and all(
        done.outcome is Outcome.APPLIED
        and done.applied_w == done.requested_w == command.cap_w
        and done.device_id == command.device_id
        and not done.detail
        and done.fault is None
        for command, done in zip(commands, results, strict=True)
    )


def _held(commands: tuple[CapCommand, ...]) -> Applied:
    return Applied(
        results=tuple(
            [
                CapResult(
                    device_id=command.device_id,
                    requested_w=command.cap_w,
                    applied_w=command.cap_w,
                    outcome=Outcome.APPLIED,
                )
                for command in commands
            ]
        )
    )


def _bounded(line: bytes) -> bytes:
    if len(line) > MAX_LINE_BYTES:
        raise WireError(f"a message of {len(line)} bytes is over the {MAX_LINE_BYTES} that a line may have")
    return line


def _decoded(adapter: TypeAdapter[T], line: bytes) -> T:
    try:
        return adapter.validate_json(_bounded(line), strict=True)
    except ValidationError as cause:
        first = cause.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise WireError(f"no message of ours: {place + ': ' if place else ''}{first['msg']}") from cause
