"""The reading of a sheet's tables, one function for each kind; what contradicts itself is refused by the key's name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gateway.domain.baseline.days import CALENDARS
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
from gateway.domain.baseline.sheet import RuleError, Table

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _meter_before_after(sheet: Table) -> MeterBeforeAfter:
    window = sheet.table("window")
    method = MeterBeforeAfter(
        length_s=window.number("length_s", above=0),
        anchor=_anchor(window, "anchor"),
        align_s=window.number("align_s", above=0) if window.has("align_s") else None,
    )
    window.done()
    return method


def _same_day(sheet: Table) -> SameDay:
    window = sheet.table("window")
    before_h, after_h = window.pair("before_h", optional=False), window.pair("after_h", optional=False)
    window.done()
    if before_h is None or not before_h[0] < before_h[1] <= 0:
        raise RuleError("window.before_h: it must begin before it ends, and end no later than the event's start (0)")
    if after_h is None or not 0 <= after_h[0] < after_h[1]:
        raise RuleError("window.after_h: it must begin before it ends, and no earlier than the event's end (0)")
    return SameDay(before_h=before_h, after_h=after_h, minimum_coverage_fraction=_minimum_coverage(sheet))


def _declared_level(sheet: Table) -> DeclaredLevel:  # noqa: ARG001 - a kind without tables of its own
    return DeclaredLevel()


def _regression(sheet: Table) -> Regression:
    fit = sheet.table("fit")
    method = Regression(
        look_back_days=fit.whole("look_back_days", above=0),
        minimum_weeks=fit.whole("minimum_weeks", above=0),
        temperature_pieces=fit.whole("temperature_pieces", above=0),
        minimum_coverage_fraction=_minimum_coverage(sheet),
    )
    fit.done()
    if method.minimum_weeks > method.look_back_days // 7:
        raise RuleError("fit.minimum_weeks: more than the weeks of look_back_days")
    return method


def _generator_output(sheet: Table) -> GeneratorOutput:
    return GeneratorOutput(typical=_day_matching(sheet))


def _day_matching(sheet: Table) -> DayMatching:
    days = sheet.table("days")
    selection = Selection(days.choice("selection", tuple(Selection)))
    low_use = LowUse(days.choice("low_use", tuple(LowUse))) if days.has("low_use") else None
    method = DayMatching(
        look_back_days=days.whole("look_back_days", above=0),
        calendar=days.choice("calendar", tuple(CALENDARS)),
        exclude_event_days=days.flag("exclude_event_days"),
        refill=Refill(days.choice("refill", tuple(Refill))),
        selection=selection,
        day_types=tuple(_day_type(table, selection) for table in sheet.tables("day_types")),
        adjustment=_adjustment(sheet.table("adjustment")),
        minimum_coverage_fraction=_minimum_coverage(sheet),
        first_day_back=days.whole("first_day_back", above=0) if days.has("first_day_back") else 1,
        count_from=_anchor(days, "count_from"),
        extended_days=days.whole("extended_days", above=0) if days.has("extended_days") else None,
        holidays_on_weekends=_flag(days, "holidays_on_weekends", default=True),
        exclude_clock_change_days=_flag(days, "exclude_clock_change_days", default=False),
        low_use=low_use,
        low_use_fraction=days.number("low_use_fraction", above=0) if low_use is not None else 0.0,
        rank_by=_rank_by(days, selection),
        apart_h=days.number("apart_h") if selection is Selection.NEAREST else 0.0,
        never_negative=_flag(days, "never_negative", default=False),
        fallback=days.text("fallback") if days.has("fallback") else "",
    )
    days.done()
    _check_days(method)
    return method


def _check_days(method: DayMatching) -> None:
    """Refuse what contradicts itself."""
    named = sorted(weekday for day_type in method.day_types for weekday in day_type.weekdays)
    if named != list(range(7)):
        raise RuleError("day_types: every weekday belongs to exactly one type")
    if sum(day_type.holidays for day_type in method.day_types) != 1:
        raise RuleError("day_types: holidays belong to exactly one type (holidays = true)")
    if method.first_day_back > method.look_back_days:
        raise RuleError("days.first_day_back: beyond look_back_days")
    if method.extended_days is not None and method.extended_days <= method.look_back_days:
        raise RuleError("days.extended_days: not beyond look_back_days")
    if method.refill is not Refill.NONE and not method.exclude_event_days:
        raise RuleError(
            "days.refill: event days are never left out (exclude_event_days = false), so none can come back"
        )
    if method.apart_h < 0:
        raise RuleError("days.apart_h: hours beside the event cannot be negative")


def _day_type(table: Table, selection: Selection) -> DayType:
    day_type = DayType(
        name=table.text("name"),
        weekdays=tuple(_WEEKDAYS.index(name) for name in table.choices("weekdays", _WEEKDAYS)),
        holidays=table.flag("holidays"),
        target_days=table.whole("target_days", above=0),
        minimum_days=table.whole("minimum_days", above=0),
        # With all the days there is nothing to choose: the key is unknown then.
        select_days=table.whole("select_days", above=0) if selection is not Selection.ALL else None,
        weights=table.numbers("weights", above=0) if table.has("weights") else (),
        with_event_days=_flag(table, "with_event_days", default=False),
    )
    table.done()
    if day_type.minimum_days > day_type.target_days:
        raise RuleError(f"{table.path}.minimum_days: above target_days")
    selected = day_type.target_days if day_type.select_days is None else day_type.select_days
    if selected > day_type.target_days:
        raise RuleError(f"{table.path}.select_days: above target_days")
    dropped = day_type.target_days - selected
    if selection is Selection.MIDDLE and (dropped % 2 or day_type.minimum_days <= dropped):
        raise RuleError(
            f"{table.path}.select_days: the middle drops as many above as below, and minimum_days must leave some over"
        )
    if day_type.weights and len(day_type.weights) != selected:
        raise RuleError(f"{table.path}.weights: {len(day_type.weights)} of them for {selected} days")
    return day_type


def _adjustment(table: Table) -> Adjustment:
    kind = AdjustmentKind(table.choice("kind", tuple(AdjustmentKind)))
    if kind is AdjustmentKind.NONE:
        table.done()
        return Adjustment(kind=kind)
    after = table.has("after_from_h")
    adjustment = Adjustment(
        kind=kind,
        from_h=table.number("from_h"),
        to_h=table.number("to_h"),
        clamp=table.pair("clamp", optional=True),
        anchor=_anchor(table, "anchor"),
        after_from_h=table.number("after_from_h") if after else 0.0,
        after_to_h=table.number("after_to_h") if after else 0.0,
        search_back_h=table.number("search_back_h", above=0) if table.has("search_back_h") else 0.0,
    )
    table.done()
    if not adjustment.from_h < adjustment.to_h <= 0:
        raise RuleError("adjustment.from_h: the window must begin before to_h, and to_h be no later than the start (0)")
    if after and not 0 <= adjustment.after_from_h < adjustment.after_to_h:
        raise RuleError("adjustment.after_from_h: the window must begin before after_to_h, and not before the end (0)")
    return adjustment


def _rank_by(days: Table, selection: Selection) -> RankBy:
    if selection in {Selection.HIGHEST, Selection.MIDDLE} and days.has("rank_by"):
        return RankBy(days.choice("rank_by", tuple(RankBy)))
    return RankBy.EVENT_LOAD


def _minimum_coverage(sheet: Table) -> float:
    readings = sheet.table("readings")
    fraction = readings.number("minimum_coverage_fraction", above=0)
    readings.done()
    return fraction


def _anchor(table: Table, key: str) -> Anchor:
    return Anchor(table.choice(key, tuple(Anchor))) if table.has(key) else Anchor.START


def _flag(table: Table, key: str, *, default: bool) -> bool:
    return table.flag(key) if table.has(key) else default


KINDS: Mapping[str, Callable[[Table], Method]] = MappingProxyType(
    {
        "day-matching": _day_matching,
        "meter-before-after": _meter_before_after,
        "same-day": _same_day,
        "declared-level": _declared_level,
        "generator-output": _generator_output,
        "regression": _regression,
    }
)
