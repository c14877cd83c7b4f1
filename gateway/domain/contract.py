"""What was agreed with the grid, program by program."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One demand-response program as the facility manager declared it.

    ``program_id`` is the marketContext in OpenADR 2.0b and the programID in 3.x. ``levels`` says what a SIMPLE level
    means as a fraction of the live baseline. ``signal`` names the signal that governs (upper and lower case are one);
    ``None`` leaves it to ``gateway.domain.event.governing_signal``. ``baseline_rule`` names the rule sheet that
    settles. ``price_per_kwh`` is paid for a delivered kilowatt-hour, in ``currency`` (ISO 4217).
    ``stacks`` says that its reductions come on top of those of other programs that stack, too; else they do not add up.
    Events of a ``mandatory`` program cannot be opted out of.
    """

    program_id: str
    levels: Mapping[int, float] = field(default_factory=dict)
    baseline_rule: str = "meter-before-after"
    price_per_kwh: Decimal = Decimal(0)
    currency: str = "USD"
    signal: str | None = None
    stacks: bool = False
    mandatory: bool = False
