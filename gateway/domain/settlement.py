"""From verified reduction to money under a tariff, and the same figures computed anew.

The energy on a statement is rounded here and nowhere else, to 0.001 kWh, half to even. Amounts are rounded as the
tariff says, so that a reader can multiply the figures of each line and find its amount.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from types import MappingProxyType

from gateway.domain.contract import Program
from gateway.domain.evidence import Difference, fingerprint, first_difference
from gateway.domain.settlement_terms import NO_TERMS, SettlementTerms
from gateway.domain.site_verification import SiteVerificationInputs, verify_by_sites
from gateway.domain.tariff.delivery import Delivery, delivery_intervals
from gateway.domain.tariff.settle import settle_event
from gateway.domain.tariff.sheet import shipped_tariffs
from gateway.domain.tariff.statement import EXACT, StatementLine, TariffStatement
from gateway.domain.tariff.terms import Part, Tariff
from gateway.domain.verification import VerificationInputs, VerifiedReport, verify_event
from hardware.device import Quality

PLAIN_TARIFF = "flat-energy"
"""The price of the program for each delivered kilowatt-hour, and nothing else."""

_CENT = Decimal("0.01")
_LOW_COVERAGE_FRACTION = 0.95


class Run(StrEnum):
    """Which run of the settlement made a statement."""

    INITIAL = "initial"
    RECALCULATED = "recalculated"
    """Something that it rests on came late or was changed."""
    FINAL = "final"
    """Approved; nothing is recalculated after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """Which of an event's statements one is. ``supersedes`` is the id of the one before, ``""`` for the first.

    ``shadow`` is true while no revenue-meter data is loaded for the event: it rests on our own metering then.
    ``own_baseline`` is true where such data is loaded for the event and not for all that its baseline rests on.
    ``dispute_until`` is until when it may be disputed, ``None`` where nothing was agreed.
    """

    version: int = 1
    run: Run = Run.INITIAL
    supersedes: str = ""
    shadow: bool = True
    own_baseline: bool = False
    dispute_until: datetime | None = None


FIRST = Edition()


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementStatement:
    """What one event is worth.

    ``delivered_kwh`` is the signed sum over the intervals, rounded once, here. ``amount`` in ``currency`` is the sum
    of ``lines``, each of which says how it is worked out; ``unpriced`` says why there are none. ``inputs_sha256`` is
    over the canonical JSON of everything that the figures were computed from: the verification's inputs (by their own
    fingerprint), price, tariff and terms, and whose statement it is. A statement without ``tariff`` is of a release
    that knew a single price only.
    """

    statement_id: str
    site_id: str
    program_id: str
    verified: VerifiedReport
    price_per_kwh: Decimal
    currency: str
    delivered_kwh: Decimal
    amount: Decimal
    issued_at: datetime
    capability_test: bool
    raw_sha256: str
    inputs_sha256: str
    notes: tuple[str, ...] = ()
    tariff: str = ""
    tariff_version: str = ""
    terms: SettlementTerms = NO_TERMS
    lines: tuple[StatementLine, ...] = ()
    unpriced: str = ""
    edition: Edition = FIRST


def statement_name(site_id: str, verified: VerifiedReport, version: int = 1) -> str:
    """The id of a statement; from the second version of an event's revision on it is numbered."""
    name = f"{site_id}-{verified.connection_id}-{verified.event_id}-r{verified.revision}"
    return name if version == 1 else f"{name}-v{version}"


def tariff_of(program: Program, tariffs: Mapping[str, Tariff] | None = None) -> Tariff:
    """The program's tariff, by default of those that are shipped. Raises ``KeyError`` for one that is not there."""
    return (shipped_tariffs() if tariffs is None else tariffs)[program.tariff]


def settle(
    verified: VerifiedReport,
    *,
    program: Program,
    site_id: str,
    statement_id: str,
    issued_at: datetime,
    capability_test: bool = False,
    raw_sha256: str = "",
    tariff: Tariff | None = None,
    terms: SettlementTerms = NO_TERMS,
    edition: Edition = FIRST,
) -> SettlementStatement:
    """Price what was verified, under the program's tariff unless another text of it is given.

    Where the rule gave no baseline, or the tariff lacks something such as a price, there is still a statement, so that
    every event has one and can be asked about: of nothing, and with a note that says why. It is not a measured zero.
    """
    tariff = tariff or tariff_of(program)
    priced, unpriced = _priced(tariff, verified, program, terms, capability_test=capability_test)
    inputs = {
        "verification_sha256": verified.inputs_sha256,
        "site_id": site_id,
        "program_id": program.program_id,
        "price_per_kwh": program.price_per_kwh,
        "currency": program.currency,
        "capability_test": capability_test,
        "raw_sha256": raw_sha256,
    }
    if tariff.tariff_id != PLAIN_TARIFF:
        inputs |= {"tariff": tariff, "terms": terms, "agreed": program.agreed}
    notes = _notes(verified, capability_test=capability_test)
    if edition.own_baseline:
        notes.append(
            "The event is by the revenue meter, its baseline not all of it: a difference between that meter and ours "
            "counts as reduction. Import the days before, too."
        )
    if unpriced:
        notes.append(f"Nothing is priced under {tariff.tariff_id}: {unpriced}. The zero is no amount.")
    return SettlementStatement(
        statement_id=statement_id,
        site_id=site_id,
        program_id=program.program_id,
        verified=verified,
        price_per_kwh=program.price_per_kwh,
        currency=priced.currency if priced else program.currency,
        delivered_kwh=_kwh(math.fsum(interval.delivered_wh for interval in verified.intervals)),
        amount=priced.amount if priced else Decimal(0).quantize(_CENT),
        issued_at=issued_at,
        capability_test=capability_test,
        raw_sha256=raw_sha256,
        inputs_sha256=fingerprint(inputs),
        notes=(*notes, *(priced.notes if priced and verified.insufficient is None else ())),
        tariff=tariff.tariff_id,
        tariff_version=tariff.version,
        terms=terms,
        lines=priced.lines if priced else (),
        unpriced=unpriced,
        edition=edition,
    )


def delivery_of(
    verified: VerifiedReport, program: Program, terms: SettlementTerms, *, capability_test: bool = False
) -> Delivery:
    """What a tariff prices of an event."""
    return Delivery(
        event_id=verified.event_id,
        intervals=delivery_intervals(verified.intervals, {one.starts_at: one.price for one in terms.prices}),
        committed_kw=terms.committed_kw,
        awarded_kw=terms.awarded_kw,
        requested_kw=terms.requested_kw,
        agreed=agreed_prices(program),
        currency=program.currency,
        capability_test=capability_test,
    )


def agreed_prices(program: Program) -> Mapping[Part, Decimal]:
    """The contract's prices by the part of a tariff that takes them."""
    return MappingProxyType({Part.ENERGY: program.price_per_kwh, **program.agreed})


def _priced(
    tariff: Tariff, verified: VerifiedReport, program: Program, terms: SettlementTerms, *, capability_test: bool
) -> tuple[TariffStatement | None, str]:
    """What the event is worth, or why that cannot be told."""
    if verified.insufficient is not None:
        return None, ""
    try:
        return settle_event(tariff, delivery_of(verified, program, terms, capability_test=capability_test)), ""
    except ValueError as cause:
        # What a tariff cannot price, and figures that are no delivery, such as an energy out of all proportion.
        return None, str(cause)


def recompute(
    statement: SettlementStatement,
    inputs: VerificationInputs | SiteVerificationInputs,
    program: Program,
    *,
    tariff: Tariff | None = None,
    terms: SettlementTerms | None = None,
) -> SettlementStatement:
    """The statement as it should read; ids and instants are the statement's, and terms unless others are given.

    Raises as ``verify_event`` does.
    """
    at = statement.verified.verified_at
    if isinstance(inputs, SiteVerificationInputs):
        verified = verify_by_sites(inputs, verified_at=at)
    else:
        verified = verify_event(inputs, verified_at=at)
    found = settle(
        verified,
        program=program,
        site_id=statement.site_id,
        statement_id=statement.statement_id,
        issued_at=statement.issued_at,
        capability_test=statement.capability_test,
        raw_sha256=statement.raw_sha256,
        tariff=tariff,
        terms=statement.terms if terms is None else terms,
        edition=statement.edition,
    )
    if statement.tariff or found.tariff != PLAIN_TARIFF:
        return found
    # As the release wrote it that knew a single price only.
    return replace(found, tariff="", tariff_version="", lines=())


def check(
    statement: SettlementStatement,
    inputs: VerificationInputs | SiteVerificationInputs,
    program: Program,
    *,
    tariff: Tariff | None = None,
    terms: SettlementTerms | None = None,
) -> Difference | None:
    """Name the first figure of the statement that its inputs don't give, ``None`` where every one agrees exactly."""
    return first_difference(statement, recompute(statement, inputs, program, tariff=tariff, terms=terms))


def says_the_same(before: SettlementStatement, after: SettlementStatement) -> bool:
    """Whether two statements of an event differ in nothing but their names, instants and fingerprints."""
    if not before.tariff:
        after = replace(after, tariff="", tariff_version="", lines=())
    verified = replace(
        after.verified, verified_at=before.verified.verified_at, inputs_sha256=before.verified.inputs_sha256
    )
    after = replace(
        after,
        statement_id=before.statement_id,
        issued_at=before.issued_at,
        inputs_sha256=before.inputs_sha256,
        verified=verified,
        edition=replace(before.edition, shadow=after.edition.shadow, own_baseline=after.edition.own_baseline),
    )
    return before == after


def _kwh(energy_wh: float) -> Decimal:
    # A thousandth of a kilowatt-hour is a watt-hour: one rounding of the exact binary value, then only the point moves.
    rounded = EXACT.scaleb(Decimal(energy_wh).quantize(Decimal(1), rounding=ROUND_HALF_EVEN, context=EXACT), -3)
    return abs(rounded) if rounded.is_zero() else rounded


def _notes(verified: VerifiedReport, *, capability_test: bool) -> list[str]:
    notes = list(verified.notes)
    if capability_test:
        notes.append("This was a capability test: a real event, asked for to prove what the site can do.")
    if verified.insufficient is not None:
        notes.append(
            f"Nothing is settled: the rule {verified.rule} gives no baseline ({verified.insufficient}). "
            "The zero is no measurement."
        )
        return notes
    count = len(verified.intervals)
    low = sum(interval.coverage_fraction < _LOW_COVERAGE_FRACTION for interval in verified.intervals)
    if low:
        notes.append(
            f"{low} of {count} intervals are covered by readings for less than {_LOW_COVERAGE_FRACTION:.0%} of their "
            "time; what is not covered is neither credited nor charged."
        )
    for quality in (Quality.SUSPECT, Quality.ESTIMATED):
        touched = sum(interval.quality is quality for interval in verified.intervals)
        if touched:
            notes.append(f"{touched} of {count} intervals rest on {quality.value} readings.")
    if verified.adjustment_raw != verified.adjustment_applied:
        notes.append(
            f"The {verified.adjustment_kind} adjustment came to {verified.adjustment_raw:.6g} and was bounded to "
            f"{verified.adjustment_applied:.6g} by the rule."
        )
    return notes
