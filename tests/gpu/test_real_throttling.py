"""A cap on a GPU that really works: watts and products a second before it, under it and after it."""

import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hardware.nvml.driver import NvmlDriver
from tests.gpu.matrix_product import NO_CUDA
from tests.gpu.test_real_gpu import sampled, say

pytestmark = pytest.mark.gpu

WARM_UP_S = 20.0
SETTLED_S = 5.0
LOOK_S = 5.0
SHARE = 0.7


class Work:
    """A running matrix product, and its rate of late."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.rates: list[float] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            done, seconds = line.split()
            self.rates.append(int(done) / float(seconds))

    def rate(self) -> float:
        """Products a second, of the last seconds."""
        return statistics.mean(self.rates[-3:])


@contextmanager
def working(device_id: str) -> Iterator[Work]:
    """A matrix product on this GPU; skips where there is none to be had."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("matrix_product.py"))],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": device_id},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        work = Work(process)
        deadline = time.monotonic() + WARM_UP_S
        while len(work.rates) < 3 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        if process.poll() == NO_CUDA:
            assert process.stderr is not None
            pytest.skip(process.stderr.read().strip())
        assert len(work.rates) >= 3, "the matrix product did not begin"
        yield work
    finally:
        process.kill()
        process.communicate()


def test_a_matrix_product_is_slowed_to_the_cap_and_goes_on_as_before_after_it() -> None:
    if os.environ.get("GRIDGATE_GPU_WRITE") != "1":
        pytest.skip("changes no limit unless GRIDGATE_GPU_WRITE=1")
    with NvmlDriver(host_id=platform.node()) as driver:
        view = driver.devices()[0]
        found_w = driver.asked_w(view.device_id)

        def look(what: str) -> tuple[float, float]:
            power_w = statistics.mean(one.power_w for one in sampled(driver, LOOK_S)[view.device_id])
            why = driver.limiting(view.device_id)
            say(f"{view.model}, {what}: {power_w:.1f} W, {work.rate():.2f} products a second; held down by {why}")
            return power_w, work.rate()

        with working(view.device_id) as work:
            before_w, before = look(f"under the {found_w:g} W found")
            lower_w = max(view.cap_range.min_w, round(SHARE * before_w))
            try:
                driver.set_limit_w(view.device_id, lower_w)
                time.sleep(SETTLED_S)
                under_w, under = look(f"under {lower_w:g} W")
            finally:
                driver.set_limit_w(view.device_id, found_w)
            time.sleep(SETTLED_S)
            after_w, after = look(f"under the {found_w:g} W again")
    if lower_w < before_w:
        assert under_w <= lower_w * 1.05
        assert under < before
    assert after_w == pytest.approx(before_w, rel=0.1)
    assert after == pytest.approx(before, rel=0.1)
