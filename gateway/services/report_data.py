"""What stands in a report: power from the meter, baselines and reductions from the record, states as they were seen."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway.domain.event import EventRecord, took_part_until
from gateway.domain.fleet import Site
from gateway.domain.forecast import expected_w, usual_w
from gateway.domain.measurement import IntervalEnergy, Slice, integrate
from gateway.domain.report_grid import intervals
from gateway.domain.response import BaselineSpan, response, verified_spans
from gateway.ledger import Ledger
from protocols.grid_report import ReportInterval, ReportOrder, ReportQuantity, ResourceState

_BASELINES = frozenset({ReportQuantity.BASELINE, ReportQuantity.REDUCTION})
_METERED = _BASELINES | {ReportQuantity.POWER}
_SAMPLED = frozenset({ReportQuantity.STATE, ReportQuantity.AVAILABLE})

MOST_SAMPLES = 4096
"""More than two hours of what was seen every two seconds."""

FRESH = timedelta(minutes=1)
"""What was seen so long before the end of an interval still stands for it."""

_LATELY = timedelta(minutes=15)
_ENOUGH_FRACTION = 0.5
"""A forecast rests on what was drawn lately, where so much of that was measured."""

AvailableIn = Callable[[datetime, datetime], float | None]
"""By how many watts consumption could go down from an instant to another; ``None`` where nobody can tell."""

_MARGIN = timedelta(minutes=1)
"""A reading from before the first interval may still stand for its beginning."""


@dataclass(frozen=True, slots=True)
class _Sample:
    at: datetime
    state: ResourceState | None
    available_w: float | None


def needs_baseline(order: ReportOrder) -> bool:
    """Whether an order asks for what rests on a baseline."""
    return not order.ahead_s and not _BASELINES.isdisjoint(order.quantities)


class ReportData:
    """Fills the intervals of the reports of one connection.

    State and availability are of the moment: they are sampled while an order wants them, and kept in memory for as
    long as a report may be late. Of the time before a restart they are not known.
    """

    def __init__(
        self,
        *,
        connection_id: str,
        site: Site,
        ledger: Ledger,
        state: Callable[[], ResourceState] | None,
        available_w: Callable[[], float | None] | None,
        available_in: AvailableIn | None = None,
    ) -> None:
        self._connection_id = connection_id
        self._site = site
        self._ledger = ledger
        self._state = state
        self._available_w = available_w
        self._available_in = available_in
        self._samples: deque[_Sample] = deque(maxlen=MOST_SAMPLES)

    def sample(self, orders: Collection[ReportOrder], now: datetime) -> None:
        """Note how things stand, where an order wants to know."""
        if any(not _SAMPLED.isdisjoint(order.quantities) for order in orders):
            self._samples.append(
                _Sample(
                    now,
                    None if self._state is None else self._state(),
                    None if self._available_w is None else self._available_w(),
                )
            )

    async def intervals(
        self, order: ReportOrder, start: datetime, end: datetime, now: datetime
    ) -> tuple[ReportInterval, ...]:
        """The intervals of an order's report over ``[start, end)``, each with what was asked for."""
        pieces = intervals(order, start, end)
        if order.ahead_s > 0.0:
            return await self._ahead(order, pieces, now)
        if _METERED.isdisjoint(order.quantities):
            return tuple(
                self._seen(
                    ReportInterval(
                        starts_at=piece.starts_at, duration_s=piece.duration_s, power_w=None, coverage_fraction=0.0
                    ),
                    order,
                )
                for piece in pieces
            )
        readings = await self._ledger.readings_between(self._site.meter_id, start - _MARGIN, end)
        spans = await self._spans(start, end, now) if needs_baseline(order) else ()
        return tuple(self._seen(_metered(energy, order, spans), order) for energy in integrate(readings, pieces))

    async def _ahead(self, order: ReportOrder, pieces: Sequence[Slice], now: datetime) -> tuple[ReportInterval, ...]:
        """What is expected. Of what nobody foretells, and of power that was not measured lately, there is nothing."""
        power_w: Sequence[float | None] = [None] * len(pieces)
        if ReportQuantity.POWER in order.quantities:
            power_w = await self._expected_w(pieces, now) or power_w
        asks = self._available_in if ReportQuantity.AVAILABLE in order.quantities else None
        return tuple(
            ReportInterval(
                starts_at=piece.starts_at,
                duration_s=piece.duration_s,
                power_w=power,
                coverage_fraction=0.0,
                available_w=None
                if asks is None
                else asks(piece.starts_at, piece.starts_at + timedelta(seconds=piece.duration_s)),
                preliminary=True,
            )
            for piece, power in zip(pieces, power_w, strict=True)
        )

    async def _expected_w(self, pieces: Sequence[Slice], now: datetime) -> Sequence[float] | None:
        start = now - _LATELY
        readings = await self._ledger.readings_between(self._site.meter_id, start - _MARGIN, now)
        (drawn,) = integrate(readings, (Slice(starts_at=start, duration_s=_LATELY.total_seconds()),))
        measured_s = drawn.duration_s * drawn.coverage_fraction
        drawn_w = drawn.energy_wh * 3600.0 / measured_s if drawn.coverage_fraction >= _ENOUGH_FRACTION else None
        planned = []
        for record in await self._ledger.events(since=start):
            plan = await self._ledger.plan(record.event.connection_id, record.event.event_id)
            if plan is not None:
                planned.append((record, plan))
        usual = usual_w(drawn_w, planned, now)
        return None if usual is None else expected_w(pieces, usual, planned)

    async def _spans(self, start: datetime, end: datetime, now: datetime) -> tuple[BaselineSpan, ...]:
        """The baselines of this connection's events over ``[start, end)``; where two overlap the earlier one's."""
        spans: list[BaselineSpan] = []
        for record in await self._ledger.events(since=start):
            event = record.event
            if event.connection_id != self._connection_id or event.test or event.starts_at >= end:
                continue
            for span in await self._of_event(record, now):
                begins_at = max(span.starts_at, max((one.ends_at for one in spans), default=span.starts_at))
                if begins_at < span.ends_at:
                    spans.append(replace(span, starts_at=begins_at))
        return tuple(spans)

    async def _of_event(self, record: EventRecord, now: datetime) -> tuple[BaselineSpan, ...]:
        event = record.event
        verified = await self._ledger.verified(event.connection_id, event.event_id)
        settled = verified is not None and verified.revision == event.revision and verified.insufficient is None
        if verified is not None and settled:
            # Without a baseline by the rule the live one stays, and stays preliminary: no reduction is not zero.
            return verified_spans(verified)
        plan = await self._ledger.plan(event.connection_id, event.event_id)
        ends_at = min(took_part_until(record) or now, now)
        if plan is None or ends_at <= event.starts_at:
            return ()
        return (BaselineSpan(starts_at=event.starts_at, ends_at=ends_at, power_w=plan.baseline_w, preliminary=True),)

    def _seen(self, interval: ReportInterval, order: ReportOrder) -> ReportInterval:
        """The interval with how things stood at its end."""
        if _SAMPLED.isdisjoint(order.quantities):
            return interval
        ends_at = interval.starts_at + timedelta(seconds=interval.duration_s)
        found = next((one for one in reversed(self._samples) if one.at <= ends_at), None)
        if found is None or found.at < min(interval.starts_at, ends_at - FRESH):
            return interval
        return replace(
            interval,
            state=found.state if ReportQuantity.STATE in order.quantities else None,
            available_w=found.available_w if ReportQuantity.AVAILABLE in order.quantities else None,
            coverage_fraction=interval.coverage_fraction or 1.0,
        )


def _metered(energy: IntervalEnergy, order: ReportOrder, spans: Collection[BaselineSpan]) -> ReportInterval:
    measured_s = energy.duration_s * energy.coverage_fraction
    power_w = energy.energy_wh * 3600.0 / measured_s if measured_s > 0.0 else None
    interval = ReportInterval(
        starts_at=energy.starts_at,
        duration_s=energy.duration_s,
        power_w=power_w if ReportQuantity.POWER in order.quantities else None,
        coverage_fraction=energy.coverage_fraction,
    )
    if not needs_baseline(order):
        return interval
    found = response(Slice(starts_at=energy.starts_at, duration_s=energy.duration_s), power_w, tuple(spans))
    return replace(
        interval,
        baseline_w=found.baseline_w if ReportQuantity.BASELINE in order.quantities else None,
        reduction_w=found.reduction_w if ReportQuantity.REDUCTION in order.quantities else None,
        preliminary=found.preliminary,
    )
