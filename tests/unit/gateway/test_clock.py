"""The clocks: virtual time moves only when all who are tended wait; the system's may run faster."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from gateway.clock import SystemClock, VirtualClock

START = datetime(2026, 7, 15, 12, 0, tzinfo=UTC)


async def sleep(clock: VirtualClock, seconds: float) -> None:
    await clock.wait(clock.now() + timedelta(seconds=seconds))


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


async def test_time_stands_still_while_anybody_works() -> None:
    clock = VirtualClock(START)
    working = asyncio.Event()

    async def work() -> datetime:
        await working.wait()
        return clock.now()

    waiting = asyncio.create_task(clock.tend(sleep(clock, 60)))
    worker = asyncio.create_task(clock.tend(work()))
    await asyncio.sleep(0.01)
    assert clock.now() == START
    working.set()
    assert await worker == START
    await waiting
    assert clock.now() == at(60)


async def test_those_who_are_not_tended_do_not_make_time_pass() -> None:
    clock = VirtualClock(START)
    working = asyncio.Event()
    worker = asyncio.create_task(clock.tend(working.wait()))
    onlookers = [asyncio.create_task(sleep(clock, 10)), asyncio.create_task(sleep(clock, 20))]
    await asyncio.sleep(0.01)
    assert clock.now() == START
    working.set()
    await worker
    await asyncio.gather(*onlookers)
    assert clock.now() == at(20)


async def test_a_tended_tasks_own_tasks_wait_for_it() -> None:
    clock = VirtualClock(START)

    async def parent() -> None:
        await asyncio.create_task(sleep(clock, 5))

    await asyncio.gather(clock.tend(parent()), clock.tend(sleep(clock, 7)))
    assert clock.now() == at(7)


async def test_the_same_deadline_wakes_in_the_order_of_waiting() -> None:
    clock = VirtualClock(START)
    woken: list[str] = []

    async def wait(name: str) -> None:
        assert not await clock.wait(at(30))
        woken.append(name)

    await asyncio.gather(*(clock.tend(wait(name)) for name in "abc"))
    assert woken == ["a", "b", "c"]
    assert clock.now() == at(30)


async def test_a_wake_ends_a_wait_and_holds_time() -> None:
    clock = VirtualClock(START)
    wake = asyncio.Event()
    seen: list[tuple[bool, datetime]] = []

    async def sleeper() -> None:
        seen.append((await clock.wait(at(3600), asyncio.Event(), wake), clock.now()))

    async def waker() -> None:
        await clock.wait(at(10))
        wake.set()
        await clock.wait(at(20))

    await asyncio.gather(clock.tend(sleeper()), clock.tend(waker()))
    assert seen == [(True, at(10))]
    assert clock.now() == at(20)


@pytest.mark.parametrize("slowest", "abc")
async def test_tended_work_takes_turns_however_long_its_input_takes(slowest: str) -> None:
    clock, wake, seen = VirtualClock(START), asyncio.Event(), list[str]()

    async def work(name: str) -> None:
        for step in range(3):
            await asyncio.sleep(0.01 if name == slowest else 0)
            seen.append(f"{name}{step}")
            await clock.wait(at(10 * (step + 1)), *([wake] if step == 1 else []))

    async def waker() -> None:
        await clock.wait(at(15))
        wake.set()

    await asyncio.gather(*(clock.tend(work(name)) for name in "abc"), clock.tend(waker()))
    assert seen == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


async def test_who_stands_aside_lets_others_be_woken_and_holds_time() -> None:
    clock, stop, ended = VirtualClock(START), asyncio.Event(), list[datetime]()

    async def service() -> None:
        await clock.wait(at(60), stop)
        ended.append(clock.now())

    services = [asyncio.create_task(clock.tend(service())) for _ in range(2)]

    async def conduct() -> None:
        await clock.wait(at(10))
        stop.set()
        with clock.aside():
            await asyncio.wait(services)

    await clock.tend(conduct())
    assert ended == [at(10), at(10)]


async def test_a_wake_that_is_set_and_an_instant_that_is_past_do_not_wait() -> None:
    clock = VirtualClock(START)
    wake = asyncio.Event()
    wake.set()
    assert await clock.wait(at(60), wake)
    assert not await clock.wait(at(-60))
    assert clock.now() == START


async def test_who_is_cancelled_waits_no_longer() -> None:
    clock = VirtualClock(START)
    task = asyncio.create_task(clock.tend(sleep(clock, 10)))
    work = asyncio.Event()
    busy = asyncio.create_task(clock.tend(work.wait()))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    work.set()
    await busy
    await clock.tend(sleep(clock, 30))
    assert clock.now() == at(30)


def test_a_virtual_clock_starts_at_an_aware_instant() -> None:
    with pytest.raises(ValueError, match="aware"):
        VirtualClock(START.replace(tzinfo=None))


async def test_the_system_clock_waits_as_long_as_it_says_and_runs_as_fast() -> None:
    clock = SystemClock(speed=100.0)
    loop = asyncio.get_running_loop()
    began_s, began = loop.time(), clock.now()
    assert not await clock.wait(began + timedelta(seconds=10))
    assert 0.09 < loop.time() - began_s < 0.5
    assert clock.now() - began >= timedelta(seconds=9.9)


async def test_the_system_clock_is_woken() -> None:
    clock = SystemClock()
    wake = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, wake.set)
    assert await clock.wait(clock.now() + timedelta(seconds=60), wake)
    assert await clock.wait(clock.now() + timedelta(seconds=60), wake)
    assert not await clock.wait(clock.now() - timedelta(seconds=60), asyncio.Event())
    with pytest.raises(ValueError, match="speed"):
        SystemClock(0.0)
