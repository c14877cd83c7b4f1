"""What the agent costs its host: memory and processor time of keeper and worker, eight GPUs read and capped at 1 Hz.

    python tests/benchmarks/agent_footprint.py [SECONDS]

Real processes over our own libnvidia-ml.so.1. Memory is RSS and PSS (shared pages counted in part) of
/proc/PID/smaps_rollup at the end, processor time is utime + stime of /proc/PID/stat over the measured seconds.
"""

import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from hardware.device import CapCommand, Lease
from tests.agent_host import Host, ended
from tests.nvml_library.control import STATE_VARIABLE, Board, compiled

DEVICES = 8
LEASE_S = 15.0


class Eight(Host):
    """A host of eight GPUs."""

    def __init__(self, folder: Path, library: Path) -> None:
        super().__init__(folder, library)
        self.board = Board(folder / "eight", devices=DEVICES, manual=False)
        self.environment[STATE_VARIABLE] = str(self.board.path)


def memory_mb(process_id: int) -> tuple[float, float]:
    """RSS and PSS."""
    text = Path(f"/proc/{process_id}/smaps_rollup").read_text()
    rss, pss = (int(re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)[1]) / 1024.0 for name in ("Rss", "Pss"))
    return rss, pss


def processor_s(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main(for_s: float) -> None:
    with tempfile.TemporaryDirectory(prefix="gg-") as name:
        folder = Path(name)
        host = Eight(folder, compiled(folder))
        began_s = time.perf_counter()
        keeper = await host.start()
        print(f"start to first answer: {time.perf_counter() - began_s:.2f} s (polled every 0.02 s)")
        processes = {"keeper": keeper.pid, "worker": host.workers()[-1]}
        before_s = {part: processor_s(process_id) for part, process_id in processes.items()}
        latency_ms = []
        began_s = time.perf_counter()
        step = 0
        while time.perf_counter() - began_s < for_s:
            step += 1
            # Down and up again, so that caps, journal and read-back all have work.
            lease = Lease(epoch=1, sequence=step, duration_s=LEASE_S)
            caps = [CapCommand(device_id=key, cap_w=250.0 + step % 2, lease=lease) for key in host.board.ids]
            asked_s = time.perf_counter()
            await host.fleet.apply(caps)
            latency_ms.append((time.perf_counter() - asked_s) * 1000.0)
            await host.fleet.read()
            await asyncio.sleep(max(0.0, began_s + step - time.perf_counter()))
        lasted_s = time.perf_counter() - began_s
        for part, process_id in processes.items():
            rss_mb, pss_mb = memory_mb(process_id)
            share = (processor_s(process_id) - before_s[part]) / lasted_s
            print(f"{part}: RSS {rss_mb:.0f} MB, PSS {pss_mb:.0f} MB, {100.0 * share:.1f} % of one processor")
        print(
            f"{DEVICES} caps changed, journaled, written and read back: median {statistics.median(latency_ms):.1f} ms"
        )
        await host.fleet.close()
        keeper.terminate()
        assert await ended(keeper) == 0


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0))
