"""From verified reduction to money, rounded once, and the same figures computed anew.

Rounding stands here and nowhere else: energy to 0.001 kWh, money to 0.01 of the currency, both half to even. The amount
is the price of the rounded energy, so that a reader can multiply the two figures of the statement and find the third.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from gateway.domain.contract import Program
from gateway.domain.evidence import Difference, fingerprint, first_difference
from gateway.domain.site_verification import SiteVerificationInputs, verify_by_sites
from gateway.domain.verification import VerificationInputs, VerifiedReport, verify_event
from hardware.device import Quality

_CENT = Decimal("0.01")
_LOW_COVERAGE_FRACTION = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementStatement:
    """What one event is worth.

    ``delivered_kwh`` is the signed sum over the intervals and ``amount`` its price in ``currency``; each is rounded
    once, here. ``inputs_sha256`` is over the canonical JSON of everything that the figures were computed from: the
    verification's inputs (by their own fingerprint), the price, and whose statement it is.
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


def settle(
    verified: VerifiedReport,
    *,
    program: Program,
    site_id: str,
    statement_id: str,
    issued_at: datetime,
    capability_test: bool = False,
    raw_sha256: str = "",
) -> SettlementStatement:
    """Price what was verified.

    Where the rule gave no baseline there is still a statement, so that every event has one and can be asked about: of
    nothing, with no interval, and a note that says why. It is not a measured zero.
    """
    delivered_kwh = _kwh(math.fsum(interval.delivered_wh for interval in verified.intervals))
    inputs = {
        "verification_sha256": verified.inputs_sha256,
        "site_id": site_id,
        "program_id": program.program_id,
        "price_per_kwh": program.price_per_kwh,
        "currency": program.currency,
        "capability_test": capability_test,
        "raw_sha256": raw_sha256,
    }
    return SettlementStatement(
        statement_id=statement_id,
        site_id=site_id,
        program_id=program.program_id,
        verified=verified,
        price_per_kwh=program.price_per_kwh,
        currency=program.currency,
        delivered_kwh=delivered_kwh,
        amount=_rounded(delivered_kwh * program.price_per_kwh, _CENT),
        issued_at=issued_at,
        capability_test=capability_test,
        raw_sha256=raw_sha256,
        inputs_sha256=fingerprint(inputs),
        notes=_notes(verified, capability_test=capability_test),
    )


def recompute(
    statement: SettlementStatement, inputs: VerificationInputs | SiteVerificationInputs, program: Program
) -> SettlementStatement:
    """The statement as it should read, from its inputs and the program's price; ids and instants are the statement's.

    Raises as ``verify_event`` does.
    """
    at = statement.verified.verified_at
    if isinstance(inputs, SiteVerificationInputs):
        verified = verify_by_sites(inputs, verified_at=at)
    else:
        verified = verify_event(inputs, verified_at=at)
    return settle(
        verified,
        program=program,
        site_id=statement.site_id,
        statement_id=statement.statement_id,
        issued_at=statement.issued_at,
        capability_test=statement.capability_test,
        raw_sha256=statement.raw_sha256,
    )


def check(
    statement: SettlementStatement, inputs: VerificationInputs | SiteVerificationInputs, program: Program
) -> Difference | None:
    """Name the first figure of the statement that its inputs don't give, ``None`` where every one agrees exactly."""
    return first_difference(statement, recompute(statement, inputs, program))


def _kwh(energy_wh: float) -> Decimal:
    # A thousandth of a kilowatt-hour is a watt-hour: one rounding of the exact binary value, then only the point moves.
    return _rounded(Decimal(energy_wh), Decimal(1)).scaleb(-3)


def _rounded(value: Decimal, step: Decimal) -> Decimal:
    """Rounded half to even; a zero has no sign."""
    rounded = value.quantize(step, rounding=ROUND_HALF_EVEN)
    return abs(rounded) if rounded.is_zero() else rounded


def _notes(verified: VerifiedReport, *, capability_test: bool) -> tuple[str, ...]:
    notes = list(verified.notes)
    if capability_test:
        notes.append("This was a capability test: a real event, asked for to prove what the site can do.")
    if verified.insufficient is not None:
        notes.append(
            f"Nothing is settled: the rule {verified.rule} gives no baseline ({verified.insufficient}). "
            "The zero is no measurement."
        )
        return tuple(notes)
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
    return tuple(notes)
