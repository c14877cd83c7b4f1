from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.measurement import Slice
from gateway.domain.response import BaselineSpan, Response, response

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
MINUTE = Slice(starts_at=NOON, duration_s=60.0)


def span(from_s: float, to_s: float, power_w: float, *, preliminary: bool = True) -> BaselineSpan:
    return BaselineSpan(
        starts_at=NOON + timedelta(seconds=from_s),
        ends_at=NOON + timedelta(seconds=to_s),
        power_w=power_w,
        preliminary=preliminary,
    )


@pytest.mark.parametrize(
    ("power_w", "spans", "expected"),
    [
        (70.0, [], (70.0, 0.0, False)),
        (70.0, [span(-60, 120, 100.0)], (100.0, 30.0, True)),
        (130.0, [span(0, 60, 100.0, preliminary=False)], (100.0, -30.0, False)),
        (70.0, [span(30, 90, 100.0)], (85.0, 15.0, True)),
        (70.0, [span(0, 30, 100.0, preliminary=False), span(30, 60, 90.0)], (95.0, 25.0, True)),
        (70.0, [span(60, 120, 100.0)], (70.0, 0.0, False)),
        (None, [span(0, 60, 100.0)], (100.0, None, True)),
        (None, [span(0, 30, 100.0)], (None, None, False)),
        (None, [], (None, None, False)),
    ],
)
def test_outside_of_events_the_site_draws_what_it_would_have(
    power_w: float | None, spans: list[BaselineSpan], expected: tuple[float | None, float | None, bool]
) -> None:
    baseline_w, reduction_w, preliminary = expected
    found = response(MINUTE, power_w, spans)
    assert found == Response(baseline_w=baseline_w, reduction_w=reduction_w, preliminary=preliminary)
