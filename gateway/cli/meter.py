"""``gridgate meter``: energy of the revenue meter taken in, checked, estimated, edited and handed out."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.event import ByOption, given_by
from gateway.cli.output import BAD_USAGE, FAILED, as_json, fail, read_input, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url

SITE_METER = "site"
"""The meter that settles, as it is called in every record."""

meter = typer.Typer(help="Meter data: imported, checked, estimated, edited and exported.", no_args_is_help=True)

MeterOption = Annotated[
    str, typer.Option("--meter", help="The meter as the record calls it; the site's own is `site`.")
]
FormatOption = Annotated[str, typer.Option("--format", help="csv or greenbutton.")]
ZoneOption = Annotated[
    str | None,
    typer.Option(
        "--timezone",
        metavar="ZONE",
        help="IANA zone of stamps without an offset; for Green Button, of a feed that writes local time as UTC.",
    ),
]
SiteZoneOption = Annotated[
    str | None, typer.Option("--timezone", metavar="ZONE", help="IANA zone of the site; by default that of --config.")
]
RulesOption = Annotated[str, typer.Option("--rules", help="Sheet of thresholds: standard, california-mdma or ieso.")]
GeneratesOption = Annotated[bool, typer.Option("--generates", help="The site generates: energy may flow out.")]
FromOption = Annotated[str, typer.Option("--from", metavar="INSTANT", help="From then on, such as 2026-07-01T00:00Z.")]
ToOption = Annotated[str, typer.Option("--to", metavar="INSTANT", help="Up to then.")]


@meter.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with a header such as start,kWh, or a Green Button feed.")],
    *,
    meter_id: Annotated[
        str, typer.Option("--meter", help="Whose energy it is, as the record calls it; the site's own meter is `site`.")
    ],
    file_format: FormatOption = "csv",
    unit: Annotated[
        str | None, typer.Option(help="Wh, kWh, W or kW: what the values are in, whatever the header says.")
    ] = None,
    timezone_name: ZoneOption = None,
    usage_point: Annotated[str | None, typer.Option(help="Which one, of a Green Button feed with several.")] = None,
    kind: Annotated[
        str, typer.Option(help="revenue, which settlement goes by, or gateway: what a meter of ours kept itself.")
    ] = "revenue",
    check_only: Annotated[
        bool, typer.Option("--check-only", help="Say what would be imported; record nothing.")
    ] = False,
    by: ByOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Take metered energy into the record: the whole file, or nothing of it.

    What is imported later counts before what was imported earlier, and both before our own readings. Statements that it
    moves are issued anew by the running gateway.
    """
    from gateway.cli.meter_files import read_meter_file
    from gateway.cli.meter_text import imported_text
    from gateway.cli.meter_work import format_named, hand_over, kind_named, unit_named
    from gateway.cli.metered_event import zone_named

    url = database_url(config, database, json_wanted=json_wanted)
    name = given_by(by, json_wanted=json_wanted)
    content = read_input(file, json_wanted=json_wanted)
    try:
        handed = read_meter_file(
            content,
            format_named(file_format),
            unit=unit_named(unit),
            zone=zone_named(timezone_name),
            usage_point=usage_point,
        )
        whose = kind_named(kind)
    except ValueError as cause:
        fail(f"{file}: {cause}", code=BAD_USAGE, json_wanted=json_wanted)
    done = hand_over(
        url,
        handed,
        meter_id=meter_id,
        source=file.name,
        kind=whose,
        by=name,
        unit_is_certain=unit is not None,
        check_only=check_only,
        json_wanted=json_wanted,
    )
    show(done, json_wanted=json_wanted, text=lambda: imported_text(done))


@meter.command("imports")
def imports(config: ConfigOption = None, database: DatabaseOption = None, json_wanted: JsonOption = False) -> None:
    """List what was imported, in the order in which it was."""
    from gateway.cli.ask import read_record
    from gateway.cli.meter_text import imports_text

    url = database_url(config, database, json_wanted=json_wanted)
    found = read_record(url, lambda ledger: ledger.imports(), json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: imports_text(found))


@meter.command()
def export(
    *,
    first: FromOption,
    last: ToOption,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    meter_id: MeterOption = SITE_METER,
    file_format: FormatOption = "csv",
    timezone_name: ZoneOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Write a meter's energy as settlement reads it: imported and edited, and our own where there is neither.

    Intervals that are not wholly covered by readings are left out and counted: estimate them first.
    """
    from gateway.cli.meter_files import write_meter_file
    from gateway.cli.meter_work import format_named, period, series_of
    from gateway.cli.metered_event import zone_named

    url = database_url(config, database, json_wanted=json_wanted)
    try:
        kind, (start, end) = format_named(file_format), period(first, last, zone_named(timezone_name))
    except ValueError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    found = series_of(url, meter_id, start, end, json_wanted=json_wanted)
    whole = [one for one in found if one.coverage_fraction == 1.0]
    if not whole:
        fail(f"nothing is on record of meter {meter_id} from {first} to {last}", json_wanted=json_wanted)
    try:
        write_meter_file(out, kind, whole, meter_id=meter_id)
    except ValueError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    except OSError as cause:
        fail(f"cannot write {out}: {cause.strerror}", json_wanted=json_wanted)
    said = {"file": str(out), "intervals": len(whole), "left_out": len(found) - len(whole)}
    left = f"; {said['left_out']} that readings cover in part are left out" if said["left_out"] else ""
    show(said, json_wanted=json_wanted, text=lambda: f"{out}: {len(whole)} intervals{left}")


@meter.command()
def check(
    *,
    first: FromOption,
    last: ToOption,
    meter_id: MeterOption = SITE_METER,
    timezone_name: SiteZoneOption = None,
    rules: RulesOption = "standard",
    generates: GeneratesOption = False,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Say what is wrong with a meter's data, in words: gaps, spikes, clock steps, the unit, the register and more.

    Imported intervals are checked where there are any, else our own. Exit code 1 says that something was found.
    """
    from gateway.cli.meter_edits import checked, terms_of
    from gateway.cli.meter_text import checked_text
    from gateway.cli.meter_work import past_period

    url = database_url(config, database, json_wanted=json_wanted)
    try:
        terms = terms_of(rules, timezone_name, config, generates=generates, json_wanted=json_wanted)
        span = past_period(first, last, terms.zone)
    except ValueError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    found = checked(url, meter_id, span, terms, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: checked_text(found))
    if found.findings:
        raise typer.Exit(FAILED)


@meter.command()
def estimate(
    *,
    first: FromOption,
    last: ToOption,
    record: Annotated[bool, typer.Option("--record", help="Record the edits; without it they are proposed.")] = False,
    meter_id: MeterOption = SITE_METER,
    timezone_name: SiteZoneOption = None,
    rules: RulesOption = "standard",
    generates: GeneratesOption = False,
    by: ByOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Propose energy for what is missing or suspect, each with its reason; with --record it counts from now on.

    Exit code 1 says that something is, and nothing can be proposed for any of it.
    """
    from gateway.cli.meter_edits import estimated, terms_of
    from gateway.cli.meter_text import estimated_text
    from gateway.cli.meter_work import past_period

    url = database_url(config, database, json_wanted=json_wanted)
    name = given_by(by, json_wanted=json_wanted)
    try:
        terms = terms_of(rules, timezone_name, config, generates=generates, json_wanted=json_wanted)
        span = past_period(first, last, terms.zone)
    except ValueError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    found = estimated(url, meter_id, span, terms, by=name, record=record, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: estimated_text(found))
    if found.refused and not found.edits:
        raise typer.Exit(FAILED)


@meter.command()
def edit(
    *,
    at: Annotated[str, typer.Option(metavar="START", help="When the interval begins.")],
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the record.")],
    energy_kwh: Annotated[float | None, typer.Option(help="The energy that counts from now on.")] = None,
    unusable: Annotated[bool, typer.Option("--unusable", help="Nothing is known of the interval.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="What the meter said counts again.")] = False,
    quality: Annotated[str, typer.Option(help="What the energy is worth: good, estimated or suspect.")] = "estimated",
    although_unlikely: Annotated[
        bool, typer.Option("--although-unlikely", help="Take energy far beyond all that is on record around it.")
    ] = False,
    meter_id: MeterOption = SITE_METER,
    timezone_name: SiteZoneOption = None,
    by: ByOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Put energy in place of what a meter says of one interval, mark it as unusable, or take such edits back.

    What the meter said stays on record, and so does every edit.
    """
    from gateway.cli.history_csv import parse_instant
    from gateway.cli.meter_edits import edited, word_of
    from gateway.cli.meter_text import edited_text
    from gateway.cli.meter_work import quality_named
    from gateway.cli.metered_event import zone_named

    url = database_url(config, database, json_wanted=json_wanted)
    name = given_by(by, json_wanted=json_wanted)
    try:
        starts_at = parse_instant(at, zone_named(timezone_name))
        word = word_of(energy_kwh, unusable=unusable, undo=undo, quality=quality_named(quality))
    except ValueError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    done = edited(
        url,
        meter_id,
        starts_at,
        word,
        reason=" ".join(reason.split()),
        by=name,
        unlikely=although_unlikely,
        json_wanted=json_wanted,
    )
    show(done.edit, json_wanted=json_wanted, text=lambda: edited_text(done))


@meter.command()
def edits(
    meter_id: MeterOption = SITE_METER,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """List the edits of a meter, in the order in which they were made, and which of them count."""
    from gateway.cli.meter_edits import listed
    from gateway.cli.meter_text import edits_text

    found = listed(database_url(config, database, json_wanted=json_wanted), meter_id, json_wanted=json_wanted)
    shown = [{**as_json(one.edit), "counts": one.counts} for one in found]
    show(shown, json_wanted=json_wanted, text=lambda: edits_text(found))
