"""The main job against a real openleadr VTN that starts after us, cancels, dies and forgets us."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Gateway, OpenleadrVtn, eventually, free_port

pytestmark = pytest.mark.timeout(360)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="gg-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_a_whole_conversation_with_an_openleadr_vtn(folder: Path) -> None:
    port = free_port()
    gateway = Gateway(folder, vtn_port=port)
    lives: list[OpenleadrVtn] = []
    try:
        gateway.start()
        unready = eventually("unready while the VTN is down", lambda: gateway.get("/health/ready"), within_s=20)
        assert unready["ready"] is False

        lives.append(OpenleadrVtn(port, "1"))
        utility = lives[-1]
        _registers_and_offers_its_meter(utility)
        _takes_part_in_two_intervals(utility, gateway)
        _reports_what_the_site_draws(utility)
        _tells_an_operators_change_of_mind(utility, gateway)
        _follows_a_cancel(utility, gateway)

        utility.end()
        lives.append(OpenleadrVtn(port, "2"))
        again = lives[-1]
        again.wait_for("registered", within_s=70, ven_name="lab-ven")
        again.wait_for("report offered", within_s=15)
        again.wait_for("report data", within_s=30)
        again.tell(do="event", event_id="second-life", ven_id=again.ven_id, in_s=600, interval_s=60, levels=[1])
        again.wait_for("answer", within_s=15, event_id="second-life", opt_type="optIn")

        _settles(gateway)
        assert gateway.stop() == 0
    finally:
        gateway.end()
        for life in lives:
            life.end()


def _registers_and_offers_its_meter(utility: OpenleadrVtn) -> None:
    utility.wait_for("registered", within_s=15, ven_name="lab-ven")
    offer = utility.wait_for("report offered", within_s=15)
    assert (offer["measurement"].lower(), offer["unit"], offer["scale"]) == ("realpower", "W", "none")
    assert offer["min_sampling_s"] == 1.0
    assert utility.count("report offered") == 1


def _takes_part_in_two_intervals(utility: OpenleadrVtn, gateway: Gateway) -> None:
    before_w = eventually("a live reading", lambda: _now(gateway)["power"]["power_w"], within_s=20)
    utility.tell(do="event", event_id="two-steps", ven_id=utility.ven_id, in_s=6, interval_s=12, levels=[1, 2])
    utility.wait_for("answer", within_s=15, event_id="two-steps", opt_type="optIn")

    def reduced(fraction: float) -> bool:
        power_w = _now(gateway)["power"]["power_w"]
        return power_w is not None and power_w <= before_w * (1 - fraction + 0.02)

    eventually("a tenth less in the first interval", lambda: reduced(0.10), within_s=20)
    assert _now(gateway)["devices"]["capped"] > 0
    eventually("a quarter less in the second interval", lambda: reduced(0.25), within_s=25)
    eventually("every cap is off after the event", lambda: _now(gateway)["devices"]["capped"] == 0, within_s=30)


def _reports_what_the_site_draws(utility: OpenleadrVtn) -> None:
    heard = utility.wait_for("report data", within_s=20)
    assert heard["resource_id"] == "lab-1"
    values = [value for item in utility.heard if item["what"] == "report data" for _, value in item["data"]]
    assert all(1_000 < value < 20_000 for value in values), values


def _tells_an_operators_change_of_mind(utility: OpenleadrVtn, gateway: Gateway) -> None:
    """By commands at the terminal, while the gateway has the record open."""
    utility.tell(do="event", event_id="not-tonight", ven_id=utility.ven_id, in_s=3, interval_s=40, levels=[2])
    utility.wait_for("answer", within_s=15, event_id="not-tonight", opt_type="optIn")
    eventually("caps are down", lambda: _now(gateway)["devices"]["capped"], within_s=20)

    gateway.ask("event", "opt-out", "not-tonight", "--reason", "chiller down", "--by", "ann")
    eventually("caps are off once we opted out", lambda: _now(gateway)["devices"]["capped"] == 0, within_s=10)
    utility.wait_for("answer", within_s=10, event_id="not-tonight", opt_type="optOut")
    line = next(line for line in _now(gateway)["events"] if line["event_id"] == "not-tonight")
    assert "opted out by ann: chiller down" in line["answer"]

    said_in = utility.count("answer", event_id="not-tonight", opt_type="optIn")
    gateway.ask("event", "opt-in", "not-tonight", "--reason", "it runs again", "--by", "ann")
    eventually("caps are down again", lambda: _now(gateway)["devices"]["capped"], within_s=10)
    eventually(
        "the utility hears of both changes",
        lambda: utility.count("answer", event_id="not-tonight", opt_type="optIn") > said_in,
        within_s=10,
    )
    eventually("the event is over", lambda: _now(gateway)["devices"]["capped"] == 0, within_s=60)


def _follows_a_cancel(utility: OpenleadrVtn, gateway: Gateway) -> None:
    utility.tell(do="event", event_id="called-off", ven_id=utility.ven_id, in_s=3, interval_s=600, levels=[2])
    utility.wait_for("answer", within_s=15, event_id="called-off", opt_type="optIn")
    eventually("caps are down", lambda: _now(gateway)["devices"]["capped"], within_s=20)
    utility.tell(do="cancel", event_id="called-off", ven_id=utility.ven_id)
    eventually("caps are off once it is cancelled", lambda: _now(gateway)["devices"]["capped"] == 0, within_s=15)


def _settles(gateway: Gateway) -> None:
    def both() -> dict[str, Any] | None:
        found = {item["verified"]["event_id"]: item for item in gateway.ask("statement", "list")}
        return found if {"two-steps", "called-off"} <= found.keys() else None

    statements = eventually("both events are settled", both, within_s=90, every_s=3)
    two_steps = statements["two-steps"]
    assert two_steps["verified"]["rule"] == "meter-before-after"
    assert float(two_steps["delivered_kwh"]) > 0
    shown = gateway.ask("statement", "show", two_steps["statement_id"], "--check")
    assert shown["inputs_sha256"] == two_steps["inputs_sha256"]
    history = gateway.ask("event", "show", "called-off")
    assert history["state"] == "cancelled"


def _now(gateway: Gateway) -> dict[str, Any]:
    return eventually("the page's figures", lambda: gateway.get("/api/now"), within_s=10)
