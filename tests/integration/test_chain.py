"""A portfolio: one gateway under a utility and over two sites, one by OpenADR 3.1 and one by 2.0b; a site dies."""

import os
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.chain import Chain
from tests.lab import Gateway, eventually, rows

pytestmark = pytest.mark.timeout(400)

LEVEL_2, LEVEL_3 = 0.75, 0.60
"""What is left of the baseline at the levels of the program."""

CLOSE = 0.03

EDGES = {"baseline_wh": 0.02, "measured_wh": 0.02, "delivered_wh": 0.05}
"""Of what intervals of other lengths come to over the same time: reports are two seconds long and count as even."""


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    made = Chain(tmp_path)
    try:
        made.open()
        yield made
    finally:
        made.close()


def test_a_portfolio_delivers_and_a_site_that_dies_is_made_up_for_as_far_as_the_other_can(chain: Chain) -> None:
    before_w = eventually("both sites are measured", chain.measured_w, within_s=30)
    chain.vtn.tell(do="event", event_id="peak-1", ven_id=chain.vtn.ven_id, in_s=6, interval_s=50, levels=[2, 3])
    chain.vtn.wait_for("answer", within_s=20, event_id="peak-1", opt_type="optIn")

    # Each gives the same share of its range: these two are alike.
    target_w = LEVEL_2 * before_w
    eventually("the portfolio is at its target", lambda: chain.is_under((1 + CLOSE) * target_w), within_s=90)
    a_w, b_w = (chain.limit_w(name) for name in ("site-a", "site-b"))
    assert abs(a_w - b_w) < 0.1 * before_w

    chain.sites["site-b"].kill()
    # Its agent lets go of its caps by itself: what it draws then nobody sees, so that it counts with what is usual.
    eventually("the dead site is silent", lambda: chain.reporting() == ["site-a"], within_s=30)
    eventually("the other gives all that it can", lambda: chain.limit_w("site-a") <= 1.01 * chain.floor_w, within_s=40)
    told = eventually(
        "what is missing is told",
        lambda: rows(chain.above.folder, "SELECT detail FROM event_log WHERE what = 'shortfall'"),
        within_s=90,
    )
    assert "over its target" in told[0][0]
    # What is reported above is the whole, the silent site counted with its usual draw.
    last_w = chain.vtn_heard_w()
    assert last_w > LEVEL_3 * before_w

    eventually("every limit is off after the event", lambda: chain.limit_w("site-a") is None, within_s=180)
    (whole,) = eventually("the event is settled", lambda: statements(chain.above), within_s=180)
    one_report_of_its_sites(whole, statements(chain.sites["site-a"]))
    chain.above.ask("statement", "show", whole["statement_id"], "--check")
    assert chain.above.stop() == 0


def test_what_both_sites_state_is_the_one_statement_above_and_what_the_utility_is_told(chain: Chain) -> None:
    before_w = eventually("both sites are measured", chain.measured_w, within_s=30)
    chain.vtn.tell(do="event", event_id="peak-1", ven_id=chain.vtn.ven_id, in_s=6, interval_s=30, levels=[2])
    target_w = LEVEL_2 * before_w
    eventually("the portfolio is at its target", lambda: chain.is_under((1 + CLOSE) * target_w), within_s=90)

    (whole,) = eventually("the event is settled", lambda: statements(chain.above), within_s=240)
    verified = whole["verified"]
    assert all(row["coverage_fraction"] > 0.999 for row in verified["intervals"])
    assert not any("Not all is there" in note for note in whole["notes"])
    for part in verified["sites"]:
        assert part["reason"] == ""
        agrees_with_its_own(part, verified, statements(chain.sites[part["party"]]))
    for figure in ("baseline_wh", "measured_wh", "delivered_wh"):
        total = sum(part[figure] for part in verified["sites"])
        assert sum(row[figure] for row in verified["intervals"]) == pytest.approx(total)
    the_utility_was_told(chain, verified)
    chain.above.ask("statement", "show", whole["statement_id"], "--check")


def the_utility_was_told(chain: Chain, verified: dict[str, Any]) -> None:
    """What openleadr received of each interval of two seconds within the event is, in the end, what was verified."""
    # By 2.0b a reduction is a change of demand: less of it is negative.
    for report_type, figure, sign in (("baseline", "baseline_wh", 1.0), ("deltaDemand", "delivered_wh", -1.0)):
        for row in verified["intervals"]:
            begin = instant(row["starts_at"])
            end = begin + row["duration_s"]
            mean_w = sign * row[figure] * 3600.0 / row["duration_s"]

            def told(kind: str = report_type, begin: float = begin, end: float = end, w: float = mean_w) -> bool:
                within = [value for at, value in chain.vtn_heard(kind).items() if begin <= at <= end - 2.0]
                return len(within) >= int((end - begin) / 2.0) - 1 and within == pytest.approx([w] * len(within))

            eventually(f"the utility has {figure} as it was verified", told, within_s=60)


def statements(gateway: Gateway) -> list[dict[str, Any]]:
    """Every statement of a gateway, whole."""
    listed = gateway.ask("statement", "list") or []
    return [gateway.ask("statement", "show", one["statement_id"]) for one in listed]


def one_report_of_its_sites(whole: dict[str, Any], below: list[dict[str, Any]]) -> None:
    """What is stated above is what the living site states itself of that time; the dead one is named."""
    verified = whole["verified"]
    parts = {part["party"]: part for part in verified["sites"]}
    living, dead = parts["site-a"], parts["site-b"]
    assert "has reported nothing after" in dead["reason"]
    assert dead["delivered_wh"] == 0.0
    assert any("site-b: has reported nothing after" in note for note in whole["notes"])
    assert sum(row["delivered_wh"] for row in verified["intervals"]) == pytest.approx(living["delivered_wh"])
    assert all(row["coverage_fraction"] < 0.9 for row in verified["intervals"])

    agrees_with_its_own(living, verified, below)


def agrees_with_its_own(part: dict[str, Any], verified: dict[str, Any], below: list[dict[str, Any]]) -> None:
    """What counts above of a site is what it states itself of that time."""
    starts_at = instant(verified["intervals"][0]["starts_at"])
    ends_at = instant(verified["intervals"][-1]["starts_at"]) + verified["intervals"][-1]["duration_s"]
    inside = []
    uncalled_s = ends_at - starts_at
    for row in (row for statement in below for row in statement["verified"]["intervals"]):
        begin = instant(row["starts_at"])
        shared_s = max(0.0, min(ends_at, begin + row["duration_s"]) - max(starts_at, begin))
        uncalled_s -= shared_s
        inside.append((shared_s / row["duration_s"], row))
    # The site's intervals are a minute long and begin at other times: at the edges each is taken as even. A site is
    # called a little after the portfolio, and until then draws what it is used to, which is in no statement of its own.
    rows_s = sum(row["duration_s"] for _, row in inside)
    usual_wh = uncalled_s * sum(row["baseline_wh"] for _, row in inside) / rows_s
    assert 0.0 <= uncalled_s < 0.25 * (ends_at - starts_at)
    for figure, edges in EDGES.items():
        own = sum(share * row[figure] for share, row in inside)
        own += 0.0 if figure == "delivered_wh" else usual_wh
        assert part[figure] == pytest.approx(own, rel=edges), (part["party"], figure)


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.soak
def test_a_portfolio_that_dies_leaves_no_site_limited(chain: Chain) -> None:
    before_w = eventually("both sites are measured", chain.measured_w, within_s=30)
    chain.vtn.tell(do="event", event_id="peak-1", ven_id=chain.vtn.ven_id, in_s=6, interval_s=300, levels=[2])
    target_w = LEVEL_2 * before_w
    eventually("the portfolio is at its target", lambda: chain.is_under((1 + CLOSE) * target_w), within_s=90)

    os.kill(chain.above.process.pid, signal.SIGKILL)
    chain.above.process.wait()
    for name, site in chain.sites.items():
        eventually(
            f"{name} is free at the end of its limit",
            lambda site=site: (site.get("/api/now") or {})["devices"]["capped"] == 0,
            within_s=90,
        )
