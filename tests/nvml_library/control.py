"""The devices behind our own libnvidia-ml.so.1: building the library, and breaking, moving and reading the devices.

The layout is that of state.h. The figures of the physics are those of the simulated fleet, written into the file here.
"""

import ctypes
import fcntl
import mmap
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pynvml

from hardware.physics import IDLE_W, RESPONSE_S, SENSOR_S
from hardware.workloads import CAPS_W, WORKLOADS

SOURCES = Path(__file__).parent
STATE_VARIABLE = "GRIDGATE_NVML_STATE"
WORKLOAD = WORKLOADS["finetune-8b"]

MOST_DEVICES, MOST_RULES, MOST_ANCHORS, MOST_POINTS, TEXT, NAME = 16, 32, 32, 8, 96, 64

GPU_AVERAGE, GPU_INSTANT, MODULE_AVERAGE, MODULE_INSTANT = 1, 2, 4, 8
POWER_USAGE, ENERGY, REASONS, LIMIT, SET, MIG = 16, 32, 64, 128, 256, 512
USUAL = GPU_AVERAGE | GPU_INSTANT | POWER_USAGE | ENERGY | REASONS | LIMIT | SET | MIG

LOSE_DEVICE, KILL_PROCESS = 1, 2

NO_PERMISSION, DRIVER_NOT_LOADED, GPU_IS_LOST, VERSION_MISMATCH = 4, 9, 15, 18


class Anchor(ctypes.Structure):
    _fields_ = (
        ("at_us", ctypes.c_int64),
        ("from_w", ctypes.c_double),
        ("to_w", ctypes.c_double),
        ("energy_j", ctypes.c_double),
    )


class Point(ctypes.Structure):
    _fields_ = (("cap_w", ctypes.c_double), ("power_w", ctypes.c_double))


class Device(ctypes.Structure):
    """One device. What a test sets by hand is said in state.h."""

    _fields_ = (
        ("uuid", ctypes.c_char * TEXT),
        ("name", ctypes.c_char * TEXT),
        ("min_milliwatts", ctypes.c_uint32),
        ("max_milliwatts", ctypes.c_uint32),
        ("default_milliwatts", ctypes.c_uint32),
        ("limit_milliwatts", ctypes.c_uint32),
        ("outside_milliwatts", ctypes.c_uint32),
        ("lost", ctypes.c_uint32),
        ("handles", ctypes.c_uint32),
        ("abilities", ctypes.c_uint32),
        ("field_errors", ctypes.c_uint32 * 4),
        ("mig", ctypes.c_uint32),
        ("busy", ctypes.c_uint32),
        ("writes", ctypes.c_uint32),
        ("anchors_made", ctypes.c_uint32),
        ("reset_energy", ctypes.c_uint32),
        ("other_reasons", ctypes.c_uint64),
        ("load_fraction", ctypes.c_double),
        ("module_extra_w", ctypes.c_double),
        ("energy_base_j", ctypes.c_double),
        ("anchors", Anchor * MOST_ANCHORS),
    )

    @property
    def device_id(self) -> str:
        return self.uuid.decode()

    @property
    def limit_w(self) -> float:
        """The limit that was asked for last, by whoever asked."""
        return self.limit_milliwatts / 1000.0

    @limit_w.setter
    def limit_w(self, limit_w: float) -> None:
        """What another agent's write does."""
        self.limit_milliwatts = round(limit_w * 1000.0)

    @property
    def outside_w(self) -> float:
        return self.outside_milliwatts / 1000.0

    @outside_w.setter
    def outside_w(self, limit_w: float) -> None:
        """A limiter out of band, such as a BMC; 0 takes it away."""
        self.outside_milliwatts = round(limit_w * 1000.0)

    @property
    def enforced_w(self) -> float:
        return min(self.limit_w, self.outside_w) if self.outside_milliwatts else self.limit_w

    def reset(self) -> None:
        """What a reset of the device does: default limit, a new energy counter, older handles stale; no longer lost."""
        self.limit_milliwatts = self.default_milliwatts
        self.reset_energy = 1
        self.handles += 1
        self.lost = 0


class Rule(ctypes.Structure):
    """A fault: which calls, how often, and what they do. ``taken_back`` ends it, and lets a hanging call go."""

    _fields_ = (
        ("function", ctypes.c_char * NAME),
        ("active", ctypes.c_int32),
        ("device", ctypes.c_int32),
        ("code", ctypes.c_uint32),
        ("skip_calls", ctypes.c_uint32),
        ("times", ctypes.c_uint32),
        ("effect", ctypes.c_uint32),
        ("then", ctypes.c_uint32),
        ("delay_ms", ctypes.c_uint32),
        ("probability", ctypes.c_double),
        ("seed", ctypes.c_uint64),
        ("calls", ctypes.c_uint32),
        ("fired", ctypes.c_uint32),
    )

    def taken_back(self) -> None:
        self.active = 0


class State(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32),
        ("devices", ctypes.c_uint32),
        ("manual", ctypes.c_uint32),
        ("driver", ctypes.c_uint32),
        ("loads", ctypes.c_uint32),
        ("inits", ctypes.c_uint32),
        ("shutdowns", ctypes.c_uint32),
        ("sensor_ms", ctypes.c_uint32),
        ("points_used", ctypes.c_uint32),
        ("call_us", ctypes.c_uint32),
        ("now_us", ctypes.c_int64),
        ("idle_w", ctypes.c_double),
        ("response_s", ctypes.c_double),
        ("window_s", ctypes.c_double),
        ("points", Point * MOST_POINTS),
        ("order", ctypes.c_uint32 * MOST_DEVICES),
        ("rules", Rule * MOST_RULES),
        ("device", Device * MOST_DEVICES),
    )


class Board:
    """The devices of one simulated host, in ``path``. ``manual``: their time is ``pass_s``'s, not the wall's.

    Every device is busy but the last, and takes 100 to 400 W, as those of the simulated fleet do.
    """

    def __init__(self, path: Path, *, devices: int = 4, manual: bool = True) -> None:
        self.path = path
        path.write_bytes(bytes(ctypes.sizeof(State)))
        with path.open("r+b") as file:
            self.state = State.from_buffer(mmap.mmap(file.fileno(), 0))
        state = self.state
        state.size, state.devices, state.manual = ctypes.sizeof(State), devices, int(manual)
        state.now_us = 1_782_864_000_000_000
        state.idle_w, state.response_s, state.window_s = IDLE_W, RESPONSE_S, SENSOR_S
        for index, (cap_w, power_w) in enumerate(zip(CAPS_W, WORKLOAD.power_w, strict=True)):
            state.points[index] = Point(cap_w, power_w)
        state.points_used = len(CAPS_W)
        for index in range(devices):
            state.order[index] = index
            device = state.device[index]
            device.uuid = f"GPU-{index:08x}-0000-4000-8000-000000000000".encode()
            device.name = b"simulated accelerator, 400 W"
            device.min_milliwatts, device.max_milliwatts = 100_000, 400_000
            device.default_milliwatts = device.limit_milliwatts = 400_000
            device.abilities = USUAL
            device.busy, device.load_fraction = int(index < devices - 1), 1.0

    @property
    def devices(self) -> list[Device]:
        return [self.state.device[index] for index in range(self.state.devices)]

    @property
    def ids(self) -> list[str]:
        return [device.device_id for device in self.devices]

    def limits_w(self) -> list[float]:
        return [device.limit_w for device in self.devices]

    def pass_s(self, seconds: float) -> None:
        if self.state.manual:
            self.state.now_us += round(seconds * 1e6)
        else:
            time.sleep(seconds)

    def named(self, device_id: str) -> Device:
        return next(device for device in self.devices if device.device_id == device_id)

    def fail(
        self,
        function: str,
        code: int,
        *,
        device: int = -1,
        skip_calls: int = 0,
        times: int = 0,
        works: bool = False,
        then: int = 0,
        delay_ms: int = 0,
        probability: float = 1.0,
        seed: int = 1,
    ) -> Rule:
        """Let calls of ``function`` (of one device, or -1 for any) return ``code`` from now on.

        The first ``skip_calls`` go well, then ``times`` of them (0: all) fail with a ``probability``. With ``works``
        a call does its work all the same. ``then`` loses the device or kills the calling process; the call takes
        ``delay_ms``. Code 0 without ``works`` is a call that says it did what it did not.
        """
        rule = next(rule for rule in self.state.rules if not rule.active)
        rule.function, rule.device, rule.code = function.encode(), device, code
        rule.skip_calls, rule.times, rule.effect, rule.then = skip_calls, times, int(works), then
        rule.delay_ms, rule.probability, rule.seed = delay_ms, probability, seed * 0x9E3779B97F4A7C15 % 2**64
        rule.calls = rule.fired = 0
        rule.active = 1
        return rule

    def heal(self) -> None:
        """Take back every rule; what they did stays done."""
        for rule in self.state.rules:
            rule.taken_back()

    def unload_driver(self, code: int = DRIVER_NOT_LOADED) -> None:
        self.state.driver = code

    def load_driver(self) -> None:
        """A driver that was loaded anew keeps no limit and no energy, and knows no earlier session."""
        with self._locked():
            for device in self.devices:
                device.reset()
            self.state.loads += 1
            self.state.driver = 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.path.open("rb") as file:  # Closing it lets go of the lock.
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def compiled(folder: Path, *, old_driver: bool = False) -> Path:
    """Build the library in ``folder`` under the name that the binding asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "libnvidia-ml.so.1"
    subprocess.run(
        [
            "cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-Wl,-soname,libnvidia-ml.so.1",
            *(["-DOLD_DRIVER"] if old_driver else []),
            "-o", str(made), str(SOURCES / "nvml.c"), str(SOURCES / "physics.c"), "-lm",
        ],
        check=True,
    )  # fmt: skip
    return made


@contextmanager
def installed(library: Path, board: Board) -> Iterator[Board]:
    """Let the real binding in this process use this library over this board, and leave no trace of it afterwards.

    The binding keeps the library and its functions in module globals; they are ours for as long as this lasts.
    """
    before = pynvml.nvmlLib, pynvml._nvmlGetFunctionPointer_cache, os.environ.get(STATE_VARIABLE)
    loaded = ctypes.CDLL(str(library))
    assert loaded.gridgate_state_size() == ctypes.sizeof(State), "control.py and state.h differ"
    pynvml.nvmlLib, pynvml._nvmlGetFunctionPointer_cache = loaded, {}
    os.environ[STATE_VARIABLE] = str(board.path)
    try:
        yield board
    finally:
        board.heal()
        deadline_s = time.monotonic() + 5.0
        while loaded.gridgate_calls_inside() and time.monotonic() < deadline_s:
            time.sleep(0.002)  # A call that hung is on its way back.
        while loaded.nvmlShutdown() == 0:
            pass
        pynvml.nvmlLib, pynvml._nvmlGetFunctionPointer_cache, variable = before
        os.environ.pop(STATE_VARIABLE)
        if variable is not None:
            os.environ[STATE_VARIABLE] = variable
