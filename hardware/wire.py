"""Messages between gateway and agent: one JSON object a line, bounded in length, with a version.

    {"version": 1, "message": {"kind": "apply", "commands": [...]}}

Each request has one reply, in order. Unknown fields are ignored, so that either side may be newer by a field; a change
of meaning raises the version. All requests may be repeated: commands carry epoch and sequence.
Every number is finite.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from hardware.device import CapCommand, CapResult, DeviceView, Lease, PowerReading
from hardware.errors import WireError
from hardware.job import JobAction, JobResult, JobView, NodeView

VERSION: Literal[1] = 1

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Room for several thousand devices; a longer line is no message of ours."""

T = TypeVar("T")


def _aware(readings: tuple[PowerReading, ...]) -> tuple[PowerReading, ...]:
    if any(reading.measured_at.tzinfo is None for reading in readings):
        raise ValueError("an instant without a time zone")
    return readings


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
    jobs: tuple[JobView, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    kind: Literal["described"] = "described"


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Cap devices, or renew their caps."""

    commands: tuple[CapCommand, ...]
    kind: Literal["apply"] = "apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Put back the limits found."""

    device_ids: tuple[str, ...]
    epoch: int
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
class _Question:
    message: Annotated[Request, Field(discriminator="kind")]
    version: Literal[1] = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    message: Annotated[Reply, Field(discriminator="kind")]
    version: Literal[1] = VERSION


_QUESTION = TypeAdapter(_Question)
_ANSWER = TypeAdapter(_Answer)
_LEASE = TypeAdapter(Lease)


def encode_request(request: Request) -> bytes:
    """The request as one line. Raises ``WireError`` where it is too long."""
    if isinstance(request, Apply):
        return _bounded(_apply_line(request))
    return _bounded(_QUESTION.dump_json(_Question(message=request)) + b"\n")


def encode_reply(reply: Reply) -> bytes:
    """The reply as one line. Raises ``WireError`` where it is too long."""
    return _bounded(_ANSWER.dump_json(_Answer(message=reply)) + b"\n")


def decode_request(line: bytes) -> Request:
    """A request from its line. Raises ``WireError`` for anything else."""
    return _decoded(_QUESTION, line).message


def decode_reply(line: bytes) -> Reply:
    """A reply from its line. Raises ``WireError`` for anything else."""
    return _decoded(_ANSWER, line).message


def _apply_line(request: Apply) -> bytes:
    """The same line as the adapter's, in a quarter of its time: a gateway writes it once a host and step.

    All commands of a step are under one lease, which is written once.
    """
    lease, lease_json = None, ""
    commands = []
    for command in request.commands:
        if command.lease is not lease:
            lease, lease_json = command.lease, _LEASE.dump_json(command.lease).decode()
        if not math.isfinite(command.cap_w):
            return _QUESTION.dump_json(_Question(message=request)) + b"\n"
        device_id = encode_basestring_ascii(command.device_id)
        commands.append(f'{{"device_id":{device_id},"cap_w":{float(command.cap_w)!r},"lease":{lease_json}}}')
    return f'{{"message":{{"commands":[{",".join(commands)}],"kind":"apply"}},"version":{VERSION}}}\n'.encode()


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
