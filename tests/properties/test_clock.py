"""Virtual time: everybody wakes at the instant asked for, in order, however the waits are mixed."""

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.clock import VirtualClock, sleep

START = datetime(2026, 7, 15, 12, 0, tzinfo=UTC)

delays_s = st.lists(st.integers(min_value=0, max_value=50), max_size=6)


@given(st.lists(delays_s, min_size=1, max_size=5))
@example([[1], [1, 1]])
def test_each_task_wakes_exactly_when_it_asked_to(tasks: list[list[int]]) -> None:
    clock = VirtualClock(START)
    woken: list[datetime] = []

    async def work(delays: list[int]) -> None:
        for delay_s in delays:
            asked = clock.now() + timedelta(seconds=delay_s)
            await sleep(clock, delay_s)
            assert clock.now() == asked
            woken.append(asked)

    async def play() -> None:
        await asyncio.gather(*(asyncio.create_task(clock.tend(work(delays))) for delays in tasks))

    asyncio.run(play())
    assert woken == sorted(woken)
    assert clock.now() == START + timedelta(seconds=max(sum(delays) for delays in tasks))
