"""The table of payload types is whole, and the code does what it says."""

from pathlib import Path

import pytest

from protocols.grid import SignalKind
from protocols.grid_report import ReportQuantity
from protocols.openadr3 import model
from protocols.openadr3.names import REPORT_PAYLOAD_TYPES, Version
from protocols.openadr3.neutral_event import read_event
from protocols.openadr3.neutral_writing import write_event
from protocols.openadr3.payload_table import EVENT_PAYLOADS, REPORT_PAYLOADS, EventPayload, ReportPayload
from protocols.openadr3.report_kinds import quantity_of
from tests.openadr3_definition import read_yaml
from tests.unit.protocols.openadr3.objects import NOON, event, in_units, values


def test_every_published_type_has_its_row(published: Path) -> None:
    folder = published / "3.1.1" / "enumerations"
    said = read_yaml(folder / "event-interval-payloads.schema.yaml")["definitions"]
    assert {row.payload_type for row in EVENT_PAYLOADS} == set(said)
    said = read_yaml(folder / "report-payloads.schema.yaml")["definitions"]
    assert {row.payload_type for row in REPORT_PAYLOADS} == set(said) == REPORT_PAYLOAD_TYPES


def read(payload: model.ValuesMap, units: str | None) -> tuple[SignalKind, float, str, tuple[tuple[float, float], ...]]:
    found = read_event(
        event(payload, payload_descriptors=in_units(payload.type, units)),
        connection_id="c",
        version=Version.V3_1,
        received_at=NOON,
    )
    assert found is not None
    (signal,) = found.signals
    (interval,) = signal.intervals
    return signal.kind, interval.value, interval.text, interval.points


@pytest.mark.parametrize("row", EVENT_PAYLOADS, ids=lambda row: f"{row.payload_type}-{row.units}")
def test_an_events_type_is_of_the_kind_that_its_row_says(row: EventPayload) -> None:
    kind, _, text, points = read(values(row.payload_type, 1), row.units)
    assert (kind, text, points) == (row.kind, "", ())
    assert row.site
    if row.units is None:
        assert read(values(row.payload_type, 1), "KW")[0] is row.kind


@pytest.mark.parametrize("row", REPORT_PAYLOADS, ids=lambda row: row.payload_type)
def test_a_reports_type_is_of_the_quantity_that_its_row_says(row: ReportPayload) -> None:
    assert quantity_of(row.payload_type, "KW") == row.quantity
    assert row.site


def test_every_quantity_can_be_reported() -> None:
    assert {row.quantity for row in REPORT_PAYLOADS} == {*ReportQuantity, None}


def test_words_and_points_are_carried_beside_the_value() -> None:
    alert = values("ALERT_FIRE", "leave", "now")
    assert read(alert, None) == (SignalKind.OTHER, 1.0, "leave now", ())
    curve = values("CURVE", model.Point(x=0.9, y=44.0), model.Point(x=1.1, y=-44.0))
    assert read(curve, None) == (SignalKind.OTHER, 1.0, "", ((0.9, 44.0), (1.1, -44.0)))
    long = read(values("ALERT_OTHER", "x" * 5000), None)[2]
    assert len(long) == 2000
    assert long.endswith("…")


@pytest.mark.parametrize(
    "payload",
    [values("ALERT_FIRE", "leave now"), values("CURVE", model.Point(x=0.9, y=44.0), model.Point(x=1.1, y=0.0))],
)
def test_words_and_points_go_out_again_as_they_came(payload: model.ValuesMap) -> None:
    said = event(payload)
    found = read_event(said, connection_id="c", version=Version.V3_1, received_at=NOON)
    assert found is not None
    again = write_event(found, program_id="program-1", modified_at=NOON, version=Version.V3_1)
    assert again.intervals[0].payloads == (payload,)


def test_the_readme_has_a_row_for_each_of_them() -> None:
    readme = (Path(__file__).parents[4] / "README.md").read_text()
    rows = [line for line in readme.splitlines() if line.startswith("| ")]
    for payload in EVENT_PAYLOADS:
        assert any(payload.payload_type in row and payload.site in row for row in rows), payload.payload_type
    for report in REPORT_PAYLOADS:
        assert any(report.payload_type in row and report.site in row for row in rows), report.payload_type
