"""greenbutton-objects, somebody else's reader of Green Button feeds, reads what we write and finds the same figures."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from protocols.greenbutton.codec import encode
from protocols.greenbutton.model import (
    EnergySeries,
    Flow,
    IntervalReading,
    LocalTime,
    PowerReading,
    PowerSeries,
    Quality,
    ReadingType,
    Statistic,
    UsageData,
)
from tests.openadr3_vtn import peer_python

AT = datetime(2025, 10, 31, 7, tzinfo=UTC)
QUARTERS = 4 * 24 * 5
"""Over the end of daylight saving."""
CALIFORNIA = LocalTime(tz_offset_s=-28_800, dst_offset_s=3600, dst_start_rule="360E2000", dst_end_rule="B40E2000")
ODD = {5: Quality.ESTIMATED, 6: Quality.SUSPECT}


def energy(scale: float) -> tuple[IntervalReading, ...]:
    return tuple(
        IntervalReading(
            starts_at=AT + timedelta(minutes=15 * n),
            duration_s=900,
            energy_wh=scale * (n * 7919 % 100_003) / 1000,
            quality=ODD.get(n, Quality.GOOD),
        )
        for n in range(QUARTERS)
    )


DATA = UsageData(
    usage_point_id="hall-1",
    title="Hall <1>",
    energy=(
        EnergySeries(meter_id="in", title="a", type=ReadingType(interval_s=900, power_of_ten=-3), readings=energy(1.0)),
        EnergySeries(
            meter_id="out",
            title="b",
            type=ReadingType(flow=Flow.REVERSE, interval_s=900, power_of_ten=3),
            readings=energy(1e6),
        ),
    ),
    power=(
        PowerSeries(
            meter_id="demand",
            title="c",
            type=ReadingType(interval_s=900),
            statistic=Statistic.AVERAGE,
            readings=(PowerReading(starts_at=AT, duration_s=900, power_w=5e6),),
        ),
    ),
    local_time=CALIFORNIA,
)


def read_by_peer(folder: Path, data: UsageData) -> list[dict[str, Any]]:
    file = folder / "feed.xml"
    file.write_bytes(encode(data))
    done = subprocess.run(
        [peer_python("greenbutton-objects"), "-P", Path(__file__).with_name("greenbutton_objects_reader.py"), file],
        capture_output=True,
        check=True,
        timeout=60,
    )
    said: list[dict[str, Any]] = json.loads(done.stdout)
    return said


def test_another_reader_finds_the_same_figures(tmp_path: Path) -> None:
    (point,) = read_by_peer(tmp_path, DATA)
    assert (point["title"], point["service"]) == ("Hall <1>", "electricity")
    forward, reverse, demand = point["meters"]
    assert [meter["flow"] for meter in point["meters"]] == ["forward", "reverse", "forward"]
    assert [meter["unit"] for meter in point["meters"]] == ["wattHours", "wattHours", "watts"]
    assert [meter["accumulation"] for meter in (forward, reverse)] == ["deltaData", "deltaData"]
    assert [meter["kind"] for meter in point["meters"]] == ["energy", "energy", "power"]
    assert (demand["qualifier"], forward["length_s"]) == ("average", 900)
    # Days of standard time, which begin at 08:00 UTC: an hour, four days, and the rest.
    assert [meter["blocks"] for meter in (forward, reverse)] == [6, 6]
    for meter, series in ((forward, DATA.energy[0]), (reverse, DATA.energy[1])):
        assert [(start, duration) for start, duration, _, _ in meter["readings"]] == [
            (each.starts_at.isoformat(), each.duration_s) for each in series.readings
        ]
        assert [qualities for _, _, _, qualities in meter["readings"][4:8]] == [
            [],
            ["estimatedUsingReferenceDay"],
            ["questionable"],
            [],
        ]
    exact = [value for _, _, value, _ in forward["readings"]]
    assert exact == pytest.approx([each.energy_wh for each in DATA.energy[0].readings], rel=1e-12)
    # Written in kilowatt-hours, so that each is within half of one.
    rounded = [value for _, _, value, _ in reverse["readings"]]
    assert rounded == pytest.approx([each.energy_wh for each in DATA.energy[1].readings], abs=500)
    assert [reading[2] for reading in demand["readings"]] == [5e6]
