"""What works and what does not, part by part; and how long to leave a faulty part alone."""

from collections.abc import Mapping

import structlog

from gateway.ledger import LedgerUnavailable
from hardware.errors import HardwareError
from protocols.errors import ProtocolError

log = structlog.get_logger()

EXPECTED_FAULTS = (ProtocolError, HardwareError, LedgerUnavailable, OSError, TimeoutError)
"""Faults of the world, which end in the loop of their own connection or meter. Anything else is a bug."""


STARTING = "not heard of yet"


class Readiness:
    """The state of each part, with one log line at each change of it and none in between."""

    def __init__(self) -> None:
        self._faults: dict[str, str | None] = {}

    def expect(self, part: str) -> None:
        """Count on a part: nothing is ready before it has spoken up."""
        self._faults.setdefault(part, STARTING)

    def well(self, part: str) -> None:
        """The part works."""
        if self._faults.get(part, "") is not None:
            log.info("part_well", part=part)
        self._faults[part] = None

    def faulty(self, part: str, reason: str) -> None:
        """The part does not work just now; the reason in plain words."""
        if self._faults.get(part) in {None, STARTING}:
            log.warning("part_faulty", part=part, reason=reason)
        self._faults[part] = reason

    def parts(self) -> Mapping[str, str | None]:
        """Each part and what is wrong with it, ``None`` where all is well."""
        return dict(self._faults)

    @property
    def ready(self) -> bool:
        """Whether every part that is counted on, and every other that spoke up, works."""
        return bool(self._faults) and all(reason is None for reason in self._faults.values())


class Backoff:
    """Delays that double from ``first_s`` to ``most_s`` and start over once things went well."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = first_s

    def delay_s(self) -> float:
        """How long to wait now; the next wait is twice as long, up to the most."""
        delay_s = self._next_s
        self._next_s = min(self._most_s, 2 * delay_s)
        return delay_s

    def well(self) -> None:
        """Start over."""
        self._next_s = self._first_s
