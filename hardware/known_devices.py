"""What every agent last told of its devices, on disk: the next gateway counts with a host that it cannot reach.

Without it a host that is out of reach while a gateway restarts would count as drawing nothing, and others would be let
up into its room. One JSON object a line, the last one of an agent holds; an empty list takes it out:

    {"host": "gpu-07", "devices": [["GPU-1", "gpu-07", "H100", 200.0, 700.0, 700.0]]}
    {"link": 0, "devices": []}

A device has its host and model, and of its range the least, the default and the most watts. A change is on disk before
the fleet tells of it.
The file is written anew when it is opened, and when what is over has outgrown what holds.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from hardware.device import CapRange, DeviceView, Fault
from hardware.errors import Condition
from hardware.journal import replace_file

log = structlog.get_logger()

MOST_OVER_BYTES = 1024 * 1024
"""So much of the file may be over before it is written anew, or four times what holds."""

Key = int | str
"""A link by its number, or a host by its name."""

_Device = tuple[str, str, str, float, float, float]


class KnownDevices:
    """The devices of all agents, by agent. Only one process at a time may have the file; the gateway's lock sees to it.

    A change that cannot be written is told once, and tried again with the next.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._devices: dict[Key, tuple[_Device, ...]] = {}
        self._unwritten: dict[Key, None] = {}
        self._bytes = self._bytes_anew = 0
        self._is_told = False

    def open(self) -> Mapping[Key, tuple[DeviceView, ...]]:
        """What an earlier gateway knew, every device absent. Raises ``OSError`` where the file cannot be read.

        Lines that cannot be understood are left out and told.
        """
        raw = self._path.read_bytes() if self._path.exists() else b""
        damaged = 0
        for line in raw.splitlines():
            try:
                key, devices = _parsed(line)
            except (ValueError, TypeError, KeyError, RecursionError):
                damaged += 1
                continue
            self._devices[key] = devices
        if damaged:
            log.warning(
                "known_devices_damaged",
                file=str(self._path),
                lines=damaged,
                cure="nothing to do once every host was heard of; until then a host of these lines counts as off",
            )
        self._devices = {key: devices for key, devices in self._devices.items() if devices}
        if raw:
            self._write_anew()
        return {key: tuple(_views(key, devices)) for key, devices in self._devices.items()}

    def note(self, key: Key, views: Sequence[DeviceView]) -> None:
        """Take what an agent has now; ``flush`` makes it last."""
        devices = tuple(
            (
                view.device_id,
                view.host_id,
                view.model,
                view.cap_range.min_w,
                view.cap_range.default_w,
                view.cap_range.max_w,
            )
            for view in views
        )
        if devices != self._devices.get(key, ()):
            self._devices[key] = devices
            self._unwritten[key] = None

    def forget(self, key: Key) -> None:
        """The agent is no part of the fleet any more; ``flush`` makes it last."""
        self.note(key, ())

    def flush(self) -> None:
        """Put on disk what has changed."""
        if not self._unwritten:
            return
        lines = b"".join(_line(key, self._devices[key]) for key in self._unwritten)
        # One that came to an end in the middle may have left half a line.
        if self._is_told or self._bytes + len(lines) > max(MOST_OVER_BYTES, 4 * self._bytes_anew):
            self._write_anew()
            return
        try:
            with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as fault:
            self._tell(fault)
            return
        self._bytes += len(lines)
        self._is_written()

    def _write_anew(self) -> None:
        self._devices = {key: devices for key, devices in self._devices.items() if devices}
        content = b"".join(_line(key, devices) for key, devices in self._devices.items())
        try:
            replace_file(self._path, content)
        except OSError as fault:
            self._tell(fault)
            return
        self._bytes = self._bytes_anew = len(content)
        self._is_written()

    def _is_written(self) -> None:
        self._unwritten.clear()
        self._is_told = False

    def _tell(self, fault: OSError) -> None:
        if not self._is_told:
            self._is_told = True
            log.error(
                "known_devices_not_kept",
                file=str(self._path),
                reason=str(fault),
                cure="look at the disk's space, and at the file's owner and mode; do not restart the gateway while a"
                " host is out of reach: it would count as drawing nothing",
            )


def _line(key: Key, devices: Sequence[_Device]) -> bytes:
    owner = {"link": key} if isinstance(key, int) else {"host": key}
    return json.dumps({**owner, "devices": devices}, allow_nan=False).encode() + b"\n"


def _parsed(line: bytes) -> tuple[Key, tuple[_Device, ...]]:
    """Raises ``ValueError``, ``TypeError`` or ``KeyError`` for anything but a line of ours."""
    document: Any = json.loads(line)
    key = int(document["link"]) if "link" in document else str(document["host"])
    devices = []
    for device_id, host_id, model, *watts in document["devices"]:
        min_w, default_w, max_w = (float(value) for value in watts)
        if not 0.0 <= min_w <= default_w <= max_w < float("inf"):
            raise ValueError(f"a range of {device_id} that cannot be")
        devices.append((str(device_id), str(host_id), str(model), min_w, default_w, max_w))
    return key, tuple(devices)


def _views(key: Key, devices: Sequence[_Device]) -> Iterator[DeviceView]:
    """Devices that nobody has told of since the gateway began: they count with all they can draw."""
    fault = Fault(
        condition=Condition.SILENT,
        detail=f"{'the agent' if isinstance(key, int) else key} was not heard of since this gateway began",
        cure="look at the agent's log there"
        if isinstance(key, int)
        else f"look at the agent's log there; where the host is gone for good: gridgate asset remove {key}",
    )
    for device_id, host_id, model, min_w, default_w, max_w in devices:
        yield DeviceView(
            device_id=device_id,
            host_id=host_id,
            model=model,
            cap_range=CapRange(min_w=min_w, default_w=default_w, max_w=max_w),
            limit_w=max_w,
            present=False,
            fault=fault,
        )
