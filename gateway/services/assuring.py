"""How far a statement can be trusted, from what the record holds about its event. What it does not hold is not known.

The same record gives the same answer. Nothing here acts on anything: pages, reports and commands ask.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter

from gateway.domain.assurance.assure import Assurance, NotAssured, assure
from gateway.domain.assurance.inputs import AssuranceInputs, RuleInForce, WorkKept
from gateway.domain.baseline.days import same_wall_clock
from gateway.domain.baseline.method import Anchor
from gateway.domain.baseline.reach import look_back, reads_until
from gateway.domain.baseline.result import Insufficient
from gateway.domain.baseline.rule import MeterBeforeAfter, Rule
from gateway.domain.contract import Program
from gateway.domain.event import EventRecord, took_part_until
from gateway.domain.fleet import Site
from gateway.domain.measurement import IntervalEnergy, Slice
from gateway.domain.settlement import SettlementStatement
from gateway.domain.verification import VerificationInputs
from gateway.domain.work_account import WorkAccount
from gateway.ledger import Ledger
from gateway.services.meter_data import MeterData
from gateway.services.settling import MINUTE_S, gather_inputs, interval_end, settles, temperatures

LOOK_BACK_DAYS = 60
"""Days that may be placebo days; each of them needs the days behind it that the rule looks at."""

AFTER = timedelta(hours=4)
"""So long after an event a rebound is looked for, or until the next event."""

_BEFORE = timedelta(hours=4)
"""Devices are held against the meter from so long before the event."""

_LOOK_BACK = timedelta(days=LOOK_BACK_DAYS)
_FOREVER = datetime.max.replace(tzinfo=UTC)
_DAY = timedelta(days=1)
_MINUTE = timedelta(seconds=MINUTE_S)
_EARLY = timedelta(minutes=1)
"""The first curtailment of an event may be noted so long before its ramp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssuranceSources:
    """Whose statements are assessed, by which sheets, under which terms."""

    ledger: Ledger
    site: Site
    rules: Mapping[str, Rule]
    programs: Mapping[str, Program] = field(default_factory=dict)

    def declared_w(self, statement: SettlementStatement) -> float | None:
        """The level that was declared to the statement's program."""
        program = self.programs.get(statement.program_id)
        return None if program is None else program.declared_w


async def assurance_of(sources: AssuranceSources, statement: SettlementStatement) -> Assurance | NotAssured:
    """The assessment of one statement, worked out in a thread. Raises ``LedgerUnavailable``."""
    inputs = await gather_assurance(sources, statement)
    if isinstance(inputs, NotAssured):
        return inputs
    found = await asyncio.to_thread(assure, inputs)
    if isinstance(found, Insufficient):
        return NotAssured(reason=f"the rule gives no baseline ({found.reason})")
    return found


async def gather_assurance(sources: AssuranceSources, statement: SettlementStatement) -> AssuranceInputs | NotAssured:
    """Everything that the assessment of a statement is computed from, or why there can be none."""
    verified = statement.verified
    record = await sources.ledger.event(verified.connection_id, verified.event_id)
    rule = sources.rules.get(verified.rule)
    why_not = _why_not(statement, record, rule)
    if why_not is not None or record is None or rule is None:
        return NotAssured(reason=why_not or "its event or its rule is not known")
    site, ledger = sources.site, sources.ledger
    declared_w = sources.declared_w(statement)
    as_of = verified.verified_at
    asked = await gather_inputs(ledger, site, record, rule, as_of=as_of, declared_w=declared_w)
    data = MeterData(ledger, interval_s=site.interval_s, as_of=as_of)
    start, end = asked.event_start, asked.event_end
    after = await _after(ledger, record, end)
    reach = [reads_until(one, start, end, site.timezone) for one in sources.rules.values()]
    last = interval_end(max(end + after, *reach), site.interval_s)
    back = max(_LOOK_BACK + look_back(rule), *map(look_back, sources.rules.values())) + _DAY
    first = min(asked.ramp_start or start, record.first_received_at) - back
    history = await _closed(data, site.meter_id, first, last)
    generator = site.generator_meter_id
    return AssuranceInputs(
        rule=rule,
        history=history,
        event_start=start,
        event_end=end,
        timezone=site.timezone,
        excluded=_others(asked),
        ramp_start=asked.ramp_start,
        noticed_at=record.first_received_at,
        generation=() if generator is None else await _closed(data, generator, first, last),
        declared_w=declared_w,
        temperature_c=await _temperatures(ledger, site, rule, asked, as_of),
        minutes=await _minutes(data, site, rule, asked),
        settled=verified.intervals,
        other_rules=tuple(sources.rules.values()),
        devices=await _devices(sources, history, start - _BEFORE, end),
        past_rules=await _past_rules(ledger, statement),
        work=_work(await ledger.work_accounts(), asked),
        look_back_days=LOOK_BACK_DAYS,
        after_h=after / timedelta(hours=1),
    )


def _why_not(statement: SettlementStatement, record: EventRecord | None, rule: Rule | None) -> str | None:
    verified = statement.verified
    if verified.sites:
        return "it is the sum of what sites below have verified: ask for the assurance of the statement of each of them"
    if verified.insufficient is not None:
        return f"the rule gives no baseline ({verified.insufficient})"
    if record is None:
        return f"event {verified.event_id!r} is not on record"
    if record.event.revision != verified.revision:
        return f"the event was revised since: ask for the statement of revision {record.event.revision}"
    if rule is None or rule.version != verified.rule_version:
        return f"rule {verified.rule!r} in version {verified.rule_version} does not come with this gridgate"
    return None


async def _temperatures(
    ledger: Ledger, site: Site, rule: Rule, asked: VerificationInputs, as_of: datetime
) -> tuple[tuple[datetime, float], ...]:
    """Those that the event was settled with, and of the days behind placebo days."""
    if not asked.temperature_c:
        return ()
    last = asked.temperature_c[-1][0] + timedelta(seconds=site.interval_s)
    return await temperatures(ledger, site, rule, asked.event_start, last, as_of=as_of, back=_LOOK_BACK)


async def _after(ledger: Ledger, record: EventRecord, end: datetime) -> timedelta:
    """``AFTER``, or until the next event begins; nothing where one goes on already."""
    key = (record.event.connection_id, record.event.event_id)
    others = [
        max(timedelta(), one.event.starts_at - end)
        for one in await ledger.events(since=end)
        if settles(one)
        and (one.event.connection_id, one.event.event_id) != key
        and (took_part_until(one) or _FOREVER) > end
    ]
    return min([AFTER, *others])


async def _closed(data: MeterData, meter_id: str, first: datetime, last: datetime) -> tuple[IntervalEnergy, ...]:
    """Closed intervals, read day by day: months at once would hold up whoever else is on this loop."""
    found: list[IntervalEnergy] = []
    opens = first
    while opens < last:
        found += await data.energy_between(meter_id, opens, min(opens + _DAY, last))
        opens += _DAY
    return tuple(found)


async def _minutes(data: MeterData, site: Site, rule: Rule, asked: VerificationInputs) -> tuple[IntervalEnergy, ...]:
    """The minutes that the rule reads, of the event's day and at the same hours of days like it.

    None are needed where the rule's window and the event's ramp are whole closed intervals, which say the same.
    """
    method = rule.method
    if not isinstance(method, MeterBeforeAfter) or _fits(method, asked, site.interval_s):
        return ()
    own = asked.event_start.astimezone(site.timezone).date()
    found = list(asked.history)
    for back in range(LOOK_BACK_DAYS, 0, -1):
        day = own - timedelta(days=back)
        start = same_wall_clock(asked.event_start, own, day, site.timezone)
        if start is None or _weekend(day) != _weekend(own):
            continue
        moved = start - asked.event_start
        pieces = [Slice(starts_at=one.starts_at + moved, duration_s=one.duration_s) for one in asked.history]
        for run in _runs(pieces):
            found += await data.energy_over(site.meter_id, run, run[-1].ends_at)
    return tuple(sorted(found, key=attrgetter("starts_at")))


def _fits(method: MeterBeforeAfter, asked: VerificationInputs, interval_s: int) -> bool:
    anchor = asked.noticed_at if method.anchor is Anchor.NOTICE else asked.ramp_start
    lengths_s = (method.length_s, method.align_s or 0.0, (anchor or asked.event_start).timestamp())
    return all(length_s % interval_s == 0 for length_s in lengths_s)


def _weekend(day: date) -> bool:
    return day.weekday() >= 5


def _runs(pieces: Sequence[Slice]) -> list[list[Slice]]:
    """Stretches without a gap, each of an hour at the most: so much is read at once."""
    runs: list[list[Slice]] = []
    for piece in pieces:
        if runs and runs[-1][-1].ends_at == piece.starts_at and len(runs[-1]) < 60:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


async def _devices(
    sources: AssuranceSources, history: Sequence[IntervalEnergy], start: datetime, end: datetime
) -> tuple[IntervalEnergy, ...] | None:
    """All devices together on the meter's intervals; a minute in which one of them is missing is not covered."""
    site = sources.site
    apart = {one for one in (site.meter_id, site.generator_meter_id) if one is not None}
    minutes = await sources.ledger.totals_between(start, end, apart_from=apart)
    if not minutes:
        return None
    count = max(minute.meters for minute in minutes)
    whole = {minute.starts_at: minute.power_w for minute in minutes if minute.meters == count}
    return tuple(_together(one, whole) for one in history if start <= one.starts_at < end)


def _together(metered: IntervalEnergy, whole_w: Mapping[datetime, float]) -> IntervalEnergy:
    steps = int(metered.duration_s // MINUTE_S)
    found_w = [whole_w[at] for at in (metered.starts_at + index * _MINUTE for index in range(steps)) if at in whole_w]
    return IntervalEnergy(
        starts_at=metered.starts_at,
        duration_s=metered.duration_s,
        energy_wh=math.fsum(found_w) * MINUTE_S / 3_600,
        coverage_fraction=len(found_w) * MINUTE_S / metered.duration_s,
    )


async def _past_rules(ledger: Ledger, statement: SettlementStatement) -> tuple[RuleInForce, ...]:
    """Which rule settled the program's events up to this one.

    The record does not say who asked for a change. The rule stands in the site's own configuration, so that each change
    counts as the site's: somebody has to look at it.
    """
    found = [one for one in await ledger.statements() if one.program_id == statement.program_id]
    return tuple(
        RuleInForce(since=one.verified.intervals[0].starts_at, rule=one.verified.rule, chosen_by_site=True)
        for one in found
        if one.verified.intervals
        and not one.verified.sites
        and one.verified.intervals[0].starts_at <= statement.verified.intervals[0].starts_at
    )


def _work(accounts: Sequence[WorkAccount], asked: VerificationInputs) -> tuple[WorkKept, ...] | None:
    """What jobs went without in the event, where accounts still say it.

    An account is of the last stretch of time in which something was asked of the site. ``None`` where a later stretch
    has taken its place, where the event was part of a longer one, and where nobody noted on how many devices a job is.
    """
    begins, end = (asked.ramp_start or asked.event_start) - _EARLY, asked.event_end
    known = [account for account in accounts if account.since < end]
    if any(account.asked_since >= end for account in known):
        return None
    if any(starts < end and ends >= begins for starts, ends in _others(asked)):
        return None
    of_event = [account for account in known if account.asked_since >= begins]
    if not of_event or any(account.devices is None for account in of_event):
        return None
    return tuple(
        WorkKept(job_id=account.job_id, gpus=account.devices or 0, lost_s=account.asked_lost_s) for account in of_event
    )


def _others(asked: VerificationInputs) -> tuple[tuple[datetime, datetime], ...]:
    return tuple(other for other in asked.excluded if other != (asked.event_start, asked.event_end))
