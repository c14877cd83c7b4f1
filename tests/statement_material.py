"""A statement to report on: a site of about 90 kW whose event took a third off, worked out by a shipped rule."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from gateway.domain.assurance.assure import Assurance, NotAssured, assure
from gateway.domain.assurance.inputs import AssuranceInputs
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.contract import Program
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.report.material import ControlAction, HistoryLine, StatementMaterial
from gateway.domain.settlement import settle
from gateway.domain.verification import VerificationInputs, verify_event

START = datetime(2025, 5, 5, 23, tzinfo=UTC)
END = START + timedelta(hours=3)
ZONE = ZoneInfo("America/Phoenix")


def material(
    *,
    event_id: str = "evt-1",
    statement_id: str = "site-utility-evt-1-r0",
    detail: str = "held",
    history: bool = True,
    actions: int = 3,
    quarters: int = 12,
) -> StatementMaterial:
    """Without ``history`` the rule gives no baseline. ``quarters`` of an hour is how long the event lasts."""
    metered = _metered(START + timedelta(minutes=15 * quarters)) if history else ()
    end = START + timedelta(minutes=15 * quarters)
    inputs = VerificationInputs(
        connection_id="utility",
        event_id=event_id,
        revision=0,
        event_start=START,
        event_end=end,
        ramp_start=START,
        rule=shipped_rules()["caiso-10-in-10"],
        timezone=ZONE,
        history=metered,
        measured=tuple(one for one in metered if START <= one.starts_at < end),
    )
    verified = verify_event(inputs, verified_at=end)
    statement = settle(
        verified,
        program=Program(program_id="peak", price_per_kwh=Decimal("0.75")),
        site_id="site",
        statement_id=statement_id,
        issued_at=end,
        raw_sha256="ab" * 32,
    )
    return StatementMaterial(
        statement=statement,
        timezone=ZONE,
        inputs=inputs,
        history=(HistoryLine(at=START, what="dispatched", detail=detail),),
        actions=tuple(
            ControlAction(
                at=START + timedelta(seconds=second),
                device_id="gpu-0",
                requested_w=400.0,
                applied_w=None,
                outcome="applied",
            )
            for second in range(actions)
        ),
    )


def half_covered(found: StatementMaterial) -> StatementMaterial:
    """The same, where the meter saw half of the first interval and nothing of the second."""
    verified = found.statement.verified
    first, second, *others = verified.intervals
    half = replace(first, coverage_fraction=0.5, baseline_wh=first.baseline_wh / 2, measured_wh=first.measured_wh / 2)
    none = replace(second, coverage_fraction=0.0, baseline_wh=0.0, measured_wh=0.0, delivered_wh=0.0)
    intervals = (half, none, *others)
    return replace(found, statement=replace(found.statement, verified=replace(verified, intervals=intervals)))


def _metered(until: datetime) -> tuple[IntervalEnergy, ...]:
    at = START - timedelta(days=30)
    found = []
    while at < until:
        power_w = (90_000 + 10_000 * math.sin(at.timestamp() / 7000)) * (0.67 if at >= START else 1.0)
        found.append(IntervalEnergy(starts_at=at, duration_s=900.0, energy_wh=power_w / 4, coverage_fraction=1.0))
        at += timedelta(minutes=15)
    return tuple(found)


def assured(found: StatementMaterial) -> StatementMaterial:
    """The same with its assurance, from the inputs that it has."""
    inputs = found.inputs
    assert isinstance(inputs, VerificationInputs)
    made = assure(
        AssuranceInputs(
            rule=inputs.rule,
            history=inputs.history,
            event_start=inputs.event_start,
            event_end=inputs.event_end,
            timezone=inputs.timezone,
            ramp_start=inputs.ramp_start,
            settled=found.statement.verified.intervals,
            other_rules=tuple(shipped_rules().values()),
        )
    )
    return replace(found, assurance=made if isinstance(made, Assurance) else NotAssured(reason=made.reason))
