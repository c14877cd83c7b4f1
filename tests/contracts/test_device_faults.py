"""Every fault of a device's driver, over every driver that can have it, under the agent's own limit keeping.

Each ends in a named state on result and view, one line of alarm, and a cure in words; nothing is lost from the journal,
the other devices go on, and once the fault is over everything comes back as it was found.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from hardware.device import CapCommand, DeviceDriver, Lease, Outcome
from hardware.errors import Condition, HardwareError
from hardware.faults import Faults
from hardware.journal import Journal
from hardware.lanes import FanOut, Lanes, Serial
from hardware.limits import LimitKeeper
from hardware.nvml.driver import NvmlDriver
from hardware.simulated import SimulatedFleet
from tests.lab import eventually
from tests.nvml_library import control

FOUND_W = 380.0
SET = "nvmlDeviceSetPowerManagementLimit"
ENFORCED = "nvmlDeviceGetEnforcedPowerLimit"
ASKED = "nvmlDeviceGetPowerManagementLimit"


@dataclass
class Bench:
    """Four devices found at 380 W, the first of which is to break."""

    driver: DeviceDriver
    lanes: FanOut
    limits_w: Callable[[], list[float]]
    breaks: dict[str, Callable[[], object]]
    heal: Callable[[], object]
    journal: Journal = field(init=False)
    keeper: LimitKeeper = field(init=False)
    sequence: int = 0
    now_s: float = 1000.0

    def start(self, path) -> None:
        self.path = path
        self.journal = Journal(path)
        self.journal.open()
        self.keeper = LimitKeeper(self.driver, self.journal, lanes=self.lanes)
        self.ids = [view.device_id for view in self.driver.devices()]

    def cap(self, cap_w):
        self.sequence += 1
        lease = Lease(epoch=1, sequence=self.sequence, duration_s=10.0)
        commands = [CapCommand(device_id=key, cap_w=cap_w, lease=lease) for key in self.ids]
        return self.keeper.apply(commands, received_s=self.now_s, now_s=self.now_s)

    def views(self):
        return self.keeper.shown(self.driver.devices())

    def on_disk(self):
        return json.loads(self.path.read_text())["limits"]


def simulated(request) -> Bench:
    fleet = SimulatedFleet(hosts=1, devices_per_host=4, seed=3, now=lambda: datetime(2026, 7, 1, tzinfo=UTC))
    ids = [view.device_id for view in fleet.devices()]
    fleet.inject(Faults(limits_w=dict.fromkeys(ids, FOUND_W)))
    broken = frozenset(ids[:1])
    return Bench(
        driver=fleet,
        lanes=Serial(),
        limits_w=lambda: [view.limit_w for view in fleet.devices()],
        breaks={
            "permission denied": lambda: fleet.inject(Faults(write_refused=broken)),
            "hung call": lambda: fleet.inject(Faults(hanging=broken)),
            "lost": lambda: fleet.inject(Faults(lost=broken)),
            "half a write": lambda: fleet.inject(Faults(limit_stuck=broken)),
        },
        heal=lambda: fleet.inject(Faults()),
    )


def nvml(request) -> Bench:
    board = request.getfixturevalue("nvml_board")
    for device in board.devices:
        device.limit_w = FOUND_W
    lanes = Lanes(deadline_s=1.5)
    driver = NvmlDriver(host_id="h00", lanes=lanes)

    def heal() -> None:
        board.heal()
        board.unload_driver(0)
        for device in board.devices:
            device.lost = 0
        eventually("no call hangs", lambda: not lanes.hung(), within_s=10.0, every_s=0.01)

    def end() -> None:
        heal()
        driver.close()
        lanes.close()

    request.addfinalizer(end)
    return Bench(
        driver=driver,
        lanes=lanes,
        limits_w=board.limits_w,
        breaks={
            "permission denied": lambda: board.fail(SET, control.NO_PERMISSION, device=0),
            "driver unloaded": board.unload_driver,
            "library mismatch": lambda: board.unload_driver(control.VERSION_MISMATCH),
            "hung call": lambda: board.fail(ENFORCED, 0, device=0, works=True, delay_ms=60_000),
            "hung call before the write": lambda: board.fail(ASKED, 0, device=0, works=True, delay_ms=60_000),
            "hung write": lambda: board.fail(SET, 0, device=0, works=True, delay_ms=60_000),
            "lost": lambda: setattr(board.devices[0], "lost", control.GPU_IS_LOST),
            "lost mid-write": lambda: board.fail(
                SET, control.GPU_IS_LOST, device=0, works=True, then=control.LOSE_DEVICE, times=1
            ),
            "needs a reset": lambda: setattr(board.devices[0], "lost", 16),
            "half a write": lambda: board.fail(SET, 0, device=0),
            "half a write that says it failed": lambda: board.fail(SET, 999, device=0, works=True),
        },
        heal=heal,
    )


WHOLE_HOST = {"driver unloaded", "library mismatch"}

CASES = [
    ("permission denied", Outcome.REFUSED, Condition.NO_PERMISSION),
    ("driver unloaded", Outcome.LOST, Condition.NO_DRIVER),
    ("library mismatch", Outcome.LOST, Condition.VERSION_MISMATCH),
    ("hung call", Outcome.TIMED_OUT, Condition.CALL_HANGS),
    ("hung call before the write", Outcome.TIMED_OUT, Condition.CALL_HANGS),
    ("hung write", Outcome.TIMED_OUT, Condition.CALL_HANGS),
    ("lost", Outcome.LOST, Condition.LOST),
    ("lost mid-write", Outcome.LOST, Condition.LOST),
    ("needs a reset", Outcome.LOST, Condition.NEEDS_RESET),
    ("half a write", Outcome.REFUSED, Condition.NOT_IN_FORCE),
    ("half a write that says it failed", Outcome.REFUSED, Condition.FAILED),
]
OF_SIMULATED = {"permission denied", "hung call", "lost", "half a write"}

EVERY = [
    pytest.param(make, *case, id=f"{make.__name__}: {case[0]}")
    for make in (simulated, nvml)
    for case in CASES
    if make is nvml or case[0] in OF_SIMULATED
]


@pytest.fixture
def bench(request, make, tmp_path):
    made = make(request)
    made.start(tmp_path / "journal")
    yield made
    made.journal.close()


@pytest.mark.parametrize(("make", "kind", "outcome", "condition"), EVERY)
def test_a_fault_is_named_alarmed_once_and_over_when_it_is_over(bench, kind, outcome, condition):
    assert {done.outcome for done in bench.cap(250.0)} == {Outcome.APPLIED}
    others = slice(0, 4) if kind in WHOLE_HOST else slice(0, 1)
    with capture_logs() as logs:
        bench.breaks[kind]()
        first = bench.cap(200.0)
        views = bench.views()
        bench.cap(190.0)
        bench.views()
        try:
            readings = {reading.meter_id for reading in bench.driver.readings()}
        except HardwareError:
            readings = set()
    alarms = [line for line in logs if line["log_level"] in {"warning", "error"}]
    assert len(alarms) == 1, alarms
    for done, view in zip(first[others], views[others], strict=True):
        assert (done.outcome, done.fault.condition) == (outcome, condition)
        assert done.fault.cure
        assert view.fault.condition is condition
        assert view.fault.cure
    well = [] if kind in WHOLE_HOST else first[1:]
    assert [(done.outcome, done.applied_w, done.fault) for done in well] == [(Outcome.APPLIED, 200.0, None)] * len(well)
    assert [view.fault for view in views[1:]] == [None] * 3 or kind in WHOLE_HOST
    assert readings >= {done.device_id for done in well}
    assert {key: found_w for key, (found_w, *_) in bench.on_disk().items()} == dict.fromkeys(bench.ids, FOUND_W)

    bench.heal()
    with capture_logs() as logs:
        assert [(done.outcome, done.applied_w, done.fault) for done in bench.cap(210.0)] == [
            (Outcome.APPLIED, 210.0, None)
        ] * 4
        assert [view.fault for view in bench.views()] == [None] * 4
    assert not [line for line in logs if line["log_level"] in {"warning", "error"}]
    assert {done.outcome for done in bench.keeper.restore_all()} == {Outcome.APPLIED}
    assert bench.limits_w() == [FOUND_W] * 4
    assert bench.on_disk() == {}


@pytest.mark.parametrize(("make", "kind", "outcome", "condition"), EVERY)
def test_a_fault_when_the_lease_ends_delays_only_what_it_touches(bench, kind, outcome, condition):
    bench.cap(250.0)
    bench.breaks[kind]()
    bench.now_s += 10.0
    results = bench.keeper.expire(bench.now_s)
    broken = len(bench.ids) if kind in WHOLE_HOST else 1
    assert [done.fault.condition for done in results[:broken]] == [condition] * broken
    assert [done.outcome for done in results[broken:]] == [Outcome.APPLIED] * (4 - broken)
    assert list(bench.on_disk()) == bench.ids[:broken], "what is not put back is not forgotten"
    bench.heal()
    bench.keeper.expire(bench.now_s)
    assert bench.limits_w() == [FOUND_W] * 4
    assert bench.on_disk() == {}
