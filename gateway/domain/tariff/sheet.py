"""Tariff sheets: what a tariff says, as data, and the reading of a sheet.

A sheet is TOML; every price, factor and step is a whole number or text, so that none passes through a float. Every
sheet has ``id``, ``version``, ``title``, ``source``, ``clause`` (the tariff in a sentence), ``read`` (how far the
source was read), ``currency`` (ISO 4217, or ``agreed``), ``estimates_payable``, ``suspect_payable``,
``capability_tests_payable`` and ``[rounding]`` with the steps energy_kwh, power_kw, hours, ratio and money, a mode
(``half-even``, ``half-up``) and at (``line``, ``total``). A price is a number, ``agreed`` (the contract's) or
``series`` (each interval's own). Parts:

* ``[energy]`` price, netting (``interval``, ``event``, ``month``), sign (``signed``, ``clamped``), loss_factor,
  net_benefits.
* ``[capacity]`` price, per (``event``, ``month``), by (``award``, ``commitment`` and ``delivered`` of an event,
  ``commitment`` and ``uncalled`` of a month).
* ``[availability]`` price, per.
* ``[performance]`` kind ``tiers`` with over (``event``, ``interval``), applies_to and ``[[performance.tiers]]``
  from_ratio, to_ratio, pay_factor, cap_ratio; or kind ``interval-factors`` with pass_mark and applies_to.
* ``[penalty]`` over (``interval``, ``hour``, ``event``), threshold_ratio, factor, price.
* ``[[caps]]`` on (a part or ``total``), per, and of floor, ceiling, ceiling_kwh at least one.
"""

import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from itertools import pairwise
from types import MappingProxyType

from gateway.domain.baseline.sheet import RuleError, Table
from gateway.domain.tariff.terms import (
    AvailabilityTerms,
    Cap,
    CapacityBy,
    CapacityTerms,
    EnergyTerms,
    IntervalPerformance,
    Netting,
    Over,
    Part,
    PenaltyTerms,
    Per,
    Price,
    PriceBy,
    Rounding,
    RoundingMode,
    Tariff,
    TariffError,
    Tier,
    TieredPerformance,
)

READ = ("ours", "read in the text", "read in a secondary source", "from memory, to be checked")
_PAYING = (Part.ENERGY, Part.CAPACITY, Part.AVAILABILITY)
_BY = {
    Per.EVENT: (CapacityBy.AWARD, CapacityBy.COMMITMENT, CapacityBy.DELIVERED),
    Per.MONTH: (CapacityBy.COMMITMENT, CapacityBy.UNCALLED),
}


def parse_tariff(text: str) -> Tariff:
    """Read a sheet. Raises ``RuleError`` (a ``ValueError``) that names the key."""
    try:
        sheet = Table(tomllib.loads(text))
    except tomllib.TOMLDecodeError as cause:
        raise RuleError(f"not TOML: {cause}") from cause
    tariff = Tariff(
        tariff_id=sheet.text("id"),
        version=sheet.text("version"),
        title=sheet.text("title"),
        source=sheet.text("source"),
        clause=sheet.text("clause"),
        read=sheet.choice("read", READ),
        currency=sheet.text("currency"),
        rounding=_rounding(sheet.table("rounding")),
        estimates_payable=sheet.flag("estimates_payable"),
        suspect_payable=sheet.flag("suspect_payable"),
        capability_tests_payable=sheet.flag("capability_tests_payable"),
        energy=_energy(sheet.table("energy")) if sheet.holds("energy") else None,
        capacity=_capacity(sheet.table("capacity")) if sheet.holds("capacity") else None,
        availability=_availability(sheet.table("availability")) if sheet.holds("availability") else None,
        performance=_performance(sheet.table("performance")) if sheet.holds("performance") else None,
        penalty=_penalty(sheet.table("penalty")) if sheet.holds("penalty") else None,
        caps=tuple(_cap(table) for table in sheet.tables("caps")) if sheet.holds("caps") else (),
    )
    sheet.done()
    _agrees(tariff)
    return tariff


@cache
def shipped_tariff_sheets() -> Mapping[str, str]:
    """The texts of the tariff sheets that come with gridgate, by id."""
    folder = files("gateway.domain.tariff").joinpath("sheets")
    sheets = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    texts = [entry.read_text(encoding="utf-8") for entry in sheets]
    return MappingProxyType({parse_tariff(text).tariff_id: text for text in texts})


@cache
def shipped_tariffs() -> Mapping[str, Tariff]:
    """The tariffs that come with gridgate, by id."""
    return MappingProxyType({tariff_id: parse_tariff(text) for tariff_id, text in shipped_tariff_sheets().items()})


def find_tariff(tariffs: Mapping[str, Tariff], tariff_id: str) -> Tariff:
    """The tariff of an id. Raises ``TariffError`` that names the nearest."""
    if tariff_id in tariffs:
        return tariffs[tariff_id]
    near = get_close_matches(tariff_id, tariffs, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(tariffs)}"
    raise TariffError(f"no tariff {tariff_id!r}: {hint}")


def _agrees(tariff: Tariff) -> None:
    """Refuse parts that do not go together."""
    if tariff.currency != "agreed" and not re.fullmatch(r"[A-Z]{3}", tariff.currency):
        raise RuleError(f"currency: three capital letters (ISO 4217) or agreed is wanted, not {tariff.currency!r}")
    energy, capacity, performance = tariff.energy, tariff.capacity, tariff.performance
    if not any((energy, capacity, tariff.availability)):
        raise RuleError("energy, capacity or availability: a tariff pays for one of them at the least")
    by_interval = energy is not None and (energy.netting is Netting.INTERVAL or energy.price.by is PriceBy.SERIES)
    if isinstance(performance, TieredPerformance):
        on_energy = Part.ENERGY in performance.applies_to
        capped = any(tier.cap_ratio is not None for tier in performance.tiers)
        if on_energy and not by_interval and performance.over is Over.INTERVAL:
            raise RuleError("performance.over: tiers by interval need energy by interval")
        if on_energy and by_interval and performance.over is Over.EVENT and capped:
            raise RuleError("performance.tiers: cap_ratio over the event needs energy over the event")
        by_delivered = capacity is not None and capacity.by is CapacityBy.DELIVERED
        if by_delivered and performance.over is Over.INTERVAL and Part.CAPACITY in performance.applies_to:
            raise RuleError("performance.over: capacity by delivered kW needs tiers over the event")
    for cap in tariff.caps:
        plain = energy is not None and energy.price.by is not PriceBy.SERIES and not energy.net_benefits
        on_it = performance is not None and Part.ENERGY in performance.applies_to
        if cap.ceiling_kwh is not None and (cap.part is not Part.ENERGY or not plain or on_it):
            raise RuleError("caps: ceiling_kwh is for energy at one price, without tiers or net-benefits test")


def _price(table: Table, *, series: bool) -> Price:
    words = ("agreed", "series") if series else ("agreed",)
    found = table.decimal_or("price", words)
    return Price(by=PriceBy.FIXED, value=found) if isinstance(found, Decimal) else Price(by=PriceBy(found))


def _rounding(table: Table) -> Rounding:
    rounding = Rounding(
        energy_kwh=_step(table, "energy_kwh"),
        power_kw=_step(table, "power_kw"),
        hours=_step(table, "hours"),
        ratio=_step(table, "ratio"),
        money=_step(table, "money"),
        mode=RoundingMode(table.choice("mode", tuple(RoundingMode))),
        each_line=table.choice("at", ("line", "total")) == "line",
    )
    table.done()
    return rounding


def _step(table: Table, key: str) -> Decimal:
    """A power of ten, as which the steps of ``decimal`` are."""
    step = table.decimal(key)
    if step <= 0 or step.as_tuple().digits != (1,) or step > 1:
        raise RuleError(f"{table.path}.{key}: a step such as 1, 0.1 or 0.01 is wanted, not {step}")
    return step


def _energy(table: Table) -> EnergyTerms:
    terms = EnergyTerms(
        price=_price(table, series=True),
        netting=Netting(table.choice("netting", tuple(Netting))),
        clamped=table.choice("sign", ("signed", "clamped")) == "clamped",
        loss_factor=table.decimal("loss_factor", at_least=Decimal(0)),
        net_benefits=table.flag("net_benefits"),
    )
    table.done()
    if terms.net_benefits and terms.price.by is not PriceBy.SERIES:
        raise RuleError(f"{table.path}.net_benefits: the test needs price = series")
    return terms


def _capacity(table: Table) -> CapacityTerms:
    per = Per(table.choice("per", tuple(Per)))
    terms = CapacityTerms(price=_price(table, series=False), per=per, by=CapacityBy(table.choice("by", _BY[per])))
    table.done()
    return terms


def _availability(table: Table) -> AvailabilityTerms:
    terms = AvailabilityTerms(price=_price(table, series=False), per=Per(table.choice("per", tuple(Per))))
    table.done()
    return terms


def _performance(table: Table) -> TieredPerformance | IntervalPerformance:
    kind = table.choice("kind", ("tiers", "interval-factors"))
    applies_to = tuple(Part(word) for word in table.choices("applies_to", _PAYING))
    terms: TieredPerformance | IntervalPerformance
    if kind == "interval-factors":
        terms = IntervalPerformance(pass_mark=table.decimal("pass_mark", at_least=Decimal(0)), applies_to=applies_to)
    else:
        over = Over(table.choice("over", (Over.EVENT, Over.INTERVAL)))
        tiers = tuple(_tier(one) for one in table.tables("tiers"))
        terms = TieredPerformance(over=over, tiers=tiers, applies_to=applies_to)
        rising = all(left.to_ratio == right.from_ratio for left, right in pairwise(tiers))
        if tiers[0].from_ratio != 0 or tiers[-1].to_ratio is not None or not rising:
            raise RuleError(f"{table.path}.tiers: they begin at 0, follow each other without a gap and have no end")
    table.done()
    return terms


def _tier(table: Table) -> Tier:
    tier = Tier(
        from_ratio=table.decimal("from_ratio", at_least=Decimal(0)),
        to_ratio=table.decimal("to_ratio") if table.holds("to_ratio") else None,
        pay_factor=table.decimal("pay_factor", at_least=Decimal(0)),
        cap_ratio=table.decimal("cap_ratio", at_least=Decimal(0)) if table.holds("cap_ratio") else None,
    )
    table.done()
    if tier.to_ratio is not None and tier.to_ratio <= tier.from_ratio:
        raise RuleError(f"{table.path}.to_ratio: not above from_ratio")
    return tier


def _penalty(table: Table) -> PenaltyTerms:
    terms = PenaltyTerms(
        over=Over(table.choice("over", tuple(Over))),
        threshold_ratio=table.decimal("threshold_ratio", at_least=Decimal(0)),
        factor=table.decimal("factor", at_least=Decimal(0)),
        price=_price(table, series=True),
    )
    table.done()
    return terms


def _cap(table: Table) -> Cap:
    on = table.choice("on", (*_PAYING, Part.PENALTY, Part.TOTAL))
    found = {key: table.decimal(key) if table.holds(key) else None for key in ("floor", "ceiling", "ceiling_kwh")}
    cap = Cap(
        part=None if on == Part.TOTAL else Part(on),
        per=Per(table.choice("per", tuple(Per))),
        floor=found["floor"],
        ceiling=found["ceiling"],
        ceiling_kwh=found["ceiling_kwh"],
    )
    table.done()
    if all(bound is None for bound in found.values()):
        raise RuleError(f"{table.path}: floor, ceiling or ceiling_kwh is wanted")
    if cap.floor is not None and cap.ceiling is not None and cap.floor > cap.ceiling:
        raise RuleError(f"{table.path}.floor: above ceiling")
    return cap
