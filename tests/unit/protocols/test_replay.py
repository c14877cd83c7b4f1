from datetime import UTC, datetime, timedelta

import pytest

from protocols.errors import NotAuthentic, OutOfTime, Replayed
from protocols.replay import MemoryNonces, ReplayWindow, Stamp

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


def stamp(nonce: str = "n", *, ahead_s: float = 0.0, signer: str = "AA:BB") -> Stamp:
    return Stamp(signer=signer, signed_at=NOON + timedelta(seconds=ahead_s), nonce=nonce)


async def test_a_stamp_counts_once() -> None:
    window = ReplayWindow(MemoryNonces())
    await window.admit(stamp(), NOON)
    with pytest.raises(Replayed, match=r"nonce 'n' of AA:BB was taken before: .* signed anew"):
        await window.admit(stamp(), NOON + timedelta(seconds=299))
    await window.admit(stamp("other"), NOON)
    await window.admit(stamp(ahead_s=0.001), NOON)
    await window.admit(stamp(signer="CC:DD"), NOON)


@pytest.mark.parametrize("ahead_s", [-5.0, 0.0, 2.0])
async def test_the_window_takes_what_is_just_within(ahead_s: float) -> None:
    await ReplayWindow(MemoryNonces(), past_s=5.0, future_s=2.0).admit(stamp(ahead_s=ahead_s), NOON)


@pytest.mark.parametrize(
    ("ahead_s", "says"),
    [
        (-5.001, r"signed at 2030-01-31T11:59:54.999\+00:00, 5.0 s ago by our clock, of which 5 s are accepted"),
        (-3600.0, "3600.0 s ago .* set the sender's clock or ours right, or have the message signed anew"),
        (2.001, "2.0 s ahead of our clock, of which 2 s are accepted: set the sender's clock or ours right"),
        (3600.0, "3600.0 s ahead of our clock"),
    ],
)
async def test_the_window_is_bounded_both_ways(ahead_s: float, says: str) -> None:
    store = MemoryNonces()
    with pytest.raises(OutOfTime, match=says) as caught:
        await ReplayWindow(store, past_s=5.0, future_s=2.0).admit(stamp(ahead_s=ahead_s), NOON)
    assert caught.value.ahead_s == pytest.approx(ahead_s)
    assert caught.value.signer == "AA:BB"
    assert len(store) == 0


async def test_a_clock_that_is_set_back_opens_no_window() -> None:
    window = ReplayWindow(MemoryNonces(), past_s=300.0, future_s=60.0)
    await window.admit(stamp(), NOON)
    await window.admit(stamp("later", ahead_s=600.0), NOON + timedelta(seconds=600))
    with pytest.raises(Replayed):
        await window.admit(stamp(), NOON + timedelta(seconds=290))


async def test_what_is_over_is_forgotten() -> None:
    store = MemoryNonces()
    window = ReplayWindow(store)
    for second in range(3000):
        await window.admit(stamp(f"n{second}", ahead_s=second), NOON + timedelta(seconds=second))
    assert len(store) == 661


async def test_who_sends_too_much_shuts_out_nobody_else() -> None:
    window = ReplayWindow(MemoryNonces(most_per_signer=2))
    await window.admit(stamp("1"), NOON)
    await window.admit(stamp("2"), NOON)
    with pytest.raises(NotAuthentic, match="2 signed messages of AA:BB within the replay window"):
        await window.admit(stamp("3"), NOON)
    with pytest.raises(Replayed):
        await window.admit(stamp("2"), NOON)
    await window.admit(stamp("3", signer="CC:DD"), NOON)
    later = 700.0
    await window.admit(stamp("4", ahead_s=later), NOON + timedelta(seconds=later))


@pytest.mark.parametrize(("past_s", "future_s"), [(0.0, 60.0), (-1.0, 0.0), (5.0, -0.1), (float("nan"), 1.0)])
def test_a_window_without_room_is_no_window(past_s: float, future_s: float) -> None:
    with pytest.raises(ValueError, match="no room"):
        ReplayWindow(MemoryNonces(), past_s=past_s, future_s=future_s)
