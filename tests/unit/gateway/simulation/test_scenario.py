from typing import Any

import pytest

from gateway.simulation.scenario import ScenarioError, Stretch, load, parsed, scenario_from, shipped
from tests.unit.gateway.simulation.small_scenario import SMALL, small


def test_what_is_shipped_can_be_loaded() -> None:
    names = "bursty failures fast meter phoenix regulation tree two-step year"
    assert shipped() == tuple(names.split())
    for name in shipped():
        scenario = load(name)
        assert scenario.name == name
        assert len(scenario.extra_seeds) == 2
        assert scenario.events()


def test_phoenix_is_the_field_test() -> None:
    scenario = load("phoenix")
    (event,) = scenario.events()
    assert (
        scenario.fleet.hosts * scenario.fleet.devices_per_host == sum(job.devices for job in scenario.fleet.job) == 256
    )
    assert (event.ramp_s, event.duration_s, event.values) == (-900.0, 10800.0, ((10800.0, 0.25),))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sead": 3}, "sead: unknown key; did you mean 'seed'?"),
        ({"fleet": {"hosts": 1, "job": []}}, "it needs a job"),
        ({"fleet": {**SMALL["fleet"], "hosts": 1}}, "its jobs ask for 7 devices, and it has 4"),
        ({"event": [{"id": "late", "starts_s": 200, "duration_s": 90, "values": [[90, 0.2]]}]}, "is not over by"),
        ({"event": [{"id": "empty", "starts_s": 20, "duration_s": 90}]}, "values are missing"),
        ({"event": [{"id": "fast", "kind": "regulation", "starts_s": 20, "duration_s": 90}]}, "go together"),
        ({"event": [*SMALL["event"], *SMALL["event"]]}, "event id 'now' is used twice"),
        ({"event": [{**SMALL["event"][0], "starts_s": 5}]}, "nothing to measure it from"),
        ({"event": [{**SMALL["event"][0], "ramp_s": 90}]}, "no time to hold anything"),
        ({"event": [{**SMALL["event"][0], "cancelled_s": 150}]}, "between its receipt and its end"),
        ({"around_events_s": [5, 60]}, "around_events_s is at least 10"),
        ({"fault": [{"what": "gateway_killed", "at_s": 10}]}, "needs lasts_s"),
        ({"fault": [{"what": "meter_silent", "at_s": 999}]}, "comes after duration_s"),
        ({"starts_at": "2026-07-15T15:00:00"}, "starts_at"),
        ({"site": {"node": [{"id": "rack", "kind": "rack", "limit_kw": 3, "hosts": ["h09"]}]}}, "the fleet has no h09"),
        ({"site": {"node": [{"id": "rack", "kind": "rack", "limit_kw": 3, "parent": "feed"}]}}, "no node is called"),
        ({"program": {"contract": {"commited_kw": 3}}}, "program.contract.commited_kw: unknown key"),
        ({"program": {"contract": {"committed_kw": 3, "season": {"first": "6", "last": "7"}}}}, "no day of the year"),
        ({"site": {"import_limit": 3}}, "site.import_limit: unknown key; did you mean 'import_limit_kw'?"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused_in_plain_words(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError, match=says.replace("?", r"\?")):
        scenario_from({**SMALL, **changes}, source="here.toml")


def test_an_unknown_key_of_a_job_names_the_nearest() -> None:
    jobs = [{**SMALL["fleet"]["job"][0], "teir": "flex1"}]
    with pytest.raises(ScenarioError, match=r"fleet\.job\.0\.teir: unknown key; did you mean 'tier'\?"):
        small(fleet={"hosts": 2, "job": jobs})


def test_what_is_no_toml_is_said_to_be_none() -> None:
    with pytest.raises(ScenarioError, match="is not TOML"):
        parsed("seed = = 3", source="here.toml", name="here")


def test_a_name_that_nothing_has_lists_what_there_is() -> None:
    with pytest.raises(ScenarioError, match="shipped: bursty"):
        load("phenix")


def test_an_event_is_repeated() -> None:
    event = {**SMALL["event"][0], "times": 3, "every_s": 1000, "received_s": 30}
    events = small(event=[event], duration_s=4000).events()
    assert [one.id for one in events] == ["now-01", "now-02", "now-03"]
    assert [(one.received_s, one.starts_s) for one in events] == [(30, 60), (1030, 1060), (2030, 2060)]


def test_only_the_time_around_events_is_played() -> None:
    event = {**SMALL["event"][0], "times": 3, "every_s": 1000, "starts_s": 100}
    scenario = small(event=[event], duration_s=4000, around_events_s=(200, 300))
    assert scenario.stretches() == (
        Stretch(from_s=0, to_s=490),
        Stretch(from_s=900, to_s=1490),
        Stretch(from_s=1900, to_s=2490),
    )
    joined = small(event=[event], duration_s=4000, around_events_s=(900, 600)).stretches()
    assert joined == (Stretch(from_s=0, to_s=2790),)
