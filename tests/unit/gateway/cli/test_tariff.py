import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.tariff import tariff

QUARTER = {
    "starts_at": "2026-07-01T10:00:00+08:00",
    "duration_s": 3600,
    "baseline_wh": 130_000,
    "measured_wh": 100_000,
    "price": {"per_kwh": 3.5, "source": "clearing"},
}
EVENT = {"event_id": "e-1", "awarded_kw": "100", "intervals": [QUARTER]}


class Answer:
    """What one call of the command gave back."""

    def __init__(self, *arguments: str) -> None:
        result = CliRunner().invoke(tariff, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr

    def json(self) -> dict:
        return json.loads(self.out)


def tried(folder: Path, content: object, *more: str, tariff_id: str = "guangdong-response") -> Answer:
    path = folder / "delivery.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return Answer("try", tariff_id, "--delivery", str(path), *more)


def test_a_statement_in_json(tmp_path: Path):
    # 30 kWh x 3.5 = 105.00; 20 kWh short of 50: 20 x 3.5 x 0.5 = 35.00.
    answer = tried(tmp_path, EVENT, "--json")
    assert answer.code == 0
    found = answer.json()
    assert (found["amount"], found["currency"], found["tariff"]) == ("70.00", "CNY", "guangdong-response")
    assert [line["amount"] for line in found["lines"]] == ["105.00", "-35.00"]
    assert found["lines"][0]["starts_at"] == "2026-07-01T02:00:00Z"
    assert found["lines"][0]["price"] == "3.5"
    assert found["parts"] == [{"part": "energy", "amount": "105.00"}, {"part": "penalty", "amount": "-35.00"}]


def test_a_statement_to_read(tmp_path: Path):
    answer = tried(tmp_path, EVENT)
    assert answer.code == 0
    assert "delivered 30.000 kWh; 30.000 kWh x 3.5 x 1 = 105.0000" in answer.out
    assert "total 70.00 CNY" in answer.out


def test_a_month(tmp_path: Path):
    # 30 kWh x 1.0 = 30.00; (500 - 200) kW x 0.3 = 90.00.
    month = {"month": {"name": "2026-07", "committed_kw": 500}, "deliveries": [EVENT | {"requested_kw": "200"}]}
    answer = tried(tmp_path, month, "--json", tariff_id="hainan-2025-draft")
    assert (answer.code, answer.json()["amount"], answer.json()["covers"]) == (0, "120.00", "month 2026-07")


def test_a_price_never_passes_through_a_float(tmp_path: Path):
    text = json.dumps(EVENT).replace("3.5", "0.333333333")
    assert tried(tmp_path, text, "--json").json()["lines"][0]["price"] == "0.333333333"


def test_list_and_show():
    listed = Answer("list", "--json").json()["tariffs"]
    assert {"flat-energy", "ercot-ers", "pjm-economic"} <= {one["tariff"] for one in listed}
    assert "from memory, to be checked" in Answer("list").out
    shown = Answer("show", "guangdong-response", "--json").json()
    assert (shown["penalty"]["threshold_ratio"], shown["penalty"]["over"]) == ("0.5", "hour")
    assert "threshold_ratio 0.5, factor 0.5, price by series" in Answer("show", "guangdong-response").out
    assert "from_ratio 1.2, pay_factor 1, cap_ratio 1.2" in Answer("show", "capacity-with-tiers").out


def test_an_unknown_tariff_names_the_nearest(tmp_path: Path):
    for answer in (Answer("show", "ercot"), tried(tmp_path, EVENT, tariff_id="ercot")):
        assert (answer.code, answer.err) == (2, "gridgate: no tariff 'ercot': did you mean ercot-ers?\n")


def with_interval(**changes: object) -> dict:
    return EVENT | {"intervals": [{key: value for key, value in (QUARTER | changes).items() if value is not ...}]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the file: an object is wanted"),
        ("NaN", "not JSON: NaN is no number"),
        ({}, "intervals: missing"),
        (EVENT | {"award": 1}, "award: unknown, known here: agreed, availability, awarded_kw"),
        (EVENT | {"awarded_kw": True}, "awarded_kw: a number under"),
        (EVENT | {"awarded_kw": "1e99"}, "awarded_kw: a number under"),
        (EVENT | {"awarded_kw": "NaN"}, "awarded_kw: a number under"),
        (EVENT | {"awarded_kw": "1.0000000001"}, "nine decimals at most"),
        (EVENT | {"awarded_kw": -1}, "from 0 on"),
        (EVENT | {"intervals": {}}, "intervals: a list"),
        (EVENT | {"capability_test": 1}, "capability_test: true or false"),
        (EVENT | {"event_id": 1}, "event_id: text"),
        (EVENT | {"availability": {"hours": 1, "factor": 2}}, "availability: availability of 2"),
        (EVENT | {"agreed": {"enrgy": 1}}, "agreed.enrgy: unknown"),
        (EVENT | {"intervals": [QUARTER, QUARTER]}, "begins before the one before it ends"),
        (with_interval(starts_at="10:00"), "intervals[0].starts_at"),
        (with_interval(starts_at="2026-07-01T10:00"), "no UTC offset"),
        (with_interval(baseline_wh="1"), "intervals[0].baseline_wh: a number"),
        (with_interval(baseline_wh=10**400), "intervals[0].baseline_wh: too large"),
        (with_interval(delivered_wh=1), "not baseline less measured"),
        (with_interval(quality="bad"), "intervals[0].quality: one of good, suspect, estimated"),
        (with_interval(price={"per_kwh": 1}), "intervals[0].price.source: missing"),
        (with_interval(price=...), "has no price"),
    ],
)
def test_what_cannot_be_read_or_priced_is_said_in_one_line(tmp_path: Path, content: object, says: str):
    answer = tried(tmp_path, content, "--json")
    assert answer.code == 2
    assert says in answer.json()["error"]
    assert answer.err.startswith("gridgate: ")
    assert answer.err.count("\n") == 1


def test_a_file_that_is_not_there():
    answer = Answer("try", "flat-energy", "--delivery", "absent.json")
    assert (answer.code, answer.err) == (2, "gridgate: cannot read absent.json: No such file or directory\n")
