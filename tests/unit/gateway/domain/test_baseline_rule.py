import pytest

from gateway.domain.baseline.rule import (
    Adjustment,
    AdjustmentKind,
    DayMatching,
    DayType,
    MeterBeforeAfter,
    Refill,
    Selection,
    find_rule,
    parse_rule,
    shipped_rules,
)
from gateway.domain.baseline.sheet import RuleError

SHEET = """
id = "mine"
version = "3"
title = "Mine"
source = "a contract"
clause = "as the keys say"
read = "read in the text"
kind = "day-matching"

[days]
look_back_days = 45
calendar = "nerc"
exclude_event_days = true
refill = "none"
selection = "all"

[[day_types]]
name = "any day"
weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
holidays = true
target_days = 10
minimum_days = 5

[adjustment]
kind = "multiplicative"
from_h = -4
to_h = -1
clamp = [0.8, 1.2]

[readings]
minimum_coverage_fraction = 0.95
"""


SHIPPED = {
    "10-of-10", "beijing", "caiso-10-in-10", "caiso-5-in-10", "elia-high-x-of-y", "elia-last-quarter-hour",
    "ercot-meter-before-after", "ercot-middle-8-of-10", "gb-bl01", "generator-output", "ipto", "iso-ne",
    "japan-high-4-of-5", "jiangsu", "korea-middle-6-of-10", "maximum-base-load", "meter-before-after",
    "nyiso-average-day", "nyiso-average-day-adjusted", "pjm-3-day-types-saa", "pjm-match-day", "pjm-same-day-3-2",
    "time-of-week-regression",
}  # fmt: skip


def test_an_unknown_rule_names_the_nearest_one():
    with pytest.raises(ValueError, match="no rule 'pjm-match': did you mean pjm-match-day"):
        find_rule("pjm-match")
    with pytest.raises(ValueError, match=r"no rule 'zzz': known are 10-of-10, beijing"):
        find_rule("zzz")
    assert find_rule("ipto") is shipped_rules()["ipto"]


def test_the_rules_that_come_with_gridgate():
    rules = shipped_rules()
    assert set(rules) == SHIPPED
    assert all(rule.rule_id == name and rule.version and rule.source and rule.clause for name, rule in rules.items())
    assert rules["caiso-10-in-10"].method == DayMatching(
        look_back_days=45,
        calendar="nerc",
        exclude_event_days=True,
        refill=Refill.HIGHEST_EVENT_LOAD,
        selection=Selection.ALL,
        day_types=(
            DayType(name="business", weekdays=(0, 1, 2, 3, 4), holidays=False, target_days=10, minimum_days=5),
            DayType(name="non-business", weekdays=(5, 6), holidays=True, target_days=4, minimum_days=4),
        ),
        adjustment=Adjustment(kind=AdjustmentKind.MULTIPLICATIVE, from_h=-4, to_h=-1, clamp=(0.8, 1.2)),
        minimum_coverage_fraction=0.95,
    )
    assert rules["meter-before-after"].method == MeterBeforeAfter(length_s=900)


def test_a_sheet_is_read():
    rule = parse_rule(SHEET)
    assert (rule.rule_id, rule.version, rule.read) == ("mine", "3", "read in the text")
    assert isinstance(rule.method, DayMatching)
    assert rule.method.day_types[0].weekdays == (0, 1, 2, 3, 4, 5, 6)


def test_an_adjustment_needs_no_clamp():
    rule = parse_rule(SHEET.replace("clamp = [0.8, 1.2]\n", ""))
    assert isinstance(rule.method, DayMatching)
    assert rule.method.adjustment.clamp is None


@pytest.mark.parametrize(
    ("change", "into", "said"),
    [
        ('id = "mine"', "", "id: missing"),
        ('id = "mine"', 'id = ""', "id: text that is not empty is wanted"),
        ('id = "mine"', "id = 7", "id: text that is not empty is wanted, not 7"),
        ('kind = "day-matching"', 'kind = "average"', "kind: one of day-matching, meter-before-after, same-day,"),
        ('read = "read in the text"', 'read = "yes"', "read: one of"),
        ("look_back_days = 45", "look_back_days = 0", "days.look_back_days: a whole number above 0"),
        ("look_back_days = 45", "look_back_days = 4.5", "days.look_back_days: a whole number above 0"),
        ("look_back_days = 45", "lookback_days = 45", "days.look_back_days: missing"),
        ("look_back_days = 45", "look_back_days = 45\nrefil = 1", "days.refil: unknown key, did you mean refill?"),
        ('calendar = "nerc"', 'calendar = "bank"', "days.calendar: one of nerc, none, us-federal,"),
        ("exclude_event_days = true", 'exclude_event_days = "yes"', "days.exclude_event_days: true or false"),
        ('selection = "all"', 'selection = "loudest"', "days.selection: one of all, last, highest"),
        ('selection = "all"', 'selection = "highest"', "day_types[0].select_days: missing"),
        ('selection = "all"', 'selection = "all"\nrank_by = "day-load"', "days.rank_by: unknown key"),
        ("minimum_days = 5", "minimum_days = 5\nselect_days = 5", "day_types[0].select_days: unknown key"),
        ("minimum_days = 5", "minimum_days = 5\nweights = [1, 2]", "day_types[0].weights: 2 of them for 10 days"),
        ('refill = "none"', 'refill = "none"\nfirst_day_back = 50', "days.first_day_back: beyond look_back_days"),
        ('refill = "none"', 'refill = "none"\nextended_days = 45', "days.extended_days: not beyond"),
        ('refill = "none"', 'refill = "none"\nlow_use = "running-mean"', "days.low_use_fraction: missing"),
        ('refill = "none"', 'refill = "none"\nlow_use_fraction = 0.2', "days.low_use_fraction: unknown key"),
        ("to_h = -1", "to_h = -1\nafter_from_h = 2\nafter_to_h = 1", "adjustment.after_from_h: the window"),
        ("to_h = -1", 'to_h = -1\nanchor = "award"', "adjustment.anchor: one of start, notice"),
        ('"sat", "sun"', '"sat", "sunday"', "day_types[0].weekdays: one of mon"),
        ('"sat", "sun"]', '"sat"]', "day_types: every weekday"),
        ('"sat", "sun"]', '"sat", "sat", "sun"]', "day_types: every weekday"),
        ('weekdays = ["mon"', 'weekdays = "mon" # [', "day_types[0].weekdays: a list is wanted"),
        ("holidays = true", "holidays = false", "day_types: holidays belong to exactly one type"),
        ("minimum_days = 5", "minimum_days = 11", "day_types[0].minimum_days: above target_days"),
        ("[[day_types]]", "[day_types]", "day_types: one or more tables"),
        ("[adjustment]", "[adjust]", "adjustment: missing"),
        ("from_h = -4", "from_h = 0", "adjustment.from_h: the window"),
        ("to_h = -1", "to_h = 1", "adjustment.from_h: the window"),
        ("to_h = -1", "to_h = nan", "adjustment.to_h: a number is wanted"),
        ("clamp = [0.8, 1.2]", "clamp = [1.2, 0.8]", "adjustment.clamp: two numbers [low, high]"),
        ("clamp = [0.8, 1.2]", "clamp = 0.2", "adjustment.clamp: two numbers [low, high]"),
        ("fraction = 0.95", 'fraction = "most"', "readings.minimum_coverage_fraction: a number above 0"),
        ("[readings]", "[readings]\nother = 1", "readings.other: unknown key"),
        ("[days]", "extra = 1\n[days]", "extra: unknown key"),
        ("[days]", "[days", "not TOML"),
    ],
)
def test_a_wrong_sheet_ends_in_one_error_that_names_the_key(change: str, into: str, said: str):
    assert change in SHEET
    with pytest.raises(RuleError) as error:
        parse_rule(SHEET.replace(change, into, 1))
    assert said in str(error.value)
    assert isinstance(error.value, ValueError)


def test_a_value_where_a_table_belongs_is_named():
    head = SHEET.partition("[days]")[0].replace("day-matching", "meter-before-after")
    assert parse_rule(head + "[window]\nlength_s = 600").method == MeterBeforeAfter(length_s=600)
    with pytest.raises(RuleError, match="window: a table is wanted, not 900"):
        parse_rule(head + "window = 900")
    with pytest.raises(RuleError, match=r"window\.length_s: a number above 0"):
        parse_rule(head + "[window]\nlength_s = true")
