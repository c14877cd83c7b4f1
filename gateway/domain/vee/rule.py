"""Rule sheets: the thresholds of validation and estimation, as data, and the reading of a sheet.

A sheet is TOML. It has ``id``, ``version``, ``title``, ``source``, ``clause`` (the rule in a sentence), ``read`` (how
far the source was read: ``ours``, ``read in the text``, ``from memory, to be checked``) and three tables. Keys in
brackets may be left out.

* ``[validation]`` least_coverage_fraction (an interval read for less is a gap); spike_reference
  (``like-days-and-neighbours``: the largest of the neighbours, the like days and the meter's usual power;
  ``third-peak-of-day``: the third highest interval of the local day); spike_factor on that; stuck_count (so many equal
  values in a row); negative_allowed (the site generates); sum_tolerance_fraction and sum_tolerance_wh (the larger one
  counts) between register and intervals; unit_tolerance_fraction, within which a ratio is the factor of a wrong unit;
  [highest_power_w], the most that the site can draw.
* ``[estimation]`` longest_interpolation_s; largest_scale, the most by which an estimate may be raised to add up to the
  register.
* ``[like_days]`` alike (``day-of-week``, ``day-type``: working days, Saturdays, Sundays); calendar (see
  ``gateway.domain.baseline.days``; a holiday is like a Sunday); within_days before and after; days, the nearest of
  them that form the mean; least_days, under which there is no estimate.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from gateway.domain.baseline.days import CALENDARS
from gateway.domain.baseline.sheet import RuleError, Table

READ = ("ours", "read in the text", "from memory, to be checked")


class SpikeReference(StrEnum):
    """What a value is held against to tell whether it is a spike."""

    LIKE_DAYS_AND_NEIGHBOURS = "like-days-and-neighbours"
    THIRD_PEAK_OF_DAY = "third-peak-of-day"


class Alike(StrEnum):
    """Which days are like each other."""

    DAY_OF_WEEK = "day-of-week"
    DAY_TYPE = "day-type"


@dataclass(frozen=True, slots=True, kw_only=True)
class LikeDays:
    """Which days stand for another, how far away they may be, and how many are taken."""

    alike: Alike
    calendar: str
    within_days: int
    days: int
    least_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VeeRules:
    """A sheet of thresholds; what each means is said above. ``highest_power_w`` is ``None`` where nobody set it."""

    rules_id: str
    version: str
    title: str
    source: str
    clause: str
    read: str
    least_coverage_fraction: float
    spike_reference: SpikeReference
    spike_factor: float
    stuck_count: int
    negative_allowed: bool
    sum_tolerance_fraction: float
    sum_tolerance_wh: float
    unit_tolerance_fraction: float
    highest_power_w: float | None
    longest_interpolation_s: float
    largest_scale: float
    like_days: LikeDays

    def for_site(self, *, generates: bool, highest_power_w: float | None, calendar: str) -> "VeeRules":
        """The rules with what only the site knows. Raises ``RuleError`` for an unknown calendar or no power at all."""
        if calendar not in CALENDARS:
            near = get_close_matches(calendar, CALENDARS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(CALENDARS)}"
            raise RuleError(f"no calendar {calendar!r}: {hint}")
        if highest_power_w is not None and not 0.0 < highest_power_w < float("inf"):
            raise RuleError(f"a highest power above 0 W is wanted, not {highest_power_w}")
        return replace(
            self,
            negative_allowed=generates,
            highest_power_w=highest_power_w,
            like_days=replace(self.like_days, calendar=calendar),
        )


def parse_rules(text: str) -> VeeRules:
    """Read a sheet. Raises ``RuleError`` (a ``ValueError``) that names the key."""
    try:
        sheet = Table(tomllib.loads(text))
    except tomllib.TOMLDecodeError as cause:
        raise RuleError(f"not TOML: {cause}") from cause
    validation, estimation = sheet.table("validation"), sheet.table("estimation")
    rules = VeeRules(
        rules_id=sheet.text("id"),
        version=sheet.text("version"),
        title=sheet.text("title"),
        source=sheet.text("source"),
        clause=sheet.text("clause"),
        read=sheet.choice("read", READ),
        least_coverage_fraction=validation.number("least_coverage_fraction", above=0.0),
        spike_reference=SpikeReference(validation.choice("spike_reference", tuple(SpikeReference))),
        spike_factor=validation.number("spike_factor", above=1.0),
        stuck_count=validation.whole("stuck_count", above=1),
        negative_allowed=validation.flag("negative_allowed"),
        sum_tolerance_fraction=validation.number("sum_tolerance_fraction", above=0.0),
        sum_tolerance_wh=validation.number("sum_tolerance_wh", above=0.0),
        unit_tolerance_fraction=validation.number("unit_tolerance_fraction", above=0.0),
        highest_power_w=validation.number("highest_power_w", above=0.0) if validation.has("highest_power_w") else None,
        longest_interpolation_s=estimation.number("longest_interpolation_s", above=0.0),
        largest_scale=estimation.number("largest_scale", above=1.0),
        like_days=_like_days(sheet.table("like_days")),
    )
    for table in (validation, estimation, sheet):
        table.done()
    if rules.least_coverage_fraction > 1.0:
        raise RuleError("validation.least_coverage_fraction: at most 1 is wanted")
    if rules.unit_tolerance_fraction >= 0.5:
        raise RuleError("validation.unit_tolerance_fraction: under 0.5 is wanted, else every ratio is a wrong unit")
    return rules


@cache
def shipped_rules() -> Mapping[str, VeeRules]:
    """The sheets that come with gridgate, by id."""
    folder = files("gateway.domain.vee").joinpath("sheets")
    sheets = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    rules = [parse_rules(entry.read_text(encoding="utf-8")) for entry in sheets]
    return MappingProxyType({one.rules_id: one for one in rules})


def find_rules(rules: Mapping[str, VeeRules], rules_id: str) -> VeeRules:
    """The sheet of an id. Raises ``RuleError`` that names the nearest."""
    if rules_id in rules:
        return rules[rules_id]
    near = get_close_matches(rules_id, rules, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(rules)}"
    raise RuleError(f"no rules {rules_id!r} for meter data: {hint}")


def _like_days(table: Table) -> LikeDays:
    like = LikeDays(
        alike=Alike(table.choice("alike", tuple(Alike))),
        calendar=table.choice("calendar", tuple(CALENDARS)),
        within_days=table.whole("within_days", above=0),
        days=table.whole("days", above=0),
        least_days=table.whole("least_days", above=0),
    )
    table.done()
    if like.least_days > like.days:
        raise RuleError(f"{table.path}.least_days: at most days ({like.days}) is wanted, not {like.least_days}")
    return like
