"""Faults of the simulated fleet, on demand: from code, or from a file that another process writes."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong now. Sets of device ids, but ``silent_meters`` holds meter ids (a device's own, or the site's).

    ``limits_w`` is what somebody else sets, once, when these faults take effect; it is no fault of the device.
    """

    lost: frozenset[str] = frozenset()
    """Gone from the bus: no limit, no reading, and its part of the job stands still."""
    write_refused: frozenset[str] = frozenset()
    hanging: frozenset[str] = frozenset()
    """Calls on it do not come back. Time may be virtual, so that they are told to hang instead of doing so."""
    limit_stuck: frozenset[str] = frozenset()
    """A write is taken and changes nothing."""
    power_stuck: frozenset[str] = frozenset()
    """The limit changes and reads back, but the power stays under the limit there was before."""
    silent_meters: frozenset[str] = frozenset()
    limits_w: Mapping[str, float] = field(default_factory=dict)


class FaultsFile:
    """Faults as a JSON object with the fields of ``Faults``, read anew whenever the file changes.

    Meant for tests and demonstrations of an agent in another process. Write it beside and rename it into place. No
    file means no faults; one that cannot be read changes nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> Faults | None:
        """The faults where they changed since the last call, else ``None``."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - a third of Path.stat's time, at every step
        except OSError:
            if self._seen is None:
                return None
            self._seen = None
            return Faults()
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen == self._seen:
            return None
        self._seen = seen
        try:
            return parsed(json.loads(self._path.read_bytes()))
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return None


def parsed(document: Mapping[str, Any]) -> Faults:
    """Faults from a JSON object. Raises ``ValueError`` or ``TypeError`` for one that is none."""
    unknown = set(document) - {item.name for item in fields(Faults)}
    if unknown:
        raise ValueError(f"unknown faults: {', '.join(sorted(unknown))}")
    limits_w = {str(key): float(limit_w) for key, limit_w in document.get("limits_w", {}).items()}
    return Faults(
        limits_w=limits_w, **{name: frozenset(map(str, ids)) for name, ids in document.items() if name != "limits_w"}
    )
