"""A month of a program, and sums of statements."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from gateway.config import Settings
from gateway.domain.contract import Program
from gateway.domain.settlement import Run, SettlementStatement, agreed_prices, delivery_of, tariff_of
from gateway.domain.statement_portfolio import StatementSum
from gateway.domain.tariff.delivery import Availability, Month
from gateway.domain.tariff.settle import settle_month
from gateway.domain.tariff.statement import TariffStatement
from gateway.ledger import Ledger


class MonthError(ValueError):
    """A month or program that cannot be settled as it was named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedMonth:
    """A month of the site's clock, under a program."""

    month: Month
    program: Program
    timezone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledMonth:
    """What a month is worth, and the statements that it rests on."""

    site_id: str
    program_id: str
    statement: TariffStatement
    statements: tuple[str, ...]
    notes: tuple[str, ...] = ()


def wanted_month(name: str, program_id: str, settings: Settings, hours: str, factor: str) -> WantedMonth:
    """Raises ``MonthError``."""
    try:
        datetime.strptime(name, "%Y-%m")  # noqa: DTZ007 - a month has no zone; only its form is looked at
    except ValueError as cause:
        raise MonthError(f"{name!r} is no month: 2026-11 is wanted") from cause
    programs = settings.programs()
    if program_id not in programs:
        raise MonthError(f"no program {program_id!r}: declared are {', '.join(programs) or 'none'}")
    program = programs[program_id]
    try:
        availability = Availability(hours=Decimal(hours), factor=Decimal(factor)) if hours else None
    except (InvalidOperation, ValueError) as cause:
        raise MonthError(f"availability of {factor!r} over {hours!r} h: {cause}") from cause
    committed_w = 0.0 if program.contract is None else program.contract.committed_w
    month = Month(
        name=name,
        committed_kw=Decimal(repr(committed_w)) / 1000,
        agreed=agreed_prices(program),
        currency=program.currency,
        availability=availability,
    )
    return WantedMonth(month=month, program=program, timezone=settings.site.site().timezone)


def month_of(wanted: WantedMonth) -> Callable[[Ledger], Awaitable[SettledMonth]]:
    """A question for the month. An event belongs to the month in which it began by the site's clock."""

    async def asked(ledger: Ledger) -> SettledMonth:
        found = _last_versions(
            [one for one in await ledger.statements() if one.program_id == wanted.program.program_id]
        )
        ours = [one for one in found if _month_of(one, wanted.timezone) == wanted.month.name]
        if not ours:
            raise ValueError("no statement of an event that began in it is on record")
        for one in ours:
            if one.currency != wanted.program.currency:
                raise ValueError(f"{one.statement_id} is in {one.currency}, the month in {wanted.program.currency}")
        return _settled(wanted, ours)

    return asked


def _settled(wanted: WantedMonth, ours: list[SettlementStatement]) -> SettledMonth:
    counted = [one for one in ours if one.verified.insufficient is None]
    notes = [
        f"{one.statement_id} settles nothing: {one.verified.insufficient}"
        for one in ours
        if one.verified.insufficient is not None
    ]
    if not is_over(wanted.month.name, datetime.now(wanted.timezone)):
        notes.append(f"{wanted.month.name} is not over: events may still come.")
    open_still = sum(one.edition.run is not Run.FINAL for one in ours)
    if open_still:
        notes.append(f"{open_still} of {len(ours)} statements are not final.")
    shadows = sum(one.edition.shadow for one in ours)
    if shadows:
        notes.append(f"{shadows} of {len(ours)} statements are shadows: no data of the revenue meter is loaded.")
    deliveries = [
        delivery_of(one.verified, wanted.program, one.terms, capability_test=one.capability_test) for one in counted
    ]
    return SettledMonth(
        site_id=ours[0].site_id,
        program_id=wanted.program.program_id,
        statement=settle_month(tariff_of(wanted.program), deliveries, wanted.month),
        statements=tuple(one.statement_id for one in ours),
        notes=tuple(notes),
    )


def is_over(month: str, now: datetime) -> bool:
    """Whether a month, such as ``2026-11``, has passed by a clock."""
    return f"{now:%Y-%m}" > month


def _last_versions(statements: list[SettlementStatement]) -> list[SettlementStatement]:
    found: dict[tuple[str, str], SettlementStatement] = {}
    for one in statements:
        name = (one.verified.connection_id, one.verified.event_id)
        if name not in found or one.edition.version >= found[name].edition.version:
            found[name] = one
    return list(found.values())


def _month_of(statement: SettlementStatement, timezone: ZoneInfo) -> str:
    """Of its first interval; where there is none, of when it was verified, which is soon after the event."""
    intervals = statement.verified.intervals
    at = intervals[0].starts_at if intervals else statement.verified.verified_at
    return f"{at.astimezone(timezone):%Y-%m}"


def month_in_words(found: SettledMonth) -> str:
    """Every line with its working."""
    statement = found.statement
    worth = f"{statement.amount} {statement.currency} under {statement.tariff} {statement.tariff_version}"
    told = [f"{statement.covers} of program {found.program_id}, site {found.site_id}: {worth}"]
    told += [
        f"  {line.line_id} {line.event_id or 'month'}  {line.part.value}: {line.what}  {line.amount} "
        f"{statement.currency}\n       {line.working}"
        for line in statement.lines
    ]
    told += [f"  {part.part.value} {part.amount} {statement.currency}" for part in statement.parts]
    told += [f"  from {name}" for name in found.statements]
    return "\n".join(told + [f"  note: {note}" for note in (*statement.notes, *found.notes)])


def sum_in_words(found: StatementSum) -> str:
    """Site by site."""
    told = [
        f"  {one.site_id}  {one.event_id}  {one.delivered_kwh} kWh  {one.amount} {found.currency}"
        f"  {one.run.value}{', shadow' if one.shadow else ''}  ({one.statement_id})"
        for one in found.statements
    ]
    told += [f"site {site}: {kwh} kWh, {amount} {found.currency}" for site, kwh, amount in found.by_site]
    told.append(f"together {found.delivered_kwh} kWh, {found.amount} {found.currency}")
    return "\n".join(told + [f"note: {note}" for note in found.notes])
