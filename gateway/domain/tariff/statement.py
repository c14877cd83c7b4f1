"""What a tariff answers: lines that anybody can multiply again, and their sum."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow

from gateway.domain.tariff.terms import Part, Rounding, Tariff

EXACT = Context(prec=900, traps=[InvalidOperation, Overflow, DivisionByZero])
"""Every product of a double (at most 767 digits) and figures of a sheet is exact in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """``amount`` is ``quantity`` x ``price`` x ``factor``, rounded to the tariff's step where it rounds each line.

    ``working`` is the same in words, with every number that went in. ``event_id`` is ``""`` for a line of the month,
    ``starts_at`` is ``None`` unless the line is of a span within the event.
    """

    line_id: str
    part: Part
    what: str
    quantity: Decimal
    unit: str
    price: Decimal
    factor: Decimal
    amount: Decimal
    working: str
    clause: str
    event_id: str = ""
    starts_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTotal:
    """The sum of a part's lines."""

    part: Part
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffStatement:
    """What an event or a month is worth under a tariff. ``amount`` is the sum of ``lines``, to the last digit."""

    tariff: str
    tariff_version: str
    read: str
    covers: str
    currency: str
    lines: tuple[StatementLine, ...]
    parts: tuple[PartTotal, ...]
    amount: Decimal
    notes: tuple[str, ...] = ()


def priced(
    tariff: Tariff,
    *,
    part: Part,
    what: str,
    quantity: Decimal,
    unit: str,
    price: Decimal,
    factor: Decimal = Decimal(1),
    because: str = "",
    event_id: str = "",
    starts_at: datetime | None = None,
) -> StatementLine:
    """A line. ``because`` says where the quantity comes from."""
    exact = EXACT.multiply(EXACT.multiply(quantity, price), factor)
    exact = abs(exact) if exact.is_zero() else exact
    amount = tariff.rounding.rounded(exact, tariff.rounding.money) if tariff.rounding.each_line else exact
    product = f"{quantity} {unit} x {price} x {factor} = {exact}"
    rounded = "" if amount == exact else f", rounded {tariff.rounding.mode.value} to {amount}"
    return StatementLine(
        line_id="",
        part=part,
        what=what,
        quantity=quantity,
        unit=unit,
        price=price,
        factor=factor,
        amount=amount,
        working=f"{because}{'; ' if because else ''}{product}{rounded}",
        clause=f"{tariff.source}: {tariff.clause}",
        event_id=event_id,
        starts_at=starts_at,
    )


def corrected(
    tariff: Tariff, lines: Sequence[StatementLine], *, part: Part, to: Decimal, currency: str, what: str, because: str
) -> StatementLine:
    """A line of its own that brings the sum of lines to an amount; the lines keep what they say."""
    total = total_of(lines)
    return priced(
        tariff,
        part=part,
        what=what,
        quantity=EXACT.subtract(to, total),
        unit=currency,
        price=Decimal(1),
        because=f"{because}: {to} - ({total})",
        event_id=lines[0].event_id if lines and len({line.event_id for line in lines}) == 1 else "",
    )


def total_of(lines: Sequence[StatementLine]) -> Decimal:
    """The exact sum."""
    total = Decimal(0)
    for line in lines:
        total = EXACT.add(total, line.amount)
    return total


def stated(
    tariff: Tariff, lines: Sequence[StatementLine], *, covers: str, currency: str, notes: Sequence[str]
) -> TariffStatement:
    """The statement of lines, in their order; a tariff that rounds its total gets a line for the remainder."""
    closed = [*lines, *_remainder(tariff, tariff.rounding, lines, currency)]
    numbered = tuple(replace(line, line_id=f"{number:04d}") for number, line in enumerate(closed, 1))
    named = dict.fromkeys(line.part for line in numbered)
    zero = Decimal(0).quantize(tariff.rounding.money)
    return TariffStatement(
        tariff=tariff.tariff_id,
        tariff_version=tariff.version,
        read=tariff.read,
        covers=covers,
        currency=currency,
        lines=numbered,
        parts=tuple(
            PartTotal(part=part, amount=total_of([line for line in numbered if line.part is part])) for part in named
        ),
        amount=EXACT.add(zero, total_of(numbered)).quantize(tariff.rounding.money, context=EXACT),
        notes=tuple(notes),
    )


def _remainder(
    tariff: Tariff, rounding: Rounding, lines: Sequence[StatementLine], currency: str
) -> list[StatementLine]:
    total = total_of(lines)
    to = rounding.rounded(total, rounding.money)
    if to == total:
        return []
    line = corrected(
        tariff,
        lines,
        part=Part.TOTAL,
        to=to,
        currency=currency,
        what="rounding of the total",
        because=f"{total} rounded {rounding.mode.value}",
    )
    return [line]
