"""From verified reduction to money, rounded once."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gateway.domain.verification import VerifiedReport


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementStatement:
    """What one event is worth.

    ``delivered_kwh`` is the signed sum over the intervals and ``amount`` its price in ``currency``; each is rounded
    once, here. ``inputs_sha256`` is over the canonical JSON of everything that the figures were computed from.
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
