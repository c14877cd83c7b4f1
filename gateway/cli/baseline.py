"""``gridgate baseline``: a baseline rule over a metered history, offline."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.history_csv import HistoryError
from gateway.cli.metered_event import (
    instant_option,
    read_events,
    read_readings,
    read_temperatures,
    rule_named,
    window_option,
    zone_named,
    zone_of_days,
)
from gateway.cli.output import BAD_USAGE, FAILED, as_json, fail, show
from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.result import Baseline, CandidateDay, Insufficient
from gateway.domain.baseline.rule import Rule, shipped_rules
from gateway.domain.baseline.temperature import by_interval
from gateway.domain.measurement import IntervalEnergy


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
    temperature: Annotated[
        Path | None,
        typer.Option(help="CSV with a header: start,temperature_c, each for an hour at the most; for regressions."),
    ] = None,
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
        rule = rule_named(rule_id)
        zone = zone_named(timezone_name)
        window = window_option(event, zone)
        history = read_readings(readings, zone, json_wanted=json_wanted)
        output = None if generation is None else read_readings(generation, zone, json_wanted=json_wanted).intervals
        noticed_at = None if notice is None else instant_option("--notice", notice, zone)
        excluded = read_events(events, zone, json_wanted=json_wanted)
        temperatures = read_temperatures(temperature, zone, json_wanted=json_wanted)
        day_zone = zone or zone_of_days(rule, history)
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
        temperature_c=dict(by_interval(temperatures, _starts(history.intervals, window))) or None,
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


def _starts(intervals: Sequence[IntervalEnergy], window: tuple[datetime, datetime]) -> set[datetime]:
    """Of the meter's intervals, and of those in the event that have no reading."""
    starts = {one.starts_at for one in intervals}
    if intervals:
        step = timedelta(seconds=intervals[0].duration_s)
        at = intervals[0].starts_at + (window[0] - intervals[0].starts_at) // step * step
        while at < window[1]:
            starts.add(at)
            at += step
    return starts


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
