import re
from importlib.resources import files

import pytest

from gateway.domain.baseline.sheet import RuleError
from gateway.domain.vee.rule import Alike, SpikeReference, find_rules, parse_rules, shipped_rules


def sheet(rules_id: str = "standard") -> str:
    return files("gateway.domain.vee").joinpath("sheets", f"{rules_id}.toml").read_text(encoding="utf-8")


def test_every_sheet_stands_under_its_id_and_says_how_far_its_source_was_read():
    assert set(shipped_rules()) == {"california-mdma", "ieso", "standard"}
    for rules_id in shipped_rules():
        assert parse_rules(sheet(rules_id)).rules_id == rules_id
    assert {one.rules_id: one.read for one in shipped_rules().values()} == {
        "california-mdma": "from memory, to be checked",
        "ieso": "from memory, to be checked",
        "standard": "ours",
    }


def test_the_standard_sheet_is_read_whole():
    rules = shipped_rules()["standard"]
    assert rules.spike_reference is SpikeReference.LIKE_DAYS_AND_NEIGHBOURS
    assert (rules.spike_factor, rules.stuck_count, rules.negative_allowed) == (3.0, 8, False)
    assert (rules.sum_tolerance_fraction, rules.sum_tolerance_wh) == (0.01, 1000.0)
    assert (rules.longest_interpolation_s, rules.largest_scale, rules.highest_power_w) == (3600.0, 5.0, None)
    assert (rules.like_days.alike, rules.like_days.days, rules.like_days.least_days) == (Alike.DAY_OF_WEEK, 4, 2)


@pytest.mark.parametrize(
    ("found", "put", "says"),
    [
        ("spike_factor = 3.0", "spike_factor = 0.5", "validation.spike_factor: a number above 1 is wanted"),
        ("spike_factor = 3.0", "spik_factor = 3.0", "validation.spike_factor: missing"),
        ("spike_factor = 3.0", "spike_factor = 3.0\nextra = 1", "validation.extra: unknown key"),
        ("stuck_count = 8", "stuck_count = 1", "validation.stuck_count: a whole number above 1"),
        ("least_coverage_fraction = 0.95", "least_coverage_fraction = 1.5", "least_coverage_fraction: at most 1"),
        ("unit_tolerance_fraction = 0.15", "unit_tolerance_fraction = 0.5", "under 0.5 is wanted"),
        ('alike = "day-of-week"', 'alike = "month"', "like_days.alike: one of day-of-week, day-type"),
        ('calendar = "none"', 'calendar = "mars"', "like_days.calendar: one of"),
        ("least_days = 2", "least_days = 5", "like_days.least_days: at most days (4) is wanted, not 5"),
        ('id = "standard"', 'id = "standard"\nmore = 1', "more: unknown key"),
        ("[like_days]", "[like_day]", "like_days: missing"),
        ('read = "ours"', 'read = "theirs"', "read: one of ours"),
        ('id = "standard"', "id = standard", "not TOML"),
    ],
)
def test_a_wrong_sheet_names_the_key(found: str, put: str, says: str):
    text = sheet()
    assert found in text
    with pytest.raises(RuleError, match=re.escape(says)):
        parse_rules(text.replace(found, put, 1))


def test_an_unknown_sheet_names_the_nearest():
    assert find_rules(shipped_rules(), "ieso").rules_id == "ieso"
    with pytest.raises(RuleError, match="no rules 'standrd' for meter data: did you mean standard\\?"):
        find_rules(shipped_rules(), "standrd")
    with pytest.raises(RuleError, match="known are california-mdma, ieso, standard"):
        find_rules(shipped_rules(), "zzz")


def test_a_site_adds_what_only_it_knows():
    rules = shipped_rules()["standard"].for_site(generates=True, highest_power_w=5e6, calendar="belgium")
    assert (rules.negative_allowed, rules.highest_power_w, rules.like_days.calendar) == (True, 5e6, "belgium")
    with pytest.raises(RuleError, match="no calendar 'belgum': did you mean belgium"):
        shipped_rules()["standard"].for_site(generates=False, highest_power_w=None, calendar="belgum")
    with pytest.raises(RuleError, match="above 0 W"):
        shipped_rules()["standard"].for_site(generates=False, highest_power_w=0.0, calendar="none")
