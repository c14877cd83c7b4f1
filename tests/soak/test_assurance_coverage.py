"""Whether bounds and limits keep what they say, over many synthetic sites whose true reduction is known."""

import math

import pytest

from gateway.domain.assurance.assure import Assurance, assure
from gateway.domain.assurance.gaming import Verdict
from tests.assurance_site import START, asked, site

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

SITES = 300
REDUCTION_W = 15_000.0
HOURS = 2


@pytest.fixture(scope="module")
def assessed() -> list[Assurance]:
    told = START.replace(hour=12)
    found = [assure(asked(site(seed, reduction_w=REDUCTION_W), noticed_at=told)) for seed in range(SITES)]
    return [item for item in found if isinstance(item, Assurance)]


def at_least(share: float, level: float) -> bool:
    """Within three standard errors of a binomial share."""
    return share >= level - 3.0 * math.sqrt(level * (1.0 - level) / SITES)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_a_bound_holds_as_often_as_it_says(assessed: list[Assurance], level: float):
    bounds = [item.p90 if level == 0.9 else item.p50 for item in assessed]
    held = [bound.value is not None and bound.value <= REDUCTION_W * HOURS for bound in bounds]
    assert len(held) == SITES
    assert at_least(sum(held) / SITES, level)
    # And is no bound that holds because it promises nothing.
    assert sum(held) / SITES <= level + 0.08


def test_a_bound_of_an_interval_holds_as_often(assessed: list[Assurance]):
    held = [row.p90_w is not None and row.p90_w <= REDUCTION_W for item in assessed for row in item.intervals]
    assert at_least(sum(held) / len(held), 0.9)


@pytest.mark.parametrize("name", ["pre-event ramp", "change at notice"])
def test_clean_days_are_seldom_flagged(assessed: list[Assurance], name: str):
    flagged = sum(test.name == name and test.verdict is Verdict.LOOK for item in assessed for test in item.gaming)
    # One in a hundred is stated; with 30 or so placebo days Student's distribution makes it a little less seldom.
    assert flagged / SITES <= 0.01 + 3.0 * math.sqrt(0.01 * 0.99 / SITES)


def test_planted_gaming_is_nearly_always_found():
    told = START.replace(hour=12)
    found = 0
    for seed in range(60):
        inputs = asked(site(seed, raised_w=15_000.0, raised_from_h=-2.0), noticed_at=told)
        item = assure(inputs)
        assert isinstance(item, Assurance)
        found += any(test.name == "change at notice" and test.verdict is Verdict.LOOK for test in item.gaming)
    assert found >= 57
