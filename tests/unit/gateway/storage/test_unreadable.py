"""What cannot be read is kept as far as it helps anybody, and no further."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import structlog

from gateway.storage.unreadable import KEPT_BYTES, LEAST_BYTES, UnreadableAllowance
from protocols.party_store import Direction, RawMessage

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MIB = 1024 * 1024


def unreadable(size: int = MIB, *, after_s: float = 0.0, connection_id: str = "utility") -> RawMessage:
    body = b"?" * size
    return RawMessage(
        connection_id=connection_id,
        direction=Direction.IN,
        at=NOON + timedelta(seconds=after_s),
        name="",
        body=body,
        sha256=sha256(body).hexdigest(),
    )


def test_a_flood_is_kept_up_to_the_allowance() -> None:
    allowance = UnreadableAllowance()
    assert sum(allowance.keeps(unreadable()) for _ in range(1000)) == KEPT_BYTES // MIB


def test_small_messages_count_with_what_a_row_costs() -> None:
    allowance = UnreadableAllowance()
    assert (
        sum(allowance.keeps(unreadable(1)) for _ in range(KEPT_BYTES // LEAST_BYTES + 100)) == KEPT_BYTES // LEAST_BYTES
    )


def test_what_is_read_or_ours_is_always_kept() -> None:
    allowance = UnreadableAllowance()
    while allowance.keeps(unreadable()):
        pass
    assert allowance.keeps(replace(unreadable(), name="oadrPoll"))
    assert allowance.keeps(replace(unreadable(), direction=Direction.OUT))


def test_a_flood_over_one_connection_takes_nothing_from_another() -> None:
    allowance = UnreadableAllowance()
    while allowance.keeps(unreadable()):
        pass
    assert allowance.keeps(unreadable(connection_id="other"))


def test_the_allowance_comes_back_over_a_day_and_a_clock_that_steps_back_gives_nothing() -> None:
    allowance = UnreadableAllowance()
    while allowance.keeps(unreadable()):
        pass
    assert not allowance.keeps(unreadable(after_s=-86_400.0))
    kept = sum(allowance.keeps(unreadable(after_s=43_200.0)) for _ in range(1000))
    assert kept == KEPT_BYTES // MIB // 2


def test_one_line_says_that_it_begins_and_one_that_it_ends() -> None:
    allowance = UnreadableAllowance()
    with structlog.testing.capture_logs() as lines:
        for _ in range(KEPT_BYTES // MIB + 5):
            allowance.keeps(unreadable())
        allowance.keeps(unreadable(after_s=86_400.0))
    assert [(line["event"], line.get("not_kept")) for line in lines] == [
        ("unreadable_messages_not_kept", None),
        ("unreadable_messages_kept_again", 5),
    ]
