"""A tariff over one event, or over the events of a month."""

from collections.abc import Sequence
from decimal import Decimal, localcontext

from gateway.domain.tariff.commitment import event_commitment_lines, month_commitment_lines
from gateway.domain.tariff.delivery import Delivery, Month
from gateway.domain.tariff.energy import clamp_lines, energy_lines
from gateway.domain.tariff.penalty import penalty_lines
from gateway.domain.tariff.performance import Met, met
from gateway.domain.tariff.spans import not_payable
from gateway.domain.tariff.statement import EXACT, StatementLine, TariffStatement, corrected, priced, stated, total_of
from gateway.domain.tariff.terms import Cap, Netting, Part, Per, Tariff, TariffError


def settle_event(tariff: Tariff, delivery: Delivery) -> TariffStatement:
    """What one event is worth; a note says what only the month decides.

    Raises ``TariffError`` where the delivery lacks something that the tariff needs, such as a price.
    """
    with localcontext(EXACT):
        currency = _currency(tariff, delivery)
        lines, _ = _event_lines(tariff, delivery, currency)
        notes = [*_notes(tariff, delivery), *_left_for_month(tariff)]
        return stated(tariff, lines, covers=f"event {delivery.event_id}", currency=currency, notes=notes)


def settle_month(tariff: Tariff, deliveries: Sequence[Delivery], month: Month) -> TariffStatement:
    """What a month is worth: its events in the order given, then what is netted, paid and bounded by month.

    Raises ``TariffError`` as ``settle_event`` does, for an event that is there twice, and for one in another currency.
    """
    with localcontext(EXACT):
        currency = _currency(tariff, month)
        _add_up(tariff, deliveries, currency)
        lines: list[StatementLine] = []
        counted: list[tuple[Delivery, Met]] = []
        for delivery in deliveries:
            own, found = _event_lines(tariff, delivery, currency)
            lines += own
            if found is not None:
                counted.append((delivery, found))
        if tariff.energy is not None and tariff.energy.netting is Netting.MONTH:
            energy = [line for line in lines if line.part is Part.ENERGY]
            lines += clamp_lines(tariff, energy, over="month", currency=currency)
        lines += month_commitment_lines(tariff, month, [one for one, _ in counted], [found for _, found in counted])
        lines += _cap_lines(tariff, Per.MONTH, lines, currency)
        notes = [note for delivery in deliveries for note in _notes(tariff, delivery)]
        return stated(tariff, lines, covers=f"month {month.name}", currency=currency, notes=notes)


def _event_lines(tariff: Tariff, delivery: Delivery, currency: str) -> tuple[list[StatementLine], Met | None]:
    """The lines of an event; no performance where the event doesn't count, as a test that is not payable."""
    if delivery.capability_test and not tariff.capability_tests_payable:
        return [], None
    if (tariff.performance is not None or tariff.penalty is not None) and not delivery.awarded_kw:
        raise TariffError(f"the tariff holds event {delivery.event_id} against its award: give awarded_kw")
    found = met(tariff, delivery)
    lines = [
        *found.lines,
        *energy_lines(tariff, delivery, found, currency),
        *event_commitment_lines(tariff, delivery, found),
        *penalty_lines(tariff, delivery),
    ]
    return [*lines, *_cap_lines(tariff, Per.EVENT, lines, currency)], found


def _cap_lines(tariff: Tariff, per: Per, lines: Sequence[StatementLine], currency: str) -> list[StatementLine]:
    """Bounds in the order of the sheet, each over its part with the corrections of the bounds before."""
    made: list[StatementLine] = []
    for cap in tariff.caps:
        if cap.per is per:
            seen = [line for line in (*lines, *made) if cap.part in {None, line.part}]
            made += _energy_cap(tariff, cap, seen) or _amount_cap(tariff, cap, seen, currency)
    return made


def _energy_cap(tariff: Tariff, cap: Cap, lines: Sequence[StatementLine]) -> list[StatementLine]:
    """Takes back what is above a ceiling of kilowatt-hours, at the one price that a tariff with such a bound has."""
    if cap.ceiling_kwh is None:
        return []
    priced_lines = [line for line in lines if line.unit == "kWh"]
    total_kwh = sum((line.quantity for line in priced_lines), Decimal(0))
    if total_kwh <= cap.ceiling_kwh:
        return []
    line = priced(
        tariff,
        part=Part.ENERGY,
        what=f"energy above the ceiling of the {cap.per.value}",
        quantity=cap.ceiling_kwh - total_kwh,
        unit="kWh",
        price=priced_lines[-1].price,
        because=f"ceiling {cap.ceiling_kwh} kWh less {total_kwh} kWh",
    )
    return [line]


def _amount_cap(tariff: Tariff, cap: Cap, lines: Sequence[StatementLine], currency: str) -> list[StatementLine]:
    total = total_of(lines)
    to, bound = total, ""
    if cap.ceiling is not None and total > cap.ceiling:
        to, bound = cap.ceiling, "ceiling"
    if cap.floor is not None and total < cap.floor:
        to, bound = cap.floor, "floor"
    if not bound:
        return []
    part = "total" if cap.part is None else cap.part.value
    what = f"{bound} of the {part} of the {cap.per.value}"
    return [corrected(tariff, lines, part=cap.part or Part.TOTAL, to=to, currency=currency, what=what, because=bound)]


def _currency(tariff: Tariff, terms: Delivery | Month) -> str:
    if tariff.currency != "agreed":
        return tariff.currency
    if not terms.currency:
        raise TariffError("the tariff takes its currency from the contract: give currency, such as USD")
    return terms.currency


def _add_up(tariff: Tariff, deliveries: Sequence[Delivery], currency: str) -> None:
    seen: set[str] = set()
    for delivery in deliveries:
        if delivery.event_id in seen:
            raise TariffError(f"event {delivery.event_id} is there twice: give its last revision only")
        seen.add(delivery.event_id)
        own = _currency(tariff, delivery)
        if own != currency:
            raise TariffError(f"event {delivery.event_id} is in {own}, the month in {currency}: they do not add up")


def _notes(tariff: Tariff, delivery: Delivery) -> list[str]:
    notes = []
    if delivery.capability_test and not tariff.capability_tests_payable:
        notes.append(f"Event {delivery.event_id} was a capability test, which this tariff does not pay for.")
    for quality in not_payable(tariff):
        touched = sum(interval.quality is quality for interval in delivery.intervals)
        if touched:
            of_all = f"{touched} of {len(delivery.intervals)} intervals of event {delivery.event_id}"
            notes.append(
                f"{of_all} rest on {quality.value} readings, which this tariff does not pay for: they are neither "
                "credited nor charged."
            )
    if not delivery.intervals:
        notes.append(f"Event {delivery.event_id} has no interval that was verified. A zero is no measurement.")
    return notes


def _left_for_month(tariff: Tariff) -> list[str]:
    notes = []
    if tariff.energy is not None and tariff.energy.netting is Netting.MONTH and tariff.energy.clamped:
        notes.append("Energy is netted by month: an event under zero is not charged where the month is above.")
    for part, terms in ((Part.CAPACITY, tariff.capacity), (Part.AVAILABILITY, tariff.availability)):
        if terms is not None and terms.per is Per.MONTH:
            notes.append(f"The {part.value} payment is by month and not in this statement of one event.")
    if any(cap.per is Per.MONTH for cap in tariff.caps):
        notes.append("The bounds of the month are not applied to this statement of one event.")
    return notes
