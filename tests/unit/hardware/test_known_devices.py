"""What the next gateway knows of hosts that it cannot reach."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hardware.device import CapRange, DeviceView
from hardware.errors import Condition
from hardware.fleet import AgentFleet
from hardware.known_devices import KnownDevices


def device(device_id: str, host_id: str = "h", most_w: float = 700.0) -> DeviceView:
    cap_range = CapRange(min_w=200.0, default_w=most_w, max_w=most_w)
    return DeviceView(device_id=device_id, host_id=host_id, model="H100", cap_range=cap_range, limit_w=300.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "known.jsonl"


def kept(path: Path) -> KnownDevices:
    made = KnownDevices(path)
    made.open()
    return made


def test_the_next_gateway_knows_what_each_agent_had_and_counts_it_at_its_worst(path):
    known = kept(path)
    known.note("h1", [device("g0"), device("g1", most_w=350.0)])
    known.note(0, [device("x0", "h00"), device("x1", "h01")])
    known.flush()
    found = KnownDevices(path).open()
    assert list(found) == ["h1", 0]
    assert [view.host_id for view in found[0]] == ["h00", "h01"]
    g1 = found["h1"][1]
    assert (g1.device_id, g1.limit_w, g1.cap_range.max_w, g1.present) == ("g1", 350.0, 350.0, False)
    assert g1.fault is not None
    assert g1.fault.condition is Condition.SILENT
    assert "gridgate asset remove h1" in g1.fault.cure


def test_what_was_said_last_holds_and_what_was_let_go_is_not_known(path):
    known = kept(path)
    known.note("h1", [device("g0")])
    known.note("h2", [device("g9")])
    known.flush()
    known.note("h1", [device("g1")])
    known.forget("h2")
    known.flush()
    found = KnownDevices(path).open()
    assert {key: [view.device_id for view in views] for key, views in found.items()} == {"h1": ["g1"]}
    assert path.read_text().count("\n") == 1, "what is over is gone once it was opened anew"


def test_what_has_not_changed_is_not_written(path):
    known = kept(path)
    known.note("h1", [device("g0")])
    known.flush()
    before = path.stat().st_mtime_ns
    known.note("h1", [device("g0")])
    known.flush()
    assert path.stat().st_mtime_ns == before


def test_an_agent_that_changes_for_ever_does_not_fill_the_disk(path, monkeypatch):
    monkeypatch.setattr("hardware.known_devices.MOST_OVER_BYTES", 1000)
    known = kept(path)
    for turn in range(200):
        known.note("h1", [device(f"g{turn}")])
        known.flush()
        assert path.stat().st_size < 1200
    assert [view.device_id for view in KnownDevices(path).open()["h1"]] == ["g199"]


@pytest.mark.parametrize(
    "line",
    [
        '{"host": "h2", "devices": [["g9", "h2", "H100", 200.0, 700.0, 7',
        '{"host": "h2", "devices": [["g9", "h2", "H100", 200.0, 700.0, 100.0]]}',
        '{"host": "h2", "devices": [["g9", "h2", "H100", 200.0, 700.0, Infinity]]}',
        '{"devices": []}',
        "[]",
        "\xff",
    ],
)
def test_a_damaged_line_costs_that_line_alone_and_is_told(path, line):
    known = kept(path)
    known.note("h1", [device("g0")])
    known.flush()
    path.write_bytes(line.encode("latin-1") + b"\n" + path.read_bytes() + line.encode("latin-1"))
    with capture_logs() as lines:
        assert list(KnownDevices(path).open()) == ["h1"]
    assert [(one["event"], one["lines"]) for one in lines] == [("known_devices_damaged", 2)]
    with capture_logs() as lines:
        assert list(KnownDevices(path).open()) == ["h1"]
    assert lines == []


def test_a_file_that_cannot_be_written_is_told_once_and_written_as_soon_as_it_can_be(tmp_path):
    folder = tmp_path / "state"
    known = KnownDevices(folder / "known.jsonl")
    known.open()
    with capture_logs() as lines:
        for name in ("h1", "h2"):
            known.note(name, [device(f"{name}-0")])
            known.flush()
    assert [one["event"] for one in lines] == ["known_devices_not_kept"]
    folder.mkdir()
    known.note("h3", [device("h3-0")])
    known.flush()
    assert list(KnownDevices(folder / "known.jsonl").open()) == ["h1", "h2", "h3"]


async def test_links_and_hosts_that_are_no_part_of_the_fleet_any_more_are_not_known(path):
    known = kept(path)
    known.note(1, [device("g0")])
    known.note("h1", [device("g1")])
    known.flush()
    assert AgentFleet([], None, KnownDevices(path)).devices() == {}
    assert KnownDevices(path).open() == {}
