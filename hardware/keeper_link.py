"""Between a keeper and its worker: one JSON object a line over a pair of sockets, bounded in size and time.

The worker asks:

    {"id": 7, "ask": "open"}                    answered by the journal's state, and the leases to go on with
    {"id": 8, "ask": "commit", "limits": ...}   answered once it is on disk
    {"id": 9, "ask": "put_back", "device_id": ..., "limit_w": ...}

and tells ``{"tell": "beat", ...}`` several times a second. The keeper answers ``{"id": 7, "answer": ...}`` or
``{"id": 7, "fault": ...}``, in any order, and tells ``{"tell": "heard"}`` after a beat, or ``{"tell": "stop"}``.
"""

import contextlib
import json
import math
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from dataclasses import replace
from typing import Any

from hardware.errors import (
    CallHangs,
    Condition,
    DeviceLost,
    DriverLost,
    HardwareError,
    JournalUnreadable,
    SchedulerLost,
    Unsupported,
    WriteRefused,
)
from hardware.journal import Journal, JournalState, PriorLimit, parsed
from hardware.lease import Kept, KeptLease

MAX_LINE_BYTES = 32 * 1024 * 1024
"""Room for the journal of the largest fleet that one agent may have (a simulated one)."""

ASK_S = 5.0
"""The worker waits so long for its keeper's answer, and for room to ask."""

_FAULTS = {
    kind.__name__: kind
    for kind in (DeviceLost, DriverLost, WriteRefused, Unsupported, JournalUnreadable, CallHangs, SchedulerLost)
}


def encoded(message: Mapping[str, Any]) -> bytes:
    """One message as its line. Raises ``HardwareError`` for one that is too long."""
    line = json.dumps(message, allow_nan=False).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise HardwareError(f"{len(line)} bytes are more than keeper and worker may say at once")
    return line


def decoded(line: bytes) -> dict[str, Any]:
    """The message in a line. Raises ``ValueError`` for anything else."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise TypeError("a message is an object")
    return message


def leases_to_json(kept: Mapping[str, KeptLease]) -> dict[str, Any]:
    """Leases as JSON has them: one that was ended before its time has been over since 0."""
    return {key: (max(0.0, lease.expires_s), *lease[1:]) for key, lease in kept.items()}


def leases_from_json(document: Mapping[str, Any]) -> dict[str, KeptLease]:
    """What ``leases_to_json`` made. Raises ``ValueError``, ``TypeError`` or ``AttributeError`` for anything else."""
    return {str(key): _lease(*entry) for key, entry in document.items()}


def _lease(expires_s: float, hold: bool, epoch: int, sequence: int, since_s: float | None = None) -> KeptLease:
    if not math.isfinite(expires_s):
        raise ValueError("a lease without an end")
    return KeptLease(expires_s, bool(hold), int(epoch), int(sequence), since_s)


def limits_from_json(document: Mapping[str, Any]) -> dict[str, PriorLimit]:
    """Limits as a commit carries them. Raises ``ValueError`` or ``TypeError`` for anything else."""
    limits = {str(key): PriorLimit(*entry) for key, entry in document.items()}
    if not all(math.isfinite(value) for prior in limits.values() for value in prior[:3]):
        raise ValueError("a limit that is no number")
    return limits


def fault_to_json(fault: HardwareError) -> dict[str, Any]:
    """An expected fault, to be raised on the other side."""
    return {
        "name": type(fault).__name__,
        "text": str(fault),
        "condition": fault.condition.value,
        "cure": fault.cure,
        "device_id": fault.device_id,
    }


def fault_from_json(document: Mapping[str, Any]) -> HardwareError:
    """The fault that the other side met."""
    fault = _FAULTS.get(document["name"], HardwareError)(document["text"], condition=Condition(document["condition"]))
    # Both are in the text already.
    fault.cure, fault.device_id = document["cure"], document["device_id"]
    return fault


class KeeperLink:
    """The worker's end, for many threads at once.

    ``on_stop`` is called (in a thread of the link's own) when the keeper tells the worker to go, ``on_gone`` when the
    keeper has gone.
    """

    def __init__(self, connection: socket.socket, *, on_stop: Callable[[], None], on_gone: Callable[[], None]) -> None:
        self._connection = connection
        self._on_stop = on_stop
        self._on_gone = on_gone
        self._state = threading.Lock()
        self._sending = threading.Lock()
        self._last_id = 0
        self._asked: dict[int, Future[Any]] = {}
        self.gone = False
        self.heard_s = time.monotonic()
        """When the keeper was heard last, on the monotonic clock."""
        self._keeper_id = os.getppid()
        # Of sending only: who reads has all the time there is.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(ASK_S), 0))
        self._lines = connection.makefile("rb")
        threading.Thread(target=self._listen, name="keeper link", daemon=True).start()

    def ask(self, what: str, **content: Any) -> Any:
        """The keeper's answer. Raises the ``HardwareError`` that it met, or one that says that it does not answer."""
        answer: Future[Any] = Future()
        with self._state:
            if self.gone:
                raise HardwareError("the keeper of this agent has gone")
            self._last_id += 1
            number = self._last_id
            self._asked[number] = answer
        try:
            self._send({"id": number, "ask": what, **content})
            return answer.result(ASK_S)
        except (NoAnswer, OSError) as cause:
            raise HardwareError(f"the keeper of this agent did not answer in {ASK_S:g} s") from cause
        finally:
            with self._state:
                self._asked.pop(number, None)

    def tell(self, what: str, **content: Any) -> None:
        """Say something that needs no answer. Where the keeper has gone nobody hears it."""
        try:
            self._send({"tell": what, **content})
        except OSError:
            return  # The reader sees the end by itself.

    def break_off(self) -> None:
        """Take the keeper for gone."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    @property
    def keeper_lives(self) -> bool:
        """Whether the keeper's process is there yet, able to do anything or not."""
        return os.getppid() == self._keeper_id

    def end_keeper(self) -> None:
        """End a keeper that hangs, so that its journal is free; one that has died already is left in peace."""
        if self.keeper_lives:
            with contextlib.suppress(PermissionError, ProcessLookupError):
                os.kill(self._keeper_id, signal.SIGKILL)

    def _send(self, message: Mapping[str, Any]) -> None:
        line = encoded(message)
        with self._sending:
            try:
                self._connection.sendall(line)
            except OSError:
                # Half a line may be on its way: nothing that comes after it would be understood.
                self.break_off()
                raise

    def _listen(self) -> None:
        try:
            while line := self._lines.readline(MAX_LINE_BYTES):
                self._heard(decoded(line))
        except (OSError, ValueError):
            pass  # A keeper that sends half a line has gone.
        self._lines.close()
        with self._state:
            self.gone = True
            asked = tuple(self._asked.values())
        for answer in asked:
            answer.set_exception(HardwareError("the keeper of this agent has gone"))
        self._on_gone()

    def _heard(self, message: Mapping[str, Any]) -> None:
        self.heard_s = time.monotonic()
        if "tell" in message:
            if message["tell"] == "stop":
                self._on_stop()
            return
        with self._state:
            answer = self._asked.pop(message["id"], None)
        if answer is None:
            return  # It came too late.
        if "fault" in message:
            answer.set_exception(fault_from_json(message["fault"]))
        else:
            answer.set_result(message.get("answer"))


class RemoteJournal:
    """The keeper's journal, as the worker commits to it; after the keeper's death its own file."""

    def __init__(self, link: KeeperLink) -> None:
        self._link = link
        self._state = JournalState()
        self._boot_id = ""
        self.handed_over = False
        """Whether the keeper has handed over: only then is there anything of ours on a device."""
        self._unsure = False
        """Whether a commit went unanswered: the keeper may have made it all the same."""
        self._opening = threading.Lock()
        self._merging = threading.Lock()
        self._own: Journal | None = None
        self.kept = Kept()
        """The leases to go on with, from ``open`` on."""

    @property
    def state(self) -> JournalState:
        return self._state if self._own is None else self._own.state

    @property
    def boot_id(self) -> str:
        return self._boot_id

    def open(self) -> None:
        """Have the keeper hand over. Raises ``JournalUnreadable``."""
        with self._opening:
            if self._own is not None or self.handed_over:
                return
            try:
                handed = self._link.ask("open")
                self._state = parsed(handed["journal"].encode())
                self._boot_id = str(handed["boot_id"])
                self.kept = Kept(leases_from_json(handed["limits"]), leases_from_json(handed["jobs"]))
            except JournalUnreadable:
                raise
            except (HardwareError, ValueError, TypeError, KeyError) as cause:
                raise JournalUnreadable(f"the keeper did not hand over its journal: {cause}") from cause
            self.handed_over = True

    def commit(
        self,
        *,
        epoch: int | None = None,
        limits: Mapping[str, PriorLimit] | None = None,
        paused: frozenset[str] | None = None,
        held: frozenset[str] | None = None,
        drained: frozenset[str] | None = None,
    ) -> None:
        """As ``Journal.commit``; returns once the keeper has it on disk."""
        if self._own is not None:
            self._own.commit(epoch=epoch, limits=limits, paused=paused, held=held, drained=drained)
            return
        if not self.handed_over:
            raise JournalUnreadable("the keeper has not handed over its journal")
        given: dict[str, Any] = {
            name: value
            for name, value in (
                ("epoch", epoch), ("limits", limits), ("paused", paused), ("held", held), ("drained", drained)
            )
            if value is not None and (self._unsure or value != getattr(self._state, name))
        }  # fmt: skip
        if not given:
            return
        try:
            self._link.ask("commit", **{name: _plain(value) for name, value in given.items()})
        except JournalUnreadable:
            raise
        except HardwareError as cause:
            self._unsure = True
            raise JournalUnreadable(str(cause)) from cause
        if limits is not None:
            self._unsure = False
        with self._merging:
            given["epoch"] = max(self._state.epoch, epoch or 0)
            if limits is not None:
                given["boot_id"] = self._boot_id
            self._state = replace(self._state, **given)

    def take_over(self, journal: Journal) -> None:
        """Go on with the file itself: the keeper has died. Raises ``JournalUnreadable``."""
        journal.open()
        self._own = journal

    def close(self) -> None:
        """Let another process have the file, where it was taken over."""
        if self._own is not None:
            self._own.close()


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


def names_from_json(names: Iterable[Any]) -> frozenset[str]:
    """Names as a commit carries them."""
    return frozenset(str(name) for name in names)
