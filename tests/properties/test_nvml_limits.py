"""Any sequence of caps, other writers, limiters out of band, faults of the library and deaths of the agent, over NVML.

At every step each limit is in its range and never above what somebody else set; in the end it is what was found.
"""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware.agent import Agent
from hardware.device import CapCommand, Lease, OnExpiry
from hardware.nvml.driver import NvmlDriver
from hardware.wire import Apply, Restore
from tests.nvml_library import control
from tests.nvml_library.control import Board, installed

DEVICES = 3
SET = "nvmlDeviceSetPowerManagementLimit"
READS = ("nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit", "nvmlDeviceGetHandleByUUID")

index = st.integers(0, DEVICES - 1)
# Never the same watts: a limit that another agent sets to just what we wrote cannot be told from ours.
caps_w = st.sampled_from([0.0, 105.0, 155.0, 205.0, 255.0, 1000.0])
others_w = st.sampled_from([260.0, 320.0, 380.0, 400.0])
codes = st.sampled_from([4, 10, 19, 27, 999, 15])

steps = st.lists(
    st.one_of(
        st.tuples(st.just("cap"), index, caps_w, st.sampled_from(list(OnExpiry))),
        st.tuples(st.just("restore"), index),
        st.tuples(st.just("other"), index, others_w),
        st.tuples(st.just("outside"), index, st.sampled_from([0.0, 150.0, 220.0])),
        st.tuples(st.just("fail"), index, st.sampled_from(READS), codes, st.booleans()),
        st.tuples(st.just("fail"), index, st.just(SET), codes, st.booleans()),
        st.tuples(st.just("lose"), index),
        st.tuples(st.just("away")),
        st.tuples(st.just("heal")),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, 12.0])),
        st.tuples(st.just("kill")),
    ),
    max_size=25,
)


class Host:
    def __init__(self, board: Board, folder: Path) -> None:
        self.board = board
        self.journal = folder / "journal"
        self.now_s = 0.0
        self.sequence = 0
        self.others_w = board.limits_w()
        self.start()

    def start(self) -> None:
        self.driver = NvmlDriver(host_id="h")
        self.agent = Agent(host_id="h", devices=self.driver, journal=self.journal, boot_s=lambda: self.now_s)
        self.agent.recover()

    def do(self, what, *given) -> None:
        getattr(self, what)(*given)
        self.check()

    def cap(self, at, cap_w, on_expiry) -> None:
        self.sequence += 1
        lease = Lease(epoch=1, sequence=self.sequence, duration_s=5.0, on_expiry=on_expiry)
        command = CapCommand(device_id=self.board.ids[at], cap_w=cap_w, lease=lease)
        (result,) = self.agent.handle(Apply(commands=(command,))).results
        if result.applied_w is not None:
            assert result.applied_w == self.board.devices[at].enforced_w, "what is said is what is in force"

    def restore(self, at) -> None:
        self.agent.handle(Restore(device_ids=(self.board.ids[at],), epoch=1))

    def other(self, at, limit_w) -> None:
        self.board.devices[at].limit_w = self.others_w[at] = limit_w

    def outside(self, at, limit_w) -> None:
        self.board.devices[at].outside_w = limit_w

    def fail(self, at, function, code, works) -> None:
        self.board.heal()
        self.board.fail(function, code, device=at, works=works and function == SET, probability=0.7)

    def lose(self, at) -> None:
        self.board.devices[at].lost = control.GPU_IS_LOST

    def away(self) -> None:
        self.board.unload_driver()

    def heal(self) -> None:
        self.board.heal()
        self.board.unload_driver(0)
        for device in self.board.devices:
            device.lost = 0

    def wait(self, seconds) -> None:
        self.now_s += seconds
        self.agent.expire()

    def kill(self) -> None:
        self.agent.close()
        self.driver.close()
        self.start()

    def check(self) -> None:
        for device, other_w in zip(self.board.devices, self.others_w, strict=True):
            assert 100.0 <= device.limit_w <= other_w

    def finish(self) -> None:
        self.heal()
        self.agent.recover()
        self.agent.handle(Restore(device_ids=tuple(self.board.ids), epoch=1))
        self.agent.handle(Restore(device_ids=tuple(self.board.ids), epoch=1))
        assert self.board.limits_w() == self.others_w
        self.agent.close()
        self.driver.close()


def run(library: Path, script) -> None:
    with tempfile.TemporaryDirectory() as folder:
        board = Board(Path(folder, "state"), devices=DEVICES)
        with installed(library, board):
            host = Host(board, Path(folder))
            for step in script:
                host.do(*step)
            host.finish()


@given(script=steps)
@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
def test_any_sequence_keeps_within_range_and_ends_as_found(nvml_library, script):
    run(nvml_library, script)


def test_capped_limited_from_outside_lost_and_killed(nvml_library):
    run(
        nvml_library,
        [
            ("cap", 0, 205.0, OnExpiry.RESTORE),
            ("outside", 0, 150.0),
            ("cap", 0, 205.0, OnExpiry.RESTORE),
            ("lose", 0),
            ("kill",),
            ("outside", 0, 0.0),
        ],
    )
