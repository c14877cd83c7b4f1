"""``gridgate verification``: how far a verified reduction can be trusted, offline."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.history_csv import HistoryError
from gateway.cli.output import BAD_USAGE, FAILED, as_json, fail, show

verification = typer.Typer(help="How far a verified reduction can be trusted.", no_args_is_help=True)


@verification.callback()
def verification_root() -> None:
    """How far a verified reduction can be trusted."""


@verification.command("assess")
def assess(
    rule_id: Annotated[str, typer.Argument(metavar="RULE", help="Id of a rule; see gridgate baseline --list.")],
    *,
    readings: Annotated[Path, typer.Option(help="CSV with a header: timestamp,kw or timestamp,kwh.")],
    event: Annotated[str, typer.Option(metavar="START/END", help="The event, as two ISO 8601 instants.")],
    events: Annotated[Path | None, typer.Option(help="CSV with a header start,end: other events, left out.")] = None,
    devices: Annotated[Path | None, typer.Option(help="CSV like --readings: the sum of all GPUs.")] = None,
    notice: Annotated[str | None, typer.Option(metavar="INSTANT", help="When the site was told of the event.")] = None,
    timezone_name: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="IANA zone of naive stamps and of the days.")
    ] = None,
    json_wanted: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Assess one event: bounds from placebo days, accuracy, other rules, rebound and gaming tests."""
    from gateway.cli.metered_event import (
        instant_option,
        read_events,
        read_readings,
        rule_named,
        window_option,
        zone_named,
        zone_of_days,
    )
    from gateway.cli.verification_text import in_words
    from gateway.domain.assurance.assure import assure
    from gateway.domain.assurance.inputs import AssuranceInputs
    from gateway.domain.baseline.result import Insufficient
    from gateway.domain.baseline.rule import shipped_rules

    try:
        rule = rule_named(rule_id)
        zone = zone_named(timezone_name)
        start, end = window_option(event, zone)
        history = read_readings(readings, zone, json_wanted=json_wanted)
        inputs = AssuranceInputs(
            rule=rule,
            history=history.intervals,
            event_start=start,
            event_end=end,
            timezone=zone or zone_of_days(rule, history),
            excluded=tuple(
                other for other in read_events(events, zone, json_wanted=json_wanted) if other != (start, end)
            ),
            noticed_at=None if notice is None else instant_option("--notice", notice, zone),
            other_rules=tuple(shipped_rules().values()),
            devices=None if devices is None else read_readings(devices, zone, json_wanted=json_wanted).intervals,
        )
    except HistoryError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    found = assure(inputs)
    if isinstance(found, Insufficient):
        insufficient = {"insufficient": found.reason, "rule": found.rule, "rule_version": found.rule_version}
        show(
            {**insufficient, "days": as_json(found.days)},
            json_wanted=json_wanted,
            text=lambda: f"insufficient: {found.reason}",
        )
        raise typer.Exit(FAILED)
    show(found, json_wanted=json_wanted, text=lambda: in_words(found))
