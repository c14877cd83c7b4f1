"""What waits in memory for the next flush: bounded, first wins, and put back whole where the flush fails."""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from gateway.domain.evidence import fingerprint
from gateway.domain.measurement import epoch_us
from gateway.ledger import CapOutcome
from hardware.device import PowerReading

ReadingKey = tuple[str, datetime]


def refuse_unusable(readings: Iterable[PowerReading]) -> None:
    """Raise ``ValueError`` for a reading that is no number or has no time zone."""
    for reading in readings:
        epoch_us(reading.measured_at)
        if not math.isfinite(reading.power_w) or not math.isfinite(reading.energy_j or 0.0):
            raise ValueError(f"meter {reading.meter_id}: {reading.power_w} W, {reading.energy_j} J is no reading")


class HeldReadings:
    """Readings by meter and instant, at most ``capacity``.

    Beyond it the oldest go, those of ``lasting`` meters (they settle) after all others; ``dropped`` counts them.
    """

    def __init__(self, capacity: int, lasting: Collection[str]) -> None:
        if capacity < 1:
            raise ValueError(f"at least one reading must be held, not {capacity}")
        self.dropped = 0
        self._capacity = capacity
        self._lasting_meters = frozenset(lasting)
        self._passing: OrderedDict[ReadingKey, PowerReading] = OrderedDict()
        self._lasting: OrderedDict[ReadingKey, PowerReading] = OrderedDict()
        self._taken: tuple[OrderedDict[ReadingKey, PowerReading], ...] = ()

    def __bool__(self) -> bool:
        return bool(self._passing or self._lasting)

    def add(self, readings: Iterable[PowerReading]) -> None:
        """Hold more; a second reading of the same meter and instant is not taken."""
        for reading in readings:
            held = self._lasting if reading.meter_id in self._lasting_meters else self._passing
            held.setdefault((reading.meter_id, reading.measured_at), reading)
        self._drop()

    def take(self) -> list[PowerReading]:
        """All that is held, for one flush, to be followed by ``stored`` or ``put_back``."""
        self._taken = (self._lasting, self._passing)
        self._lasting, self._passing = OrderedDict(), OrderedDict()
        return [reading for held in self._taken for reading in held.values()]

    def stored(self) -> None:
        """What was taken is durable."""
        self._taken = ()

    def put_back(self) -> None:
        """What was taken, if anything, is not durable: it is held again, before what came since."""
        if not self._taken:
            return
        lasting, passing = self._taken
        self._taken = ()
        for older, newer in ((lasting, self._lasting), (passing, self._passing)):
            for key, reading in newer.items():
                older.setdefault(key, reading)
        self._lasting, self._passing = lasting, passing
        self._drop()

    def between(self, meter_id: str, start: datetime, end: datetime) -> list[PowerReading]:
        """What is held or being stored of one meter, ``start <= measured_at < end``."""
        return [
            reading
            for held in (*self._taken, self._lasting, self._passing)
            for (meter, at), reading in held.items()
            if meter == meter_id and start <= at < end
        ]

    def _drop(self) -> None:
        while len(self._passing) + len(self._lasting) > self._capacity:
            (self._passing or self._lasting).popitem(last=False)
            self.dropped += 1


class HeldOutcomes:
    """Outcomes by digest. They are few and evidence: none is dropped."""

    def __init__(self) -> None:
        self._held: dict[str, CapOutcome] = {}
        self._taken: dict[str, CapOutcome] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def add(self, outcomes: Sequence[CapOutcome]) -> None:
        """Hold more. Raises ``ValueError`` for watts that are no number, before any is taken."""
        self._held.update({fingerprint(outcome): outcome for outcome in outcomes})

    def take(self) -> dict[str, CapOutcome]:
        self._taken, self._held = self._held, {}
        return self._taken

    def stored(self) -> None:
        self._taken = {}

    def put_back(self) -> None:
        self._held = {**self._taken, **self._held}
        self._taken = {}

    def between(self, start: datetime, end: datetime) -> dict[str, CapOutcome]:
        return {key: outcome for key, outcome in {**self._taken, **self._held}.items() if start <= outcome.at < end}
