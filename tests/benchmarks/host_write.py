"""Prints how long one host takes to cap all its devices: from the commands to the last limit written and read back.

Eight devices behind our own libnvidia-ml.so.1 and the real binding, 4 ms for each call of the library, the journal on a
real disk. Side by side (a lane for each device), which the bound is for, and one device after the other, for the ratio.
Beside them the least that any program takes here and now for the same calls and the same write to disk: what is in its
p95, a busy machine has put there.
"""

import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from hardware.device import CapCommand, Lease, Outcome
from hardware.journal import Journal, replace_file
from hardware.lanes import FanOut, Lanes, Serial
from hardware.limits import LimitKeeper
from hardware.nvml.driver import NvmlDriver
from tests.nvml_library.control import Board, compiled, installed

DEVICES, CALL_S, ROUNDS = 8, 0.004, 100
READ_CALLS, WRITE_CALLS = 2, 3
"""For each device: what was asked and what is in force; then the write, and both again."""

BOUND_MS = 60.0


def timed_ms(board: Board, folder: Path, lanes: FanOut, rounds: int) -> list[float]:
    """Milliseconds of each round; every one writes another cap to every device."""
    journal = Journal(folder / "journal")
    journal.open()
    spent = []
    with NvmlDriver(host_id="bench", lanes=lanes) as driver:
        keeper = LimitKeeper(driver, journal, lanes=lanes)
        for sequence in range(rounds + 1):
            lease = Lease(epoch=1, sequence=sequence, duration_s=60.0)
            cap_w = 200.0 + sequence % 100
            commands = [CapCommand(device_id=key, cap_w=cap_w, lease=lease) for key in board.ids]
            began = time.perf_counter()
            results = keeper.apply(commands, received_s=float(sequence), now_s=float(sequence))
            spent.append((time.perf_counter() - began) * 1000.0)
            assert [(done.outcome, done.applied_w) for done in results] == [(Outcome.APPLIED, cap_w)] * DEVICES
            assert board.limits_w() == [cap_w] * DEVICES
        keeper.restore_all()
        assert board.limits_w() == [400.0] * DEVICES
    journal.close()
    return spent[1:]  # The first one looks for the devices, too.


def least_ms(folder: Path, rounds: int) -> list[float]:
    """Milliseconds of each round of the same waits, side by side, and one file replaced: no driver, no decision."""

    def calls(count: int) -> None:
        for _ in range(count):
            time.sleep(CALL_S)

    spent = []
    with ThreadPoolExecutor(DEVICES) as pool:
        for _ in range(rounds + 1):
            began = time.perf_counter()
            list(pool.map(calls, [READ_CALLS] * DEVICES))
            replace_file(folder / "least", os.urandom(1024))
            list(pool.map(calls, [WRITE_CALLS] * DEVICES))
            spent.append((time.perf_counter() - began) * 1000.0)
    return spent[1:]


def report(name: str, spent_ms: list[float]) -> None:
    print(
        f"{name:>16}: mean {statistics.fmean(spent_ms):.1f} ms, median {statistics.median(spent_ms):.1f},"
        f" p95 {statistics.quantiles(spent_ms, n=20)[-1]:.1f},"
        f" worst {max(spent_ms):.1f} of {len(spent_ms)} rounds"
    )


def main() -> bool:
    with tempfile.TemporaryDirectory(dir=".") as name:  # Not in memory, as a machine's folder for such may be.
        folder = Path(name)
        with installed(compiled(folder), Board(folder / "state", devices=DEVICES)) as board:
            board.state.call_us = round(CALL_S * 1e6)
            lanes = Lanes()
            side_by_side_ms = timed_ms(board, folder / "one", lanes, ROUNDS)
            lanes.close()
            bare_ms = least_ms(folder, ROUNDS)
            serial_ms = timed_ms(board, folder / "two", Serial(), ROUNDS // 5)
    print(f"{DEVICES} devices, {CALL_S * 1000:g} ms for each call of the library, last device written and read back")
    report("side by side", side_by_side_ms)
    report("least possible", bare_ms)
    report("one by one", serial_ms)
    ratio = statistics.fmean(serial_ms) / statistics.fmean(side_by_side_ms)
    p95_ms, bare_p95_ms = (statistics.quantiles(spent, n=20)[-1] for spent in (side_by_side_ms, bare_ms))
    verdict = "kept" if p95_ms < BOUND_MS else "BROKEN"
    print(f"{ratio:.1f} times as fast as one by one; p95 is {p95_ms / bare_p95_ms:.2f} times the least possible")
    print(f"p95 {p95_ms:.1f} ms, bound {BOUND_MS:.0f} ms: {verdict}")
    return p95_ms < BOUND_MS


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    sys.exit(0 if main() else 1)
