"""Feeds with local time for UTC: what clocks in New York said, written as seconds since 1970."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from protocols.errors import MalformedMessage
from protocols.greenbutton.codec import decode
from tests.greenbutton_feeds import (
    block,
    feed,
    interval,
    local_time,
    meter,
    one_meter,
    reading,
    reading_type,
    usage_point,
)

NEW_YORK = ZoneInfo("America/New_York")


def wall(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[misc, arg-type]


def test_local_time_becomes_utc() -> None:
    body = one_meter(reading(wall(2024, 1, 15), 1), reading(wall(2024, 7, 15), 2))
    assert [each.starts_at for each in decode(body, local_time=NEW_YORK).energy[0].readings] == [
        datetime(2024, 1, 15, 5, tzinfo=UTC),
        datetime(2024, 7, 15, 4, tzinfo=UTC),
    ]


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    first = wall(2024, 11, 3)
    quarters = [*range(8), *range(4, 12)]
    body = one_meter(*(reading(first + 900 * quarter, index) for index, quarter in enumerate(quarters)))
    with pytest.raises(MalformedMessage, match=r"different readings of 2024-11-03T01:00Z.*local time for UTC"):
        decode(body)
    readings = decode(body, local_time=NEW_YORK).energy[0].readings
    midnight = datetime(2024, 11, 3, 4, tzinfo=UTC)
    assert [each.starts_at for each in readings] == [midnight + timedelta(minutes=15 * n) for n in range(16)]
    assert [each.energy_wh for each in readings] == list(range(16))


def test_an_hour_that_is_left_out_shows_that_the_feed_is_in_utc() -> None:
    body = one_meter(*(reading(wall(2024, 3, 10, hour), hour, duration=3600) for hour in range(4)))
    assert len(decode(body).energy[0].readings) == 4
    with pytest.raises(MalformedMessage, match="2024-03-10 02:00, an hour that America/New_York leaves out"):
        decode(body, local_time=NEW_YORK)


@pytest.mark.parametrize(
    ("starts", "length_s", "offset_s", "remarked"),
    [
        ((wall(2024, 1, 15), wall(2024, 1, 16)), 86_400, -18_000, True),
        ((wall(2024, 1, 15, 5), wall(2024, 1, 16, 5)), 86_400, -18_000, False),
        ((wall(2024, 1, 15), wall(2024, 1, 16)), 43_200, -18_000, False),
        ((wall(2024, 1, 15), wall(2024, 1, 16)), 86_400, 0, False),
        ((), 86_400, -18_000, False),
    ],
)
def test_days_from_midnight_utc_are_remarked_where_local_time_is_another(
    starts: tuple[int, ...], length_s: int, offset_s: int, remarked: bool
) -> None:
    blocks = [block([reading(start, 1)], str(start), interval=interval(start, length_s)) for start in starts]
    body = feed(usage_point(), local_time(offset_s), meter(), reading_type(), *blocks)
    assert any("may have local time for UTC" in remark for remark in decode(body).remarks) is remarked
    assert decode(body, local_time=NEW_YORK).remarks == ()
