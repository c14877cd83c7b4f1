import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli.baseline import baseline

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(baseline)

PHOENIX = ("--timezone", "America/Phoenix")
EVENT = ("--event", "2025-06-18T14:00/2025-06-18T16:00")


class Answer:
    """What one call of the command gave back."""

    def __init__(self, *arguments: str) -> None:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr

    def json(self) -> dict:
        return json.loads(self.out)


def history(
    folder: Path, *, days: int = 20, step_min: int = 30, header: str = "timestamp,kw", suffix: str = ""
) -> Path:
    """Fifty kilowatts around the clock, forty in the event."""
    first = datetime(2025, 6, 19) - timedelta(days=days)  # noqa: DTZ001 - local stamps are what people have
    stamps = [first + timedelta(minutes=step_min * n) for n in range(days * 24 * 60 // step_min)]
    factor = 1 if header.endswith("kw") else step_min / 60
    rows = [
        f"{at.isoformat(sep=' ')}{suffix},{factor * (40 if at.day == 18 and at.hour in (14, 15) else 50)}"
        for at in stamps
    ]
    path = folder / "readings.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def written(folder: Path, text: str, name: str = "readings.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_shape_of_an_answer(tmp_path: Path):
    answer = Answer("caiso-10-in-10", "--readings", str(history(tmp_path)), *EVENT, *PHOENIX, "--json")
    assert answer.code == 0
    result = answer.json()
    assert (result["rule"], result["rule_version"]) == ("caiso-10-in-10", "1.0")
    assert result["adjustment"] == {"kind": "multiplicative", "raw": 1.0, "applied": 1.0}
    assert result["intervals"][0] == {
        "starts_at": "2025-06-18T21:00:00Z",
        "duration_s": 1800.0,
        "unadjusted_w": 50_000.0,
        "baseline_w": 50_000.0,
        "measured_w": 40_000.0,
        "reduction_w": 10_000.0,
    }
    assert len(result["intervals"]) == 4
    assert {"date": "2025-06-17", "selected": True, "reason": "selected", "detail": ""} in result["days"]
    assert answer.err == ""


@pytest.mark.parametrize("header", ["timestamp,kwh", "Timestamp , kWh"])
def test_kilowatt_hours_are_energy_of_the_interval(tmp_path: Path, header: str):
    path = history(tmp_path, header="timestamp,kwh")
    path.write_text(path.read_text().replace("timestamp,kwh", header))
    result = Answer("meter-before-after", "--readings", str(path), *EVENT, *PHOENIX, "--json").json()
    assert result["intervals"][0]["baseline_w"] == pytest.approx(50_000.0)
    assert result["intervals"][0]["measured_w"] == pytest.approx(40_000.0)


def test_the_answer_in_words(tmp_path: Path):
    answer = Answer("caiso-10-in-10", "--readings", str(history(tmp_path)), *EVENT, *PHOENIX)
    assert answer.code == 0
    assert "2025-06-15  -  weekend" in answer.out
    assert "2025-06-17  x  selected" in answer.out
    assert "multiplicative adjustment 1.000000" in answer.out
    assert "2025-06-18 14:00         50.000       50.000       40.000        10.000" in answer.out
    assert "reduction 20.000 kWh" in answer.out


def test_meter_before_after_in_words(tmp_path: Path):
    answer = Answer(
        "meter-before-after",
        "--readings",
        str(history(tmp_path)),
        "--event",
        "2025-06-18T14:10/2025-06-18T15:10",
        *PHOENIX,
    )
    assert answer.code == 0
    assert "note: the event does not begin and end with the meter's intervals" in answer.out
    # Three intervals overlap the event; of two of them only a share lies within it.
    assert answer.out.count("10.000\n") == 3
    assert "reduction 10.000 kWh" in answer.out


def test_other_events_are_left_out(tmp_path: Path):
    events = written(tmp_path, "start,end\n2025-06-17 18:00, 2025-06-17 19:00\n", "events.csv")
    answer = Answer(
        "caiso-10-in-10", "--readings", str(history(tmp_path)), *EVENT, "--events", str(events), *PHOENIX, "--json"
    )
    assert {"date": "2025-06-17", "selected": False, "reason": "event day", "detail": ""} in answer.json()["days"]


def test_too_little_history_is_an_honest_cannot_say(tmp_path: Path):
    arguments = ("caiso-10-in-10", "--readings", str(history(tmp_path, days=3)), *EVENT, *PHOENIX)
    answer = Answer(*arguments, "--json")
    assert answer.code == 1
    assert answer.json()["insufficient"].startswith("2 usable business days where the rule needs at least 5")
    assert answer.json()["rule"] == "caiso-10-in-10"
    assert len(answer.json()["days"]) == 45
    in_words = Answer(*arguments)
    assert in_words.code == 1
    assert in_words.out.startswith("insufficient: 2 usable business days")


def test_a_file_of_nothing_but_gaps_is_insufficient(tmp_path: Path):
    path = written(tmp_path, "timestamp,kw\n2025-06-18 13:00,\n2025-06-18 13:30,nan\n2025-06-18 14:00\n")
    answer = Answer("meter-before-after", "--readings", str(path), *EVENT, *PHOENIX, "--json")
    assert answer.code == 1
    assert "no reading in the 15 minutes" in answer.json()["insufficient"]


def test_stamps_with_an_offset_need_no_zone(tmp_path: Path):
    path = history(tmp_path, suffix="-07:00")
    answer = Answer(
        "caiso-10-in-10", "--readings", str(path), "--event", "2025-06-18T21:00Z/2025-06-18T23:00Z", "--json"
    )
    assert answer.code == 0
    assert answer.json()["intervals"][0]["reduction_w"] == pytest.approx(10_000.0)


def test_the_zone_decides_the_day(tmp_path: Path):
    path = history(tmp_path, suffix="-07:00")
    event = ("--event", "2025-06-16T01:00Z/2025-06-16T02:00Z")  # Sunday evening in Phoenix, Monday in Greenwich
    here = Answer("caiso-10-in-10", "--readings", str(path), *event, *PHOENIX, "--json").json()
    there = Answer("caiso-10-in-10", "--readings", str(path), *event, "--timezone", "UTC", "--json").json()
    assert here["days"][0] == {"date": "2025-06-14", "selected": True, "reason": "selected", "detail": ""}
    assert there["days"][0] == {"date": "2025-06-15", "selected": False, "reason": "weekend", "detail": ""}


@pytest.mark.parametrize(
    ("rule", "option", "said"),
    [
        ("ercot-meter-before-after", ("--notice", "2025-06-18T13:30"), "the rule looks before the notice"),
        ("jiangsu", ("--notice", "2025-06-17T13:30"), "the rule counts its days from the notice"),
        ("maximum-base-load", ("--declared-kw", "55"), "give that level in watts"),
        ("generator-output", ("--generation", "FILE"), "give the readings of its output"),
    ],
)
def test_a_rule_that_needs_more_says_what(tmp_path: Path, rule: str, option: tuple[str, str], said: str):
    path = str(history(tmp_path))
    arguments = (rule, "--readings", path, *EVENT, *PHOENIX, "--json")
    without = Answer(*arguments)
    assert without.code == 1
    assert said in without.json()["insufficient"]
    given = Answer(*arguments, option[0], option[1].replace("FILE", path))
    assert given.code == 0, given.out
    # The building's own meter stands for a generator that gives ten kilowatts less in the event.
    expected_w = {"maximum-base-load": 15_000.0, "generator-output": -10_000.0}.get(rule, 10_000.0)
    assert given.json()["intervals"][0]["reduction_w"] == pytest.approx(expected_w)


def test_the_rules_are_listed():
    answer = Answer("--list", "--json")
    assert answer.code == 0
    rules = {rule["rule"]: rule for rule in answer.json()["rules"]}
    assert {"caiso-10-in-10", "meter-before-after", "ipto", "gb-bl01"} < set(rules)
    assert all(rule["source"] and rule["clause"] and rule["read"] for rule in rules.values())
    assert rules["caiso-10-in-10"]["source"].startswith("California ISO tariff, section 4.13.4")
    assert "meter-before-after" in Answer("--list").out


def refused(answer: Answer) -> str:
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    return answer.err


ROWS = ["2025-06-18 13:00,50", "2025-06-18 13:15,50", "2025-06-18 13:30,50", "2025-06-18 13:45,50"]
STAMPED = [f"{row[:16]}-07:00{row[16:]}" for row in ROWS]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "the file is empty: the header `timestamp,kw`"),
        (ROWS, "line 1 is a reading, there is no header: `timestamp,kw`"),
        (["timestamp,total", *ROWS], "the header 'timestamp,total' is not known: `timestamp,kw`"),
        (["timestamp,kw,kwh", *ROWS], "the header 'timestamp,kw,kwh' is not known"),
        (["time,kw", *ROWS], "the header 'time,kw' is not known"),
        (["timestamp,kw", *ROWS, "2025-06-18 14:00,50,1"], "line 6: 3 columns where the header has two"),
        (["timestamp,kw", *ROWS, "2025-06-18 14:00,fifty"], "line 6: 'fifty' is no number"),
        (["timestamp,kw", *ROWS, "2025-06-18 14:00,inf"], "line 6: 'inf' is beyond any meter"),
        (["timestamp,kw", *ROWS, "yesterday,50"], "line 6: 'yesterday' is no date and time"),
        (["timestamp,kw", *ROWS, "9999-12-31 23:59,50"], "line 6: the year of 9999-12-31 23:59 is not within"),
        (["timestamp,kw", *ROWS, "", ROWS[-1]], "line 7 has the same stamp as line 5: keep one"),
        (["timestamp,kw", *ROWS[::-1]], "line 3 is earlier than line 2: sort the rows"),
        (["timestamp,kw", *ROWS, STAMPED[-1]], "line 6: stamps with a UTC offset (line 6) beside stamps without one"),
        (["timestamp,kw", *ROWS, "2025-06-18 13:50,50"], "line 6 comes 300 s after line 5, no multiple of"),
        (["timestamp,kw", ROWS[0]], "fewer than two rows"),
        (["timestamp,kw", "2025-06-18 13:00:00.1,5", "2025-06-18 13:00:00.2,5"], "most rows are 0.1 s apart"),
    ],
)  # fmt: skip
def test_readings_that_cannot_be_used(tmp_path: Path, lines: list[str], said: str):
    path = written(tmp_path, "\n".join(lines))
    error = refused(Answer("meter-before-after", "--readings", str(path), *EVENT, *PHOENIX))
    assert said in error
    assert str(path) in error


def test_naive_stamps_need_a_zone(tmp_path: Path):
    path = str(written(tmp_path, "\n".join(["timestamp,kw", *ROWS])))
    with_offset = ("--event", "2025-06-18T14:00-07:00/2025-06-18T16:00-07:00")
    assert "line 2: 2025-06-18 13:00:00 has no UTC offset: say with --timezone" in refused(
        Answer("meter-before-after", "--readings", path, *with_offset)
    )
    assert "--event: 2025-06-18 14:00:00 has no UTC offset" in refused(
        Answer("meter-before-after", "--readings", path, *EVENT)
    )


@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        ("2025-11-02 01:30", "comes twice in America/Los_Angeles (the clocks go back)"),
        ("2025-03-09 02:30", "does not exist in America/Los_Angeles (the clocks go forward)"),
    ],
)
def test_stamps_that_the_clock_change_leaves_open(tmp_path: Path, stamp: str, said: str):
    path = written(tmp_path, f"timestamp,kw\n{stamp},50\n")
    answer = Answer("meter-before-after", "--readings", str(path), *EVENT, "--timezone", "America/Los_Angeles")
    assert said in refused(answer)


def test_two_offsets_leave_the_day_open(tmp_path: Path):
    path = written(tmp_path, "timestamp,kw\n2025-11-02T01:30-07:00,5\n2025-11-02T01:00-08:00,5\n")
    event = ("--event", "2025-11-02T01:30-08:00/2025-11-02T02:00-08:00")
    assert "more than one UTC offset" in refused(Answer("caiso-10-in-10", "--readings", str(path), *event))
    assert Answer("meter-before-after", "--readings", str(path), *event).code == 0


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("2025-06-18T14:00", "is not START/END"),
        ("2025-06-18T14:00/PT2H", "--event: 'PT2H' is no date and time"),
        ("2025-06-18T14:00/2025-06-18T14:00", "not after its start"),
        ("2025-06-18T14:00/2025-07-18T14:00", "more than 7 days"),
        ("0001-01-01/9999-01-01", "--event: the year of 0001-01-01 is not within"),
    ],
)
def test_events_that_are_none(tmp_path: Path, event: str, said: str):
    path = written(tmp_path, "\n".join(["timestamp,kw", *ROWS]))
    assert said in refused(Answer("meter-before-after", "--readings", str(path), "--event", event, *PHOENIX))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2013-09-23 14:00:00, 2013-09-23 16:00:00\n", "the header `start,end` is expected"),
        ("", "the header `start,end` is expected"),
        ("start,end\n2025-06-17 14:00\n", "line 2: 1 columns"),
        ("start,end\n2025-06-17 14:00,2025-06-17 13:00\n", "line 2: the event ends at 2025-06-17 13:00, not after"),
    ],
)
def test_an_events_file_that_cannot_be_used(tmp_path: Path, text: str, said: str):
    events = written(tmp_path, text, "events.csv")
    readings = written(tmp_path, "\n".join(["timestamp,kw", *ROWS]))
    error = refused(
        Answer("meter-before-after", "--readings", str(readings), *EVENT, "--events", str(events), *PHOENIX)
    )
    assert said in error
    assert str(events) in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "a RULE, --readings and --event are needed"),
        (("caiso-10-in-10",), "a RULE, --readings and --event are needed"),
        (("caiso-10in10", "--readings", "x.csv", *EVENT), "no rule 'caiso-10in10': did you mean caiso-10-in-10?"),
        (("zzz", "--readings", "x.csv", *EVENT), "no rule 'zzz': known are 10-of-10, beijing, caiso-10-in-10"),
        (("caiso-10-in-10", "--readings", "missing.csv", *EVENT, *PHOENIX), "cannot read missing.csv"),
        (("caiso-10-in-10", "--readings", "x", *EVENT, "--timezone", "Mars/Base"), "no time zone 'Mars/Base'"),
        (("caiso-10-in-10", "--readings", "x", *EVENT, "--timezone", "America"), "no time zone 'America'"),
        (("caiso-10-in-10", "--readings", "x", *EVENT, "--timezone", "../UTC"), "no time zone '../UTC'"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], said: str):
    assert said in refused(Answer(*arguments))


def test_an_error_is_json_too_where_json_is_wanted(tmp_path: Path):
    answer = Answer("meter-before-after", "--readings", str(written(tmp_path, "")), *EVENT, *PHOENIX, "--json")
    assert answer.code == 2
    assert "the file is empty" in answer.json()["error"]


@pytest.mark.parametrize(
    "content",
    [b"timestamp,kw\n\xff\xfe,1\n", b"timestamp,kw\n\x00\n", b"\x00" * 100, b"timestamp,kw\n" + b"1" * 200_000],
)
def test_bytes_that_are_no_csv(tmp_path: Path, content: bytes):
    path = tmp_path / "readings.csv"
    path.write_bytes(content)
    refused(Answer("meter-before-after", "--readings", str(path), *EVENT, *PHOENIX))


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path):
    path = history(tmp_path, days=1)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Answer("meter-before-after", "--readings", str(path), *EVENT, *PHOENIX).code == 0


def warmed(folder: Path, *, days: int = 60) -> tuple[Path, Path]:
    """Two months of hours, of a load that follows the temperature but for the event, and the temperatures."""
    first = datetime(2025, 6, 19) - timedelta(days=days)  # noqa: DTZ001 - local stamps are what people have
    load, warm = ["timestamp,kw"], ["start,temperature_c"]
    for hour in range(days * 24):
        at = first + timedelta(hours=hour)
        temperature_c = 10 + 5 * (hour // 24) % 13
        called = at.day == 18 and at.month == 6 and at.hour in (14, 15)
        load.append(f"{at},{30 + temperature_c - (10 if called else 0)}")
        warm.append(f"{at},{temperature_c}")
    readings, temperatures = folder / "warm-kw.csv", folder / "warm-c.csv"
    readings.write_text("\n".join(load))
    temperatures.write_text("\n".join(warm))
    return readings, temperatures


def test_a_regression_follows_the_temperature_of_a_file(tmp_path: Path) -> None:
    readings, temperatures = warmed(tmp_path)
    call = ("time-of-week-regression", "--readings", str(readings), *EVENT, *PHOENIX, "--json")
    without = Answer(*call)
    having = Answer(*call, "--temperature", str(temperatures))
    assert (without.code, having.code) == (0, 0), having.out + having.err
    found, rough = ([one["reduction_w"] for one in answer.json()["intervals"]] for answer in (having, without))
    assert found == pytest.approx([10_000.0] * 2, abs=50.0)
    assert all(abs(one - 10_000.0) > 1_000.0 for one in rough)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("start,kelvin\n2025-06-18 14:00,290\n", "start,temperature_c"),
        ("start,temperature_c\n2025-06-18 14:00,290\n", "290 is no temperature"),
        ("start,temperature_c\n2025-06-18 14:00,20\n2025-06-18 14:00,21\n", "same stamp"),
        ("start,temperature_c\nyesterday,20\n", "line 2"),
        ("start,temperature_c\n2025-06-18 14:00,20,1\n", "3 columns"),
    ],
)
def test_temperatures_that_cannot_be_read_say_where(tmp_path: Path, content: str, says: str) -> None:
    readings, temperatures = warmed(tmp_path, days=2)
    temperatures.write_text(content)
    call = ("time-of-week-regression", "--readings", str(readings), *EVENT, *PHOENIX)
    answer = Answer(*call, "--temperature", str(temperatures))
    assert answer.code == 2
    assert says in answer.err
    assert "warm-c.csv" in answer.err
