"""``gridgate baseline``: a baseline rule over a metered history, offline."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from gateway.cli.history_csv import (
    HistoryError,
    MeteredHistory,
    parse_event,
    parse_events,
    parse_instant,
    parse_readings,
)
from gateway.cli.output import BAD_USAGE, FAILED, as_json, fail, read_input, show
from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.result import Baseline, CandidateDay, Insufficient
from gateway.domain.baseline.rule import DayMatching, GeneratorOutput, Rule, find_rule, shipped_rules


def baseline(
    rule_id: Annotated[str | None, typer.Argument(metavar="RULE", help="Id of a rule; see --list.")] = None,
    *,
    readings: Annotated[
        Path | None, typer.Option(help="CSV with a header: timestamp,kw or timestamp,kwh (start of interval).")
    ] = None,
    event: Annotated[str | None, typer.Option(metavar="START/END", help="The event, as two ISO 8601 instants.")] = None,
    events: Annotated[Path | None, typer.Option(help="CSV with a header start,end: other events, left out.")] = None,
    notice: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="When the site was told of the event, for rules that ask it.")
    ] = None,
    generation: Annotated[
        Path | None, typer.Option(help="CSV like --readings: output of the generator behind the meter, positive.")
    ] = None,
    declared_kw: Annotated[float | None, typer.Option(help="The level declared to the programme, in kW.")] = None,
    timezone_name: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="IANA zone of naive stamps and of the days.")
    ] = None,
    list_wanted: Annotated[bool, typer.Option("--list", help="List the rules.")] = False,
    json_wanted: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compute a settlement baseline from a metered history, with every candidate day and its reason."""
    rules = shipped_rules()
    if list_wanted:
        show(
            {"rules": [_about(rule) for rule in rules.values()]},
            json_wanted=json_wanted,
            text=lambda: _listing(rules.values()),
        )
        return
    try:
        if rule_id is None or readings is None or event is None:
            raise HistoryError("a RULE, --readings and --event are needed; --list shows the rules")
        rule = _rule(rule_id)
        zone = _zone(timezone_name)
        window = _window(event, zone)
        history = _readings(readings, zone, json_wanted=json_wanted)
        output = None if generation is None else _readings(generation, zone, json_wanted=json_wanted).intervals
        noticed_at = None if notice is None else _notice(notice, zone)
        excluded: tuple[tuple[datetime, datetime], ...] = ()
        if events is not None:
            with _naming(events):
                excluded = parse_events(read_input(events, json_wanted=json_wanted), zone)
        day_zone = zone or _zone_of_stamps(rule, history)
    except HistoryError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    answer = evaluate(
        rule,
        history.intervals,
        event_start=window[0],
        event_end=window[1],
        timezone=day_zone,
        excluded=excluded,
        noticed_at=noticed_at,
        generation=output,
        declared_w=None if declared_kw is None else declared_kw * 1000,
    )
    if isinstance(answer, Insufficient):
        result = {
            "insufficient": answer.reason,
            "rule": answer.rule,
            "rule_version": answer.rule_version,
            "days": as_json(answer.days),
        }
        show(result, json_wanted=json_wanted, text=lambda: _insufficient_text(answer))
        raise typer.Exit(FAILED)
    show(answer, json_wanted=json_wanted, text=lambda: _text(answer, window, day_zone))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except HistoryError as cause:
        raise HistoryError(f"{path}: {cause}") from cause


def _rule(rule_id: str) -> Rule:
    try:
        return find_rule(rule_id)
    except ValueError as cause:
        raise HistoryError(str(cause)) from cause


def _readings(path: Path, zone: tzinfo | None, *, json_wanted: bool) -> MeteredHistory:
    with _naming(path):
        return parse_readings(read_input(path, json_wanted=json_wanted), zone)


def _notice(notice: str, zone: tzinfo | None) -> datetime:
    try:
        return parse_instant(notice, zone)
    except HistoryError as cause:
        raise HistoryError(f"--notice: {cause}") from cause


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    # An unknown name, a name that leads out of the database, or one of a folder in it (such as America).
    except (ZoneInfoNotFoundError, ValueError, OSError) as cause:
        raise HistoryError(f"no time zone {name!r}: use an IANA name such as America/Phoenix") from cause


def _zone_of_stamps(rule: Rule, history: MeteredHistory) -> tzinfo:
    """Without a zone the days are those of the stamps' own offset, where there is but one."""
    if len(history.offsets) > 1 and isinstance(rule.method, DayMatching | GeneratorOutput):
        raise HistoryError("the stamps have more than one UTC offset: say with --timezone what a day is")
    return timezone(min(history.offsets))


def _window(event: str, zone: tzinfo | None) -> tuple[datetime, datetime]:
    start, slash, end = event.partition("/")
    if not slash:
        raise HistoryError(f"--event {event!r} is not START/END")
    try:
        return parse_event(start, end, zone)
    except HistoryError as cause:
        raise HistoryError(f"--event: {cause}") from cause


def _about(rule: Rule) -> dict[str, str]:
    return {
        "rule": rule.rule_id,
        "rule_version": rule.version,
        "title": rule.title,
        "source": rule.source,
        "clause": rule.clause,
        "read": rule.read,
    }


def _listing(rules: Iterable[Rule]) -> str:
    return "\n".join(
        f"{rule.rule_id}  {rule.version}  {rule.title}\n    {rule.clause}\n    Source ({rule.read}): {rule.source}"
        for rule in rules
    )


def _text(answer: Baseline, window: tuple[datetime, datetime], zone: tzinfo) -> str:
    start, end = (at.astimezone(zone) for at in window)
    lines = [f"{answer.rule} {answer.rule_version}, event {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} {zone}"]
    lines += _day_lines(answer.days)
    adjustment = answer.adjustment
    if adjustment.raw is not None and adjustment.applied is not None:
        bounded = "" if adjustment.raw == adjustment.applied else f", bounded from {adjustment.raw:.6f}"
        lines += ["", f"{adjustment.kind} adjustment {adjustment.applied:.6f}{bounded}"]
    lines += ["", "interval          unadjusted kW  baseline kW  measured kW  reduction kW"]
    lines += [
        f"{interval.starts_at.astimezone(zone):%Y-%m-%d %H:%M}"
        f"{_kw(interval.unadjusted_w, 15)}{_kw(interval.baseline_w, 13)}"
        f"{_kw(interval.measured_w, 13)}{_kw(interval.reduction_w, 14)}"
        for interval in answer.intervals
    ]
    lines += ["", f"reduction {_reduction_kwh(answer, window):.3f} kWh within the event, where there are readings"]
    if answer.after_w is not None:
        lines.append(f"after the event {answer.after_w / 1000:.3f} kW; this changes nothing")
    return "\n".join(lines + [f"note: {note}" for note in answer.notes])


def _insufficient_text(answer: Insufficient) -> str:
    return "\n".join([f"insufficient: {answer.reason}", *_day_lines(answer.days)])


def _day_lines(days: Sequence[CandidateDay]) -> list[str]:
    if not days:
        return []
    rows = [f"{day.date}  {'x' if day.selected else '-'}  {day.reason:<13}  {day.detail}".rstrip() for day in days]
    return ["", "day        used  reason", *rows]


def _kw(power_w: float | None, width: int) -> str:
    return f"{'-' if power_w is None else format(power_w / 1000, '.3f'):>{width}}"


def _reduction_kwh(answer: Baseline, window: tuple[datetime, datetime]) -> float:
    """Signed; an interval that reaches outside the event counts by its share within."""
    total_ws = 0.0
    for interval in answer.intervals:
        begins = max(interval.starts_at, window[0])
        ends = min(interval.starts_at + timedelta(seconds=interval.duration_s), window[1])
        total_ws += (interval.reduction_w or 0.0) * (ends - begins).total_seconds()
    return total_ws / 3.6e6
