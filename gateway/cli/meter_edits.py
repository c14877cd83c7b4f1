"""What ``gridgate meter check``, ``estimate`` and ``edit`` do in the record. Apart from the commands that do it."""

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from uuid import uuid4

from gateway.cli.ask import read_record
from gateway.cli.history_csv import HistoryError
from gateway.cli.meter_work import written
from gateway.cli.metered_event import zone_named
from gateway.cli.output import BAD_USAGE, fail
from gateway.cli.settings import any_settings
from gateway.domain.vee.edit import Edit, Method
from gateway.domain.vee.estimate import Refused
from gateway.domain.vee.finding import Finding
from gateway.domain.vee.rule import VeeRules, find_rules, shipped_rules
from gateway.domain.vee.share import QualityShare, quality_share
from gateway.domain.vee.validate import marked
from gateway.ledger import Ledger
from gateway.services.meter_checking import check, edit_of, propose, series_of
from gateway.services.meter_data import MeterData
from hardware.device import Quality

ALWAYS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What only the site knows: its zone, the length of its intervals, and the thresholds that hold for it."""

    zone: tzinfo
    interval_s: float
    rules: VeeRules


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What was checked and what was found; ``of_imports`` where imported intervals were, else our own were.

    ``share`` is of the period as it is with the findings taken for suspect.
    """

    meter_id: str
    starts_at: datetime
    ends_at: datetime
    rules: str
    of_imports: bool
    interval_s: float
    intervals: int
    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...]
    share: QualityShare


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateResult:
    """Proposed edits, what there is no estimate for, and whether the edits are on record."""

    meter_id: str
    rules: str
    recorded: bool
    edits: tuple[Edit, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEdit:
    """An edit on record, and whether it counts: neither a later edit nor a later import came in its place."""

    edit: Edit
    counts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """An edit that was recorded, and the energy that counted before it, ``None`` where none was known."""

    edit: Edit
    before_wh: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What is said of an interval: see ``Edit``."""

    energy_wh: float | None
    method: Method
    quality: Quality


def word_of(energy_kwh: float | None, *, unusable: bool, undo: bool, quality: Quality) -> Word:
    """The one of three things that is said. Raises ``HistoryError`` for none of them, or two."""
    if (energy_kwh is not None) + unusable + undo != 1:
        raise HistoryError("say one of --energy-kwh, --unusable and --undo")
    if unusable:
        return Word(energy_wh=None, method=Method.REMOVED, quality=Quality.SUSPECT)
    if energy_kwh is None:
        return Word(energy_wh=None, method=Method.RAW, quality=Quality.GOOD)
    if not math.isfinite(energy_kwh):
        raise HistoryError(f"--energy-kwh {energy_kwh} is no energy")
    return Word(energy_wh=energy_kwh * 1000.0, method=Method.ENTERED, quality=quality)


def terms_of(rules_id: str, zone_name: str | None, config: Path | None, *, generates: bool, json_wanted: bool) -> Terms:
    """The terms that options and config file give. Raises ``HistoryError`` and ``RuleError``, both ``ValueError``."""
    zone: tzinfo | None = zone_named(zone_name)
    highest_power_w, interval_s = None, 300.0
    if config is not None:
        site = any_settings(config, json_wanted=json_wanted).site.site()
        zone, highest_power_w, interval_s = zone or site.timezone, site.import_limit_w, float(site.interval_s)
    if zone is None:
        raise HistoryError("days are those of the site: say with --timezone which zone it is in, or name its --config")
    rules = find_rules(shipped_rules(), rules_id)
    return Terms(
        zone=zone,
        interval_s=interval_s,
        rules=rules.for_site(generates=generates, highest_power_w=highest_power_w, calendar=rules.like_days.calendar),
    )


def checked(
    url: str, meter_id: str, span: tuple[datetime, datetime], terms: Terms, *, json_wanted: bool
) -> CheckResult:
    """Check a period. Ends the command where the record cannot be read."""

    async def asked(ledger: Ledger) -> CheckResult:
        series = await series_of(ledger, meter_id, *span, beside=_beside(terms), interval_s=terms.interval_s)
        found = check(series, zone=terms.zone, rules=terms.rules)
        return CheckResult(
            meter_id=meter_id,
            starts_at=span[0],
            ends_at=span[1],
            rules=f"{terms.rules.rules_id} {terms.rules.version}",
            of_imports=series.of_imports,
            interval_s=series.interval_s,
            intervals=sum(span[0] <= one.starts_at < span[1] for one in series.intervals),
            findings=found.findings,
            unchecked=found.unchecked,
            share=quality_share(marked(series.intervals, found.findings), start=span[0], end=span[1]),
        )

    return read_record(url, asked, json_wanted=json_wanted)


def estimated(
    url: str, meter_id: str, span: tuple[datetime, datetime], terms: Terms, *, by: str, record: bool, json_wanted: bool
) -> EstimateResult:
    """Propose edits for a period, and record them where that is wanted, all or none."""

    async def asked(ledger: Ledger) -> EstimateResult:
        series = await series_of(ledger, meter_id, *span, beside=_beside(terms), interval_s=terms.interval_s)
        found = propose(series, zone=terms.zone, rules=terms.rules, by=by, at=datetime.now(UTC))

        async def write(at: datetime) -> tuple[Edit, ...]:
            edits = tuple(replace(one, at=at) for one in found.edits)
            await ledger.record_edits(edits)
            return edits

        return EstimateResult(
            meter_id=meter_id,
            rules=f"{terms.rules.rules_id} {terms.rules.version}",
            recorded=record and bool(found.edits),
            edits=await written(write) if record and found.edits else found.edits,
            refused=found.refused,
        )

    return read_record(url, asked, json_wanted=json_wanted)


def edited(
    url: str,
    meter_id: str,
    starts_at: datetime,
    word: Word,
    *,
    reason: str,
    by: str,
    unlikely: bool,
    json_wanted: bool,
) -> Edited:
    """Record an edit of one interval. Ends the command with exit code 2 where there is no such interval."""
    edit_id = uuid4().hex

    async def asked(ledger: Ledger) -> Edited | str:
        try:
            edit = await edit_of(
                ledger,
                edit_id=edit_id,
                meter_id=meter_id,
                starts_at=starts_at,
                energy_wh=word.energy_wh,
                method=word.method,
                quality=word.quality,
                reason=reason,
                by=by,
                at=datetime.now(UTC),
                unlikely=unlikely,
            )
        except (ValueError, LookupError) as cause:
            # It is on no record, so that its id says nothing.
            return str(cause).removeprefix(f"edit {edit_id}: ")
        end = starts_at + timedelta(seconds=edit.duration_s)
        stood = await MeterData(ledger).series_between(meter_id, starts_at, end)
        before_wh = next((one.energy_wh for one in stood if one.coverage_fraction > 0.0), None)

        async def write(at: datetime) -> Edit:
            await ledger.record_edit(replace(edit, at=at))
            return replace(edit, at=at)

        return Edited(edit=await written(write), before_wh=before_wh)

    found = read_record(url, asked, json_wanted=json_wanted)
    if isinstance(found, str):
        fail(f"{found}; nothing was recorded", code=BAD_USAGE, json_wanted=json_wanted)
    return found


def listed(url: str, meter_id: str, *, json_wanted: bool) -> tuple[ListedEdit, ...]:
    """All edits of a meter, in the order in which they were recorded."""

    async def asked(ledger: Ledger) -> tuple[ListedEdit, ...]:
        edits = await ledger.edits_between(meter_id, *ALWAYS)
        counting = {one.edit_id for one in await MeterData(ledger).counting_between(meter_id, *ALWAYS)}
        return tuple(ListedEdit(edit=one, counts=one.edit_id in counting) for one in edits)

    return read_record(url, asked, json_wanted=json_wanted)


def _beside(terms: Terms) -> timedelta:
    return timedelta(days=terms.rules.like_days.within_days + 1)
