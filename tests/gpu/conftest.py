"""Without a GPU all of these are skipped for one reason, said once. Nothing is asked where they were not selected."""

import pytest

from hardware.errors import DriverLost
from hardware.nvml.driver import NvmlDriver


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    chosen = [item for item in items if item.get_closest_marker("gpu")]
    why = missing() if chosen else None
    if why is not None:
        for item in chosen:
            item.add_marker(pytest.mark.skip(reason=f"no NVIDIA GPU at hand: {why}"))


def missing() -> str | None:
    """Why there is no GPU, ``None`` where there is one."""
    try:
        with NvmlDriver(host_id="probe") as driver:
            return None if driver.devices() else "the driver is there and finds none"
    except DriverLost as lost:
        return str(lost)
