"""Rule sheets: what a baseline rule says, as data, and the reading of a sheet.

A sheet is TOML. Every sheet has ``id``, ``version``, ``title``, ``source``, ``clause`` (the rule in a sentence),
``read`` (how far the source was read: "read in the text" or "from memory, to be checked") and ``kind``:

* ``day-matching`` - ``[days]`` look_back_days, calendar (``nerc`` or ``none``), exclude_event_days, refill
  (``none`` or ``highest-event-load``), selection (``all``); one ``[[day_types]]`` or more, each with name, weekdays,
  holidays (whether a holiday belongs to it), target_days, minimum_days; ``[adjustment]`` kind (``none``,
  ``multiplicative``, ``additive``), and from_h, to_h relative to the event's start, and a clamp ``[low, high]`` on the
  ratio (on the watts added, for additive) where there is one; ``[readings]`` minimum_coverage_fraction.
* ``meter-before-after`` - ``[window]`` length_s.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from gateway.domain.baseline.days import CALENDARS
from gateway.domain.baseline.sheet import RuleError, Table

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class AdjustmentKind(StrEnum):
    """How the day's own load before the event moves the baseline."""

    NONE = "none"
    MULTIPLICATIVE = "multiplicative"
    ADDITIVE = "additive"


class Refill(StrEnum):
    """What becomes of a day type with too few days."""

    NONE = "none"
    HIGHEST_EVENT_LOAD = "highest-event-load"
    """Event days are taken back, those with the highest total load in the event's hours first, up to the minimum."""


class Selection(StrEnum):
    """Which of the eligible days, from the latest back, form the mean."""

    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """``from_h`` and ``to_h`` are hours relative to the event's start; a ``clamp`` of ``None`` bounds nothing."""

    kind: AdjustmentKind
    from_h: float = 0.0
    to_h: float = 0.0
    clamp: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayType:
    """Days that are like each other; ``weekdays`` count from 0, a Monday. ``holidays``: a holiday is of this type."""

    name: str
    weekdays: tuple[int, ...]
    holidays: bool
    target_days: int
    minimum_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayMatching:
    """Mean of earlier days that are like the event's day, adjusted by the day itself."""

    look_back_days: int
    calendar: str
    exclude_event_days: bool
    refill: Refill
    selection: Selection
    day_types: tuple[DayType, ...]
    adjustment: Adjustment
    minimum_coverage_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterBeforeAfter:
    """Flat, from the last ``length_s`` seconds before the ramp."""

    length_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule as its sheet states it."""

    rule_id: str
    version: str
    title: str
    source: str
    clause: str
    read: str
    method: DayMatching | MeterBeforeAfter


def parse_rule(text: str) -> Rule:
    """Read a sheet. Raises ``RuleError`` (a ``ValueError``) that names the key."""
    try:
        sheet = Table(tomllib.loads(text))
    except tomllib.TOMLDecodeError as cause:
        raise RuleError(f"not TOML: {cause}") from cause
    kind = sheet.choice("kind", ("day-matching", "meter-before-after"))
    rule = Rule(
        rule_id=sheet.text("id"),
        version=sheet.text("version"),
        title=sheet.text("title"),
        source=sheet.text("source"),
        clause=sheet.text("clause"),
        read=sheet.choice("read", ("read in the text", "from memory, to be checked")),
        method=_day_matching(sheet) if kind == "day-matching" else _meter_before_after(sheet),
    )
    sheet.done()
    return rule


@cache
def shipped_rules() -> Mapping[str, Rule]:
    """The rules that come with gridgate, by id."""
    return MappingProxyType({rule_id: parse_rule(sheet) for rule_id, sheet in shipped_sheets().items()})


@cache
def shipped_sheets() -> Mapping[str, str]:
    """The sheets of the rules that come with gridgate, by the rule's id."""
    folder = files("gateway.domain.baseline").joinpath("rules")
    sheets = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    texts = [entry.read_text(encoding="utf-8") for entry in sheets]
    return MappingProxyType({parse_rule(text).rule_id: text for text in texts})


def _meter_before_after(sheet: Table) -> MeterBeforeAfter:
    window = sheet.table("window")
    method = MeterBeforeAfter(length_s=window.number("length_s", above=0))
    window.done()
    return method


def _day_matching(sheet: Table) -> DayMatching:
    days = sheet.table("days")
    readings = sheet.table("readings")
    method = DayMatching(
        look_back_days=days.whole("look_back_days", above=0),
        calendar=days.choice("calendar", tuple(CALENDARS)),
        exclude_event_days=days.flag("exclude_event_days"),
        refill=Refill(days.choice("refill", tuple(Refill))),
        selection=Selection(days.choice("selection", tuple(Selection))),
        day_types=tuple(_day_type(table) for table in sheet.tables("day_types")),
        adjustment=_adjustment(sheet.table("adjustment")),
        minimum_coverage_fraction=readings.number("minimum_coverage_fraction", above=0),
    )
    days.done()
    readings.done()
    named = sorted(weekday for day_type in method.day_types for weekday in day_type.weekdays)
    if named != list(range(7)):
        raise RuleError("day_types: every weekday belongs to exactly one type")
    if sum(day_type.holidays for day_type in method.day_types) != 1:
        raise RuleError("day_types: holidays belong to exactly one type (holidays = true)")
    return method


def _day_type(table: Table) -> DayType:
    day_type = DayType(
        name=table.text("name"),
        weekdays=tuple(_WEEKDAYS.index(name) for name in table.choices("weekdays", _WEEKDAYS)),
        holidays=table.flag("holidays"),
        target_days=table.whole("target_days", above=0),
        minimum_days=table.whole("minimum_days", above=0),
    )
    table.done()
    if day_type.minimum_days > day_type.target_days:
        raise RuleError(f"{table.path}.minimum_days: above target_days")
    return day_type


def _adjustment(table: Table) -> Adjustment:
    kind = AdjustmentKind(table.choice("kind", tuple(AdjustmentKind)))
    if kind is AdjustmentKind.NONE:
        table.done()
        return Adjustment(kind=kind)
    adjustment = Adjustment(
        kind=kind, from_h=table.number("from_h"), to_h=table.number("to_h"), clamp=table.pair("clamp", optional=True)
    )
    table.done()
    if not adjustment.from_h < adjustment.to_h <= 0:
        raise RuleError("adjustment.from_h: the window must begin before to_h, and to_h be no later than the start (0)")
    return adjustment
