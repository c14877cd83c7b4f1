"""``gridgate tariff``: what a delivery is worth under a tariff, offline."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.delivery_json import DeliveryError, parse_deliveries
from gateway.cli.output import BAD_USAGE, as_json, fail, read_input, show
from gateway.domain.tariff.settle import settle_event, settle_month
from gateway.domain.tariff.sheet import find_tariff, shipped_tariffs
from gateway.domain.tariff.statement import TariffStatement
from gateway.domain.tariff.terms import Tariff, TariffError

tariff = typer.Typer(help="Tariffs: how a verified delivery becomes an amount, offline.", no_args_is_help=True)

TariffId = Annotated[str, typer.Argument(metavar="ID", help="Id of a tariff; see gridgate tariff list.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@tariff.command("list")
def list_(*, json_wanted: Json = False) -> None:
    """List the tariffs."""
    tariffs = shipped_tariffs().values()
    about = [
        {
            "tariff": one.tariff_id,
            "tariff_version": one.version,
            "title": one.title,
            "source": one.source,
            "clause": one.clause,
            "read": one.read,
            "currency": one.currency,
        }
        for one in tariffs
    ]
    show({"tariffs": about}, json_wanted=json_wanted, text=lambda: "\n".join(_about(one) for one in tariffs))


@tariff.command("show")
def show_(tariff_id: TariffId, *, json_wanted: Json = False) -> None:
    """Show a tariff: its parts, prices, rounding and source."""
    found = _found(tariff_id, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: _terms(found))


@tariff.command("try")
def try_(
    tariff_id: TariffId,
    *,
    delivery: Annotated[
        Path, typer.Option(metavar="FILE.json", help="The delivery of an event, or a month with its deliveries.")
    ],
    json_wanted: Json = False,
) -> None:
    """Settle a delivery under a tariff, with every line's working."""
    found = _found(tariff_id, json_wanted=json_wanted)
    content = read_input(delivery, json_wanted=json_wanted)
    try:
        deliveries, month = parse_deliveries(content)
        result = settle_event(found, deliveries[0]) if month is None else settle_month(found, deliveries, month)
    except (DeliveryError, TariffError) as cause:
        fail(f"{delivery}: {cause}", code=BAD_USAGE, json_wanted=json_wanted)
    show(result, json_wanted=json_wanted, text=lambda: _statement(result))


def _found(tariff_id: str, *, json_wanted: bool) -> Tariff:
    try:
        return find_tariff(shipped_tariffs(), tariff_id)
    except TariffError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)


def _about(one: Tariff) -> str:
    return f"{one.tariff_id}  {one.version}  {one.title}\n    {one.clause}\n    Source ({one.read}): {one.source}"


def _terms(one: Tariff) -> str:
    parts = {
        "energy": one.energy,
        "capacity": one.capacity,
        "availability": one.availability,
        "performance": one.performance,
        "penalty": one.penalty,
        "rounding": one.rounding,
    }
    lines = [_about(one), f"    Currency: {one.currency}"]
    lines += [f"    {name}: {_words(terms)}" for name, terms in parts.items() if terms is not None]
    lines += [f"    cap: {_words(cap)}" for cap in one.caps]
    paid = {True: "payable", False: "not payable"}
    lines.append(
        f"    estimates: {paid[one.estimates_payable]}; suspect readings: {paid[one.suspect_payable]}; "
        f"tests: {paid[one.capability_tests_payable]}"
    )
    return "\n".join(lines)


def _words(terms: object) -> str:
    """A part of a tariff on one line, its names as in the JSON."""
    match as_json(terms):
        case dict() as members:
            return ", ".join(f"{name} {_words(value)}" for name, value in members.items() if value is not None)
        case list() as items:
            return " | ".join(_words(item) for item in items)
        case value:
            return str(value)


def _statement(result: TariffStatement) -> str:
    lines = [f"{result.tariff} {result.tariff_version} ({result.read}), {result.covers}"]
    for line in result.lines:
        at = "" if line.starts_at is None else f" {line.starts_at:%Y-%m-%d %H:%M %Z}"
        lines.append(f"{line.line_id}  {line.part.value:<12}  {line.amount:>14f}  {line.what}{at}")
        lines.append(f"      {line.working}")
    lines += [f"      {part.part.value:<12}  {part.amount:>14f}" for part in result.parts]
    lines.append(f"total {result.amount} {result.currency}")
    return "\n".join(lines + [f"note: {note}" for note in result.notes])
