"""``gridgate meter`` at the terminal: files of the revenue meter taken in, refused, listed and handed out again."""

import asyncio
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway import app
from gateway.__main__ import main
from gateway.cli.meter_files import FileFormat, write_meter_file
from gateway.domain.measurement import IntervalEnergy
from gateway.services.meter_data import MeterData

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOURS = 4
OWN_W = 100_000.0


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record without a row."""
    file = tmp_path_factory.mktemp("empty") / "gridgate.db"
    asyncio.run(app.upgrade_database(f"sqlite+aiosqlite:///{file}"))
    return file


@pytest.fixture
def url(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    shutil.copy(empty, tmp_path / "gridgate.db")
    url = f"sqlite+aiosqlite:///{tmp_path}/gridgate.db"
    monkeypatch.setenv("GRIDGATE_GATEWAY__DATABASE", url)
    return url


@pytest.fixture
def typed(url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def typed(*words: object) -> Done:
        monkeypatch.setattr("sys.argv", ["gridgate", "meter", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        assert "internal error" not in captured.err
        return Done(code=ended.value.code, out=captured.out, err=captured.err)

    return typed


@pytest.fixture
def own(url: str) -> None:
    """Closed intervals of our own meter: four hours of 100 kW by five minutes."""
    intervals = [
        IntervalEnergy(
            starts_at=NOON + timedelta(minutes=5 * index),
            duration_s=300.0,
            energy_wh=OWN_W / 12,
            coverage_fraction=1.0,
        )
        for index in range(12 * HOURS)
    ]

    async def record() -> None:
        async with app.open_record(url, migrate=False) as opened:
            await opened.ledger.record_energy("site", intervals)

    asyncio.run(record())


def quarters(values: Sequence[object], first: datetime = NOON) -> str:
    rows = [f"{(first + timedelta(minutes=15 * index)).isoformat()},{value}" for index, value in enumerate(values)]
    return "\n".join(rows) + "\n"


def written(folder: Path, text: str, name: str = "july.csv") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def settled(url: str, start: datetime, end: datetime) -> list[float]:
    async def asked() -> list[float]:
        async with app.open_record(url, migrate=False) as opened:
            found = await MeterData(opened.ledger).measured_between("site", start, end, 300)
            return [one.energy_wh for one in found]

    return asyncio.run(asked())


@pytest.mark.usefixtures("own")
def test_a_file_is_taken_in_listed_and_settled_by(typed: Callable[..., Done], url: str, tmp_path: Path) -> None:
    file = written(tmp_path, "start,kWh\n" + quarters([25.25] * 8))
    done = typed("import", file, "--meter", "site", "--by", "ann", "--json")
    assert done.code == 0
    found = done.json
    assert (found["recorded"], found["energy_kwh"], found["compared"], found["replaces"]) == (True, 202.0, 8, 0)
    assert found["ratio"] == pytest.approx(1.01)
    assert found["imported"]["sha256"] == sha256(file.read_bytes()).hexdigest()
    (listed,) = typed("imports", "--json").json
    assert listed == found["imported"]
    assert (listed["by"], listed["source"], listed["starts_at"], listed["ends_at"], listed["count"]) == (
        "ann",
        "july.csv",
        "2026-07-01T12:00:00Z",
        "2026-07-01T14:00:00Z",
        8,
    )
    assert "july.csv" in typed("imports").out
    assert settled(url, NOON, NOON + timedelta(minutes=30)) == [25_250.0] * 2


@pytest.mark.usefixtures("own")
def test_a_check_says_what_would_be_and_records_nothing(typed: Callable[..., Done], tmp_path: Path) -> None:
    file = written(tmp_path, "start,kWh\n" + quarters([25.25, "", 25.25]))
    done = typed("import", file, "--meter", "site", "--check-only")
    assert done.code == 0
    assert done.out.startswith("nothing is recorded: this was a check\n")
    assert "+1.00 % against our own meter (median of 2 intervals)" in done.out
    assert "note: 1 rows have no value and are no readings" in done.out
    assert typed("imports").out == "nothing was imported yet\n"


def refused(done: Done, typed: Callable[..., Done]) -> str:
    """What was said to a refusal, after which nothing is on record."""
    assert done.code == 2
    assert typed("imports", "--json").json == []
    return done.err


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("unit", "value"), [("kWh", 100.0), ("kW", 25.0), ("Wh", 25.0), ("kWh", 25_000.0)])
def test_a_unit_that_cannot_be_right_is_refused_unless_it_is_said(
    typed: Callable[..., Done], tmp_path: Path, unit: str, value: float
) -> None:
    file = written(tmp_path, f"start,{unit}\n" + quarters([value] * 8))
    said = refused(typed("import", file, "--meter", "site"), typed)
    looks = {
        ("kWh", 100.0): "4 times what our own meter says of the same 8 intervals, which looks like mean power",
        ("kW", 25.0): "0.25 times what our own meter says of the same 8 intervals, which looks like energy taken for",
        ("Wh", 25.0): "0.001 times what our own meter says of the same 8 intervals, which looks like a thousand times",
        ("kWh", 25_000.0): "1000 times what our own meter says of the same 8 intervals, which looks like a thousandth",
    }
    assert f"july.csv: taken as {unit} the energy is {looks[unit, value]}" in said
    assert "nothing was recorded" in said
    assert typed("import", file, "--meter", "site", "--unit", unit).code == 0


@pytest.mark.usefixtures("own")
def test_the_unit_that_was_meant_may_be_said(typed: Callable[..., Done], url: str, tmp_path: Path) -> None:
    file = written(tmp_path, "start,kWh\n" + quarters([101.0] * 8))
    assert typed("import", file, "--meter", "site", "--unit", "kw").code == 0
    assert settled(url, NOON, NOON + timedelta(minutes=15)) == [25_250.0]


def test_without_a_unit_nothing_is_imported(typed: Callable[..., Done], tmp_path: Path) -> None:
    file = written(tmp_path, "start,value\n" + quarters([25.0] * 8))
    said = refused(typed("import", file, "--meter", "site"), typed)
    assert "nothing says what unit the column 'value' is in" in said


def test_a_file_that_is_half_broken_leaves_nothing_behind(typed: Callable[..., Done], tmp_path: Path) -> None:
    file = written(tmp_path, "start,kWh\n" + quarters([25.0] * 1000) + "2026-07-1")
    said = refused(typed("import", file, "--meter", "site", "--json"), typed)
    assert "line 1002 has 1 columns where the header has 2: is the file cut off?" in said


def test_two_meters_in_one_file_are_refused(typed: Callable[..., Done], tmp_path: Path) -> None:
    rows = [f"{(NOON + timedelta(minutes=15 * index)).isoformat()},25,{'AB'[index // 4]}" for index in range(8)]
    file = written(tmp_path, "start,kWh,meter\n" + "\n".join(rows))
    said = refused(typed("import", file, "--meter", "site"), typed)
    assert "line 2 is of meter 'A', line 6 of meter 'B'" in said


def test_intervals_that_overlap_are_refused(typed: Callable[..., Done], tmp_path: Path) -> None:
    file = written(tmp_path, "start,kWh\n" + quarters([25.0] * 4) + quarters([26.0], NOON))
    assert "line 6 has the same start as line 2" in refused(typed("import", file, "--meter", "site"), typed)


def test_the_same_file_twice_is_refused_in_words(typed: Callable[..., Done], tmp_path: Path) -> None:
    text = "start,kWh\n" + quarters([25.0] * 4)
    assert typed("import", written(tmp_path, text), "--meter", "site", "--by", "ann").code == 0
    again = typed("import", written(tmp_path, text, "copy.csv"), "--meter", "site")
    assert again.code == 2
    assert "copy.csv: this file was imported for meter site before: july.csv at" in again.err
    assert "by ann" in again.err
    assert len(typed("imports", "--json").json) == 1
    assert typed("import", written(tmp_path, text), "--meter", "other").code == 0


def test_what_is_yet_to_come_is_refused(typed: Callable[..., Done], tmp_path: Path) -> None:
    ahead = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    file = written(tmp_path, "start,kWh\n" + quarters([25.0] * 8, ahead - timedelta(hours=2)))
    said = refused(typed("import", file, "--meter", "site"), typed)
    assert "which is yet to come: is the time zone right?" in said


def test_later_data_counts_and_part_of_an_interval_is_refused(
    typed: Callable[..., Done], url: str, tmp_path: Path
) -> None:
    hourly = f"start,end,kWh\n{NOON.isoformat()},{(NOON + timedelta(hours=1)).isoformat()},100\n"
    assert typed("import", written(tmp_path, hourly, "hour.csv"), "--meter", "site").code == 0
    part = written(tmp_path, "start,kWh\n" + quarters([25.0] * 3), "part.csv")
    said = typed("import", part, "--meter", "site")
    assert said.code == 2
    assert "line 2: the interval from 2026-07-01 12:00Z replaces part of the one from 2026-07-01 12:00Z to" in said.err
    whole = written(tmp_path, "start,kWh\n" + quarters([20.0] * 4), "whole.csv")
    assert typed("import", whole, "--meter", "site", "--json").json["replaces"] == 1
    assert settled(url, NOON, NOON + timedelta(hours=1)) == [20_000.0] * 4


def test_local_time_over_a_clock_change(typed: Callable[..., Done], tmp_path: Path) -> None:
    berlin = ("--meter", "site", "--timezone", "Europe/Berlin", "--json")
    rows = ["01:00", "02:00", "02:00", "03:00"]
    file = written(tmp_path, "start,kWh\n" + "\n".join(f"2025-10-26 {at},25" for at in rows))
    done = typed("import", file, *berlin)
    assert (done.json["imported"]["starts_at"], done.json["imported"]["ends_at"]) == (
        "2025-10-25T23:00:00Z",
        "2025-10-26T03:00:00Z",
    )
    gone = written(tmp_path, "start,kWh\n2026-03-29 01:00,25\n2026-03-29 02:00,25\n", "march.csv")
    said = typed("import", gone, *berlin)
    assert said.code == 2
    assert "line 3: 2026-03-29 02:00:00 does not exist in Europe/Berlin" in said.err


@pytest.mark.parametrize("file_format", ["csv", "greenbutton"])
def test_what_is_handed_out_comes_in_again_as_it_was(
    typed: Callable[..., Done], url: str, own: None, tmp_path: Path, file_format: str
) -> None:
    given = [25.25, 24.875, 25.123, 26.001]
    assert typed("import", written(tmp_path, "start,kWh\n" + quarters(given)), "--meter", "site").code == 0
    out = tmp_path / "out.file"
    period = ("--from", "2026-07-01T12:00Z", "--to", "2026-07-01T14:00Z")
    done = typed("export", "--meter", "site", *period, "--out", out, "--format", file_format, "--json")
    # Four quarters of the revenue meter, then twelve of our own.
    assert done.json == {"file": str(out), "intervals": 16, "left_out": 0}
    back = typed("import", out, "--meter", "copy", "--format", file_format, "--json")
    assert back.code == 0, back.err
    assert back.json["energy_kwh"] == pytest.approx(sum(given) + 100.0, abs=1e-4)

    async def asked() -> list[tuple[datetime, float]]:
        async with app.open_record(url, migrate=False) as opened:
            found = await MeterData(opened.ledger).series_between("copy", NOON, NOON + timedelta(hours=2))
            return [(one.starts_at, one.energy_wh) for one in found]

    found = asyncio.run(asked())
    assert [at for at, _ in found[:5]] == [NOON + timedelta(minutes=15 * index) for index in range(5)]
    assert [energy_wh for _, energy_wh in found[:4]] == pytest.approx([1000 * value for value in given], abs=1e-3)


DAY = ("--from", "2026-06-30T00:00Z", "--to", "2026-07-01T00:00Z", "--timezone", "America/Phoenix")


def days(gap: range = range(0), kwh: float = 25.0) -> str:
    """Four weeks of quarters, of which some of the thirtieth of June are missing; every other one is a little more."""
    first = datetime(2026, 6, 3, tzinfo=UTC)
    missing = {datetime(2026, 6, 30, tzinfo=UTC) + timedelta(minutes=15 * index) for index in gap}
    rows = [
        f"{at.isoformat()},{kwh + index % 7 / 100}"
        for index in range(28 * 96)
        if (at := first + timedelta(minutes=15 * index)) not in missing
    ]
    return "start,kWh\n" + "\n".join(rows) + "\n"


def test_a_gap_is_found_estimated_on_request_and_counts_then(
    typed: Callable[..., Done], url: str, tmp_path: Path
) -> None:
    assert typed("import", written(tmp_path, days(range(40, 42))), "--meter", "site").code == 0
    found = typed("check", *DAY, "--json")
    assert found.code == 1
    assert [(one["kind"], one["starts_at"], one["ends_at"]) for one in found.json["findings"]][1:] == [
        ("gap", "2026-06-30T10:00:00Z", "2026-06-30T10:30:00Z")
    ]
    assert (found.json["of_imports"], found.json["interval_s"], found.json["intervals"]) == (True, 900.0, 94)
    assert "suspect" in typed("check", *DAY).out
    proposed = typed("estimate", *DAY, "--by", "ann", "--json").json
    assert (len(proposed["edits"]), proposed["recorded"]) == (2, False)
    assert typed("edits").out == "nothing was edited yet\n"
    assert "add --record" in typed("estimate", *DAY).out
    recorded = typed("estimate", *DAY, "--record", "--by", "ann", "--json").json
    assert recorded["recorded"]
    assert [one["edit_id"] for one in typed("edits", "--json").json] == [one["edit_id"] for one in recorded["edits"]]
    estimated = typed("check", *DAY)
    assert estimated.code == 0
    assert ", estimated: 2.08 % (0.5 h), suspect: 0.00 % (0 h), missing: 0.00 % (0 h)" in estimated.out
    gap = datetime(2026, 6, 30, 10, tzinfo=UTC)
    energies = settled(url, gap, gap + timedelta(minutes=30))
    assert energies == [one["energy_wh"] for one in recorded["edits"]]
    assert all(24_900 < one < 25_200 for one in energies)
    assert typed("estimate", *DAY, "--record").out == "nothing is missing or suspect\n"


def test_an_interval_is_edited_marked_as_unusable_and_put_back(
    typed: Callable[..., Done], url: str, tmp_path: Path
) -> None:
    assert typed("import", written(tmp_path, "start,kWh\n" + quarters([25.0] * 4)), "--meter", "site").code == 0
    at = ("edit", "--at", "2026-07-01T12:15Z", "--reason", "read off the display", "--by", "ann")
    done = typed(*at, "--energy-kwh", "24", "--json").json
    assert (done["energy_wh"], done["duration_s"], done["quality"], done["by"]) == (24_000.0, 900.0, "estimated", "ann")
    assert settled(url, NOON, NOON + timedelta(minutes=45)) == [25_000.0, 24_000.0, 25_000.0]
    assert typed(*at, "--unusable").out.endswith("\nin place of 24.000 kWh\n")
    assert settled(url, NOON, NOON + timedelta(minutes=45)) == [25_000.0, 0.0, 25_000.0]
    assert typed(*at, "--undo").out.endswith("\nin place of nothing that is known\n")
    assert settled(url, NOON, NOON + timedelta(minutes=45)) == [25_000.0, 25_000.0, 25_000.0]
    listed = typed("edits", "--json").json
    assert [(one["method"], one["counts"]) for one in listed] == [
        ("entered", False),
        ("removed", False),
        ("raw", True),
    ]
    text = typed("edits").out.splitlines()
    assert text[0].startswith(
        "-       2026-07-01 12:15:00Z for 15 min: 24.000 kWh, estimated (entered) by ann: read off"
    )
    assert text[2].startswith("counts  2026-07-01 12:15:00Z for 15 min: as the meter said (raw) by ann")


@pytest.mark.usefixtures("own")
def test_an_interval_of_our_own_meter_is_edited_until_the_revenue_meter_speaks(
    typed: Callable[..., Done], url: str, tmp_path: Path
) -> None:
    done = typed("edit", "--at", "2026-07-01T12:05Z", "--energy-kwh", "9", "--reason", "stuck", "--json").json
    assert done["duration_s"] == 300.0
    found = settled(url, NOON, NOON + timedelta(minutes=15))
    # No reading of ours is on record beside the closed intervals: what is not edited is not covered.
    assert found == [0.0, 9_000.0, 0.0]
    assert typed("import", written(tmp_path, "start,kWh\n" + quarters([25.25] * 4)), "--meter", "site").code == 0
    assert settled(url, NOON, NOON + timedelta(minutes=15)) == [25_250.0]
    assert [one["counts"] for one in typed("edits", "--json").json] == [False]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--energy-kwh", "1", "--unusable"), "say one of --energy-kwh, --unusable and --undo"),
        ((), "say one of --energy-kwh, --unusable and --undo"),
        (("--energy-kwh", "inf"), "--energy-kwh inf is no energy"),
        (("--energy-kwh", "1", "--quality", "fine"), "--quality 'fine' is not known: good, suspect, estimated are"),
        (("--energy-kwh", "1", "--at", "2026-07-01T12:07Z"), "it begins at 2026-07-01T12:07:00+00:00, within an"),
        (("--energy-kwh", "1", "--at", "2026-06-01T12:00Z"), "nothing is on record of meter 'site' within a day"),
        (("--energy-kwh", "1", "--at", "2026-07-01 12:00"), "has no UTC offset: say with --timezone"),
        (("--energy-kwh", "1", "--reason", " "), "say who edits (by) and why (reason)"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(
    typed: Callable[..., Done], tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    assert typed("import", written(tmp_path, "start,kWh\n" + quarters([25.0] * 4)), "--meter", "site").code == 0
    done = typed("edit", "--at", "2026-07-01T12:15Z", "--reason", "x", *words)
    assert done.code == 2
    assert says in done.err
    assert not done.err.startswith("gridgate: edit ")
    assert typed("edits", "--json").json == []


@pytest.mark.parametrize("energy_kwh", ["-5", "2500"])
def test_energy_far_beyond_all_that_is_on_record_has_to_be_meant(
    typed: Callable[..., Done], tmp_path: Path, energy_kwh: str
) -> None:
    assert typed("import", written(tmp_path, "start,kWh\n" + quarters([25.0] * 4)), "--meter", "site").code == 0
    at = ("edit", "--at", "2026-07-01T12:15Z", "--reason", "x", "--energy-kwh", energy_kwh)
    done = typed(*at)
    assert done.code == 2
    assert "within a day around it the meter said 100 to 100 kW: where it is meant, say --although-unlikely" in done.err
    assert typed("edits", "--json").json == []
    assert typed(*at, "--although-unlikely").code == 0


@pytest.mark.parametrize("word", ["check", "estimate"])
def test_what_is_yet_to_come_is_no_gap(typed: Callable[..., Done], word: str) -> None:
    done = typed(word, "--from", "2026-07-01T00:00Z", "--to", "2126-07-01T00:00Z", "--timezone", "UTC")
    assert (done.code, "--to 2126-07-01T00:00Z is yet to come: take 2" in done.err) == (2, True)


def test_columns_that_semicolons_separate_are_told(typed: Callable[..., Done], tmp_path: Path) -> None:
    done = typed("import", written(tmp_path, "start;kWh\n2026-07-01T12:00Z;1,5\n"), "--meter", "site")
    assert (done.code, "separated by semicolons" in done.err) == (2, True)
    assert typed("imports", "--json").json == []


def test_checks_need_to_know_where_the_site_is(typed: Callable[..., Done], tmp_path: Path) -> None:
    period = DAY[:4]
    assert "say with --timezone which zone it is in" in typed("check", *period).err
    assert "no rules 'standrad' for meter data: did you mean standard?" in (
        typed("check", *DAY, "--rules", "standrad").err
    )
    config = tmp_path / "gridgate.toml"
    config.write_text(
        f'[gateway]\ndatabase = "sqlite+aiosqlite:///{tmp_path}/gridgate.db"\n[site]\nid = "lab"\n'
        'timezone = "America/Phoenix"\nimport_limit_kw = 120\n'
    )
    found = typed("check", *period, "--config", config, "--json")
    assert (found.code, found.json["interval_s"], found.json["intervals"]) == (1, 300.0, 0)
    assert [one["kind"] for one in found.json["findings"]][:1] == ["gap"]


def test_nothing_to_hand_out_is_said(typed: Callable[..., Done], tmp_path: Path) -> None:
    period = ("--from", "2026-07-01T12:00Z", "--to", "2026-07-01T14:00Z")
    done = typed("export", *period, "--out", tmp_path / "x")
    assert (done.code, (tmp_path / "x").exists()) == (1, False)
    back = typed("export", "--from", "2026-07-01T12:00Z", "--to", "2026-07-01T12:00Z", "--out", tmp_path / "x")
    assert (back.code, "is not after --from" in back.err) == (2, True)


@pytest.mark.usefixtures("own")
def test_a_feed_that_our_own_meter_contradicts_is_taken_on_a_word(typed: Callable[..., Done], tmp_path: Path) -> None:
    file = tmp_path / "feed.xml"
    given = [
        IntervalEnergy(
            starts_at=NOON + timedelta(minutes=15 * index), duration_s=900.0, energy_wh=100_000.0, coverage_fraction=1.0
        )
        for index in range(4)
    ]
    write_meter_file(file, FileFormat.GREEN_BUTTON, given, meter_id="A7")
    asked = ("import", file, "--meter", "site", "--format", "greenbutton")
    assert "which looks like mean power taken for energy" in refused(typed(*asked), typed)
    assert "a Green Button feed says itself what its units are" in refused(typed(*asked, "--unit", "kWh"), typed)
    done = typed(*asked, "--unit", "Wh", "--json")
    assert (done.json["energy_kwh"], done.json["meter_in_file"]) == (400.0, "A7")


def test_a_real_building_is_taken_in(typed: Callable[..., Done], shared: Path, tmp_path: Path) -> None:
    # Two months by the quarter of an hour, with gaps, as local time in California.
    real = (shared / "data" / "load" / "test_kw.csv").read_text()
    pacific = ("--meter", "site", "--timezone", "America/Los_Angeles", "--json")
    said = typed("import", written(tmp_path, real), *pacific)
    assert (said.code, "line 1 is a row, there is no header" in said.err) == (2, True)
    done = typed("import", written(tmp_path, "start,kW\n" + real), *pacific).json
    values = {
        stamp: float(value)
        for stamp, _, value in (line.partition(",") for line in real.splitlines())
        if value.strip().lower() not in {"", "nan"}
    }
    assert done["imported"]["count"] == len(values)
    assert done["energy_kwh"] == pytest.approx(sum(values.values()) / 4)
    assert done["imported"]["starts_at"] == "2013-08-01T07:00:00Z"
    period = ("--from", "2013-08-01T00:00", "--to", "2013-09-01T00:00", "--timezone", "America/Los_Angeles")
    found = typed("check", *period, "--json").json
    assert (found["of_imports"], found["interval_s"]) == (True, 900.0)
    assert found["intervals"] == sum(stamp.startswith("2013-08") for stamp in values)
    gaps = [one for one in found["findings"] if one["kind"] == "gap"]
    assert gaps


def test_a_file_that_is_no_feed_is_refused(typed: Callable[..., Done], tmp_path: Path) -> None:
    file = written(tmp_path, "start,kWh\n" + quarters([25.0] * 4))
    assert "july.csv: " in refused(typed("import", file, "--meter", "site", "--format", "greenbutton"), typed)
    assert "--format 'xml' is not known: csv, greenbutton are" in refused(
        typed("import", file, "--meter", "site", "--format", "xml"), typed
    )
