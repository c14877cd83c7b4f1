import re
from importlib.resources import files

import pytest

from gateway.domain.baseline.sheet import RuleError
from gateway.domain.tariff.sheet import find_tariff, parse_tariff, shipped_tariffs
from gateway.domain.tariff.terms import TariffError


def sheet(tariff_id: str = "flat-energy") -> str:
    return files("gateway.domain.tariff").joinpath("sheets", f"{tariff_id}.toml").read_text(encoding="utf-8")


def test_every_sheet_stands_under_its_id_and_says_how_far_its_source_was_read():
    assert set(shipped_tariffs()) == {
        "availability-and-utilisation", "capacity-with-tiers", "ercot-ers", "flat-energy", "guangdong-response",
        "hainan-2025-draft", "pjm-economic",
    }  # fmt: skip
    for tariff_id in shipped_tariffs():
        assert parse_tariff(sheet(tariff_id)).tariff_id == tariff_id
    # Nobody read a market's own text.
    assert not [one.tariff_id for one in shipped_tariffs().values() if one.read == "read in the text"]


@pytest.mark.parametrize(
    ("of", "found", "put", "says"),
    [
        ("flat-energy", 'sign = "signed"', 'sign = "sighned"', "energy.sign: one of signed, clamped is wanted"),
        ("flat-energy", 'sign = "signed"', 'sing = "signed"', "energy.sign: missing"),
        ("flat-energy", "loss_factor = 1", "loss_factor = 1.05", "energy.loss_factor: an exact number from 0"),
        ("flat-energy", "loss_factor = 1", 'loss_factor = "1e3"', "energy.loss_factor: an exact number"),
        ("flat-energy", 'price = "agreed"', "price = 0.75", "energy.price: an exact number, whole or as text"),
        ("flat-energy", 'price = "agreed"', 'price = "NaN"', "energy.price: an exact number"),
        ("flat-energy", "net_benefits = false", "net_benefits = true", "the test needs price = series"),
        ("flat-energy", 'money = "0.01"', 'money = "0.05"', "rounding.money: a step such as"),
        ("flat-energy", 'currency = "agreed"', 'currency = "dollars"', "currency: three capital letters"),
        ("flat-energy", "[energy]", "[enrgy]", "energy, capacity or availability|unknown key"),
        ("flat-energy", 'id = "flat', 'extra = 1\nid = "flat', "extra: unknown key"),
        ("capacity-with-tiers", 'to_ratio = "0.8"', 'to_ratio = "0.7"', "performance.tiers: they begin at 0"),
        ("capacity-with-tiers", 'to_ratio = "1.2"', 'to_ratio = "0.8"', "to_ratio: not above from_ratio"),
        ("capacity-with-tiers", 'over = "event"', 'over = "interval"', "capacity by delivered kW needs tiers over the"),
        ("capacity-with-tiers", 'per = "event"', 'per = "month"', "capacity.by: one of commitment, uncalled"),
        ("flat-energy", "[rounding]", "[[caps]]\non = 'total'\nper = 'event'\n[rounding]", "floor, ceiling or"),
        (
            "flat-energy",
            "[rounding]",
            "[[caps]]\non = 'total'\nper = 'event'\nceiling_kwh = 5\n[rounding]",
            "ceiling_kwh is for energy at one price",
        ),
        ("flat-energy", 'id = "flat', "id = flat", "not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_sheet_names_the_key(of: str, found: str, put: str, says: str):
    text = sheet(of)
    assert found in text
    with pytest.raises(RuleError, match=says if "|" in says else re.escape(says)):
        parse_tariff(text.replace(found, put, 1))


TIERS = """
[performance]
kind = "tiers"
over = "{over}"
applies_to = ["energy"]
[[performance.tiers]]
from_ratio = 0
pay_factor = 1
cap_ratio = "1.2"
"""


def test_tiers_and_energy_look_at_the_same_span():
    assert parse_tariff(sheet() + TIERS.format(over="event")).performance is not None
    with pytest.raises(RuleError, match="tiers by interval need energy by interval"):
        parse_tariff(sheet() + TIERS.format(over="interval"))
    by_interval = sheet().replace('netting = "event"', 'netting = "interval"')
    assert parse_tariff(by_interval + TIERS.format(over="interval")).performance is not None
    with pytest.raises(RuleError, match="cap_ratio over the event needs energy over the event"):
        parse_tariff(by_interval + TIERS.format(over="event"))


def test_an_unknown_tariff_names_the_nearest():
    with pytest.raises(TariffError, match=r"no tariff 'ercot': did you mean ercot-ers\?"):
        find_tariff(shipped_tariffs(), "ercot")
    with pytest.raises(TariffError, match="known are availability-and-utilisation, "):
        find_tariff(shipped_tariffs(), "###")
