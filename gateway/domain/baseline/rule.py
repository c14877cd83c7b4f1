"""Rule sheets: what a baseline rule says, as data, and the reading of a sheet.

A sheet is TOML. Every sheet has ``id``, ``version``, ``title``, ``source``, ``clause`` (the rule in a sentence),
``read`` (how far the source was read: "read in the text" or "from memory, to be checked") and ``kind``. Keys in
brackets may be left out.

``day-matching``: the mean of earlier days like the event's.

* ``[days]`` look_back_days; calendar (``nerc``, ``none`` or a country's, see ``days.py``); exclude_event_days; refill
  (``none``, ``highest-event-load``, ``highest-day-load``); selection (``all``, ``last``, ``highest``, ``middle``,
  ``nearest``); [first_day_back] (1: the day before); [count_from] (``start``, or ``notice``: the days before the
  notice); [extended_days] (looked at where look_back_days hold too few); [holidays_on_weekends] (false: a holiday on a
  Saturday or Sunday is an ordinary one); [exclude_clock_change_days]; [low_use] (``candidate-mean``,
  ``running-mean``) with low_use_fraction; [rank_by] (``event-load``, ``day-load``), for highest and middle; [apart_h],
  for nearest; [never_negative]; [fallback], the rule that the text falls back on: named in the answer, never taken
  silently.
* ``[[day_types]]``, one or more: name, weekdays, holidays (whether a holiday belongs to it), target_days, minimum_days,
  [select_days] (how many of the target; needed by last, highest, middle and nearest), [weights] (by rank, as many as
  are selected), [with_event_days] (days with events count in this type).
* ``[adjustment]`` kind (``none``, ``multiplicative``, ``additive``); from_h, to_h relative to the event's start, or to
  the notice with [anchor] ``notice``; [after_from_h], [after_to_h] relative to its end; [clamp] ``[low, high]`` on the
  ratio, on the watts added for additive; [search_back_h] (the window moves back to where it is complete and clean).
* ``[readings]`` minimum_coverage_fraction.

``meter-before-after``: ``[window]`` length_s, [anchor] (``start`` or ``notice``), [align_s] (whole steps of the clock).

``same-day``: ``[window]`` before_h, after_h, each ``[from, to]``, from the event's start and end; ``[readings]``.

``declared-level``: nothing more.

``generator-output``: the tables of day-matching, read of the generator's output.

``regression``: ``[fit]`` look_back_days, minimum_weeks (the least number of readings of a time of the week),
temperature_pieces (of the line in the temperature, where temperatures are given); ``[readings]``.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from gateway.domain.baseline.method import (
    Adjustment,
    AdjustmentKind,
    Anchor,
    DayMatching,
    DayType,
    DeclaredLevel,
    GeneratorOutput,
    LowUse,
    MeterBeforeAfter,
    Method,
    RankBy,
    Refill,
    Regression,
    SameDay,
    Selection,
)
from gateway.domain.baseline.method_sheet import KINDS
from gateway.domain.baseline.sheet import RuleError, Table

__all__ = [
    "Adjustment",
    "AdjustmentKind",
    "Anchor",
    "DayMatching",
    "DayType",
    "DeclaredLevel",
    "GeneratorOutput",
    "LowUse",
    "MeterBeforeAfter",
    "Method",
    "RankBy",
    "Refill",
    "Regression",
    "Rule",
    "SameDay",
    "Selection",
    "find_rule",
    "parse_rule",
    "shipped_rules",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule as its sheet states it."""

    rule_id: str
    version: str
    title: str
    source: str
    clause: str
    read: str
    method: Method


def parse_rule(text: str) -> Rule:
    """Read a sheet. Raises ``RuleError`` (a ``ValueError``) that names the key."""
    try:
        sheet = Table(tomllib.loads(text))
    except tomllib.TOMLDecodeError as cause:
        raise RuleError(f"not TOML: {cause}") from cause
    kind = sheet.choice("kind", tuple(KINDS))
    rule = Rule(
        rule_id=sheet.text("id"),
        version=sheet.text("version"),
        title=sheet.text("title"),
        source=sheet.text("source"),
        clause=sheet.text("clause"),
        read=sheet.choice("read", ("read in the text", "from memory, to be checked")),
        method=KINDS[kind](sheet),
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


def find_rule(rule_id: str) -> Rule:
    """A rule that comes with gridgate. Raises ``ValueError`` that names the nearest one, or all of them."""
    rules = shipped_rules()
    if rule_id in rules:
        return rules[rule_id]
    near = get_close_matches(rule_id, rules, n=1, cutoff=0.4)
    raise ValueError(
        f"no rule {rule_id!r}: " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(rules)}")
    )
