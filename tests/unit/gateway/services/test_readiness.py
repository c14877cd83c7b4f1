"""What is said of each part, and how long a faulty one is left alone."""

import pytest
from structlog.testing import capture_logs

from gateway.services.readiness import Backoff, Readiness


def test_one_line_a_change_and_none_in_between() -> None:
    readiness = Readiness()
    with capture_logs() as lines:
        for _ in range(3):
            readiness.well("meter")
        for reason in ("silent", "silent", "gone"):
            readiness.faulty("meter", reason)
        readiness.well("meter")
    assert [(line["event"], line["part"]) for line in lines] == [
        ("part_well", "meter"),
        ("part_faulty", "meter"),
        ("part_well", "meter"),
    ]


def test_ready_is_when_every_part_that_spoke_up_works() -> None:
    readiness = Readiness()
    assert not readiness.ready
    readiness.well("meter")
    assert readiness.ready
    readiness.faulty("dispatch", "silent")
    assert not readiness.ready
    readiness.faulty("dispatch", "gone")
    assert readiness.parts() == {"meter": None, "dispatch": "gone"}
    readiness.well("dispatch")
    assert readiness.ready


def test_a_part_that_is_counted_on_must_have_spoken() -> None:
    readiness = Readiness()
    readiness.expect("connection utility")
    readiness.well("meter")
    assert not readiness.ready
    with capture_logs() as lines:
        readiness.faulty("connection utility", "nobody answers")
    assert [line["event"] for line in lines] == ["part_faulty"]
    readiness.well("connection utility")
    assert readiness.ready


@pytest.mark.parametrize("first_s", [0.1, 5.0])
def test_delays_double_up_to_the_most_and_start_over(first_s: float) -> None:
    backoff = Backoff(first_s, 60.0)
    delays_s = [backoff.delay_s() for _ in range(12)]
    assert delays_s[:3] == [first_s, 2 * first_s, 4 * first_s]
    assert delays_s[-1] == 60.0
    backoff.well()
    assert backoff.delay_s() == first_s
