"""Physics of the simulated site: devices that follow their limits, cooling that lags, a site meter.

Everything between two changes is linear and of first order, so time moves in exact steps of any length. All arrays are
by device, in watts and joules; ``t_s`` is seconds since 1970.

    power of a device  -> target_w = what its limit and its load allow, within RESPONSE_S
    load               = power of all devices * (1 + FOLLOWING_FRACTION) + fixed
    cooling            -> COOLING_FRACTION * load, within COOLING_S
    site               = load + cooling
"""

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hardware.errors import HardwareError
from hardware.workloads import CAPS_W, Workload

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Indices: TypeAlias = NDArray[np.intp]

RESPONSE_S = 0.015
"""A new limit is nine tenths reached in 35 ms. GridPilot's 200 Hz telemetry (CC BY 4.0) shows 30 to 40 ms."""

IDLE_W = 58.0
PAUSED_W = 84.0
"""With a process stopped on it a device keeps memory and clocks: 83.8 W in GridPilot's telemetry before the load."""

SPREAD_FRACTION = 0.01
"""Standard deviation of power between devices of one make under the same load."""

FOLLOWING_FRACTION = 0.04
FIXED_W_PER_DEVICE = 8.0
COOLING_FRACTION = 0.15
COOLING_S = 180.0

SENSOR_S = 1.0
"""A device's sensor shows the mean of the last second (NVML, Ampere and later)."""

SENSOR_NOISE_W = 1.0
METER_NOISE_FRACTION = 0.001

LOAD_STEP_S = 10.0
"""Utilisation changes at every whole multiple of this."""

MOST_STEPPED_S = 3600.0
"""Of a longer gap only so much is stepped through; before it the load stood still."""

_LAYOUT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Which job each device works for: an index into ``workloads`` (one entry a job), -1 for an idle device."""

    job_of_device: Indices
    workloads: tuple[Workload, ...]


class SiteState:
    """All that outlives a killed process: limits, pauses, registers. In a mapped file where there is a path.

    A store to mapped memory survives the process, as the limit of a real device does. ``boot_id`` names this life of
    the machine, "" where it has no name: with a new one, limits and pauses are forgotten (``rebooted``).
    """

    def __init__(self, devices: int, jobs: int, path: Path | None, boot_id: str = "") -> None:
        layout = np.dtype(
            [
                ("layout", "f8"), ("devices", "f8"), ("jobs", "f8"), ("boot_id", "S64"),
                ("t_s", "f8"), ("cooling_w", "f8"), ("site_energy_j", "f8"),
                ("metered_at_s", "f8"), ("metered_w", "f8"), ("metered_j", "f8"),
                ("limit_w", "f8", (devices,)), ("obeyed_w", "f8", (devices,)),
                ("power_w", "f8", (devices,)), ("energy_j", "f8", (devices,)),
                ("work_s", "f8", (jobs,)), ("paused", "?", (jobs,)),
            ]
        )  # fmt: skip
        record = np.zeros(1, layout) if path is None else _mapped(path, layout)
        self.fresh = record["layout"][0] == 0.0
        if not self.fresh and (record["layout"][0], record["devices"][0], record["jobs"][0]) != (
            _LAYOUT,
            devices,
            jobs,
        ):
            raise HardwareError(f"{path} holds the state of another simulated fleet: remove it, or name another file")
        self._record = record
        known = bytes(record["boot_id"][0]).decode()
        self.rebooted = bool(not self.fresh and boot_id and known and known != boot_id)
        if boot_id:
            record["boot_id"][0] = boot_id.encode()
        self.limit_w: Floats = record["limit_w"][0]
        self.obeyed_w: Floats = record["obeyed_w"][0]
        self.power_w: Floats = record["power_w"][0]
        self.energy_j: Floats = record["energy_j"][0]
        self.paused: Flags = record["paused"][0]
        self.work_s: Floats = record["work_s"][0]

    def complete(self, devices: int, jobs: int) -> None:
        """Say that a fresh state has been filled in."""
        self["devices"], self["jobs"], self["layout"] = devices, jobs, _LAYOUT
        self.fresh = False

    def __getitem__(self, name: str) -> float:
        return float(self._record[name][0])

    def __setitem__(self, name: str, value: float) -> None:
        self._record[name][0] = value


def _mapped(path: Path, layout: np.dtype[np.void]) -> NDArray[np.void]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.stat().st_size == 0:
            path.write_bytes(bytes(layout.itemsize))
        if path.stat().st_size != layout.itemsize:
            raise HardwareError(f"{path} holds the state of another simulated fleet: remove it, or name another file")
        return np.asarray(np.memmap(path, dtype=layout, mode="r+", shape=(1,)))
    except OSError as cause:
        raise HardwareError(f"the simulated fleet's state {path} cannot be used: {cause}") from cause


@dataclass(slots=True)
class _Stretch:
    """From ``t_s`` on, power went from ``power_w`` towards ``target_w``; ``energy_j`` is the register at ``t_s``."""

    t_s: float
    power_w: Floats
    target_w: Floats
    energy_j: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Possible:
    """What is possible at one instant: a row a job, a column a cap, after one for the job's pause.

    ``power_w`` is a whole job's, ``throughput`` a device's mean. ``rest_w`` is what all other devices draw and
    ``overhead_w`` what the site draws besides; FOLLOWING_FRACTION and cooling come on top.
    """

    power_w: Floats
    throughput: Floats
    rest_w: float
    overhead_w: float


class SitePhysics:
    """The devices and the site in time."""

    def __init__(self, *, placement: Placement, state: SiteState, seed: int, t_s: float, default_w: float) -> None:
        self._seed = seed
        self._state = state
        self._job = placement.job_of_device
        self._busy = self._job >= 0
        jobs = placement.workloads
        self._power_table = np.array([workload.power_w for workload in jobs])
        self._throughput_table = np.array([workload.throughput for workload in jobs])
        self._swing = np.array([workload.swing_fraction for workload in jobs])
        self._period_s = np.array([workload.period_s for workload in jobs])
        self._burst = np.array([workload.burst_fraction for workload in jobs])
        self._burst_s = np.array([workload.burst_s for workload in jobs])
        self._devices_of_job = np.maximum(1, np.bincount(self._job[self._busy], minlength=len(jobs)))
        dice = np.random.default_rng((seed, 0))
        self._phase = dice.uniform(0.0, 2.0 * math.pi, len(jobs))
        self._burst_from_s = np.random.default_rng((seed, 3)).uniform(0.0, self._burst_s)
        self._loads: tuple[float, Floats] = (math.nan, np.ones(len(jobs)))
        self._spread = 1.0 + SPREAD_FRACTION * dice.standard_normal(len(self._job)).clip(-2.5, 2.5)
        self._fixed_w = FIXED_W_PER_DEVICE * len(self._job)
        self._lost = np.zeros(len(self._job), dtype=np.bool_)
        self._power_stuck = np.zeros(len(self._job), dtype=np.bool_)
        self.throughput: Floats = np.ones(len(jobs))
        self._stale = True
        self._aimed_at = (state.limit_w.copy(), state.paused.copy())
        self._target_w: Floats = state.power_w.copy()
        if state.fresh:
            self._begin(t_s, default_w, len(jobs))
        elif state.rebooted:
            state.limit_w[:], state.obeyed_w[:], state.paused[:] = default_w, default_w, False
        self._stretches: deque[_Stretch] = deque([self._stretch()])

    def changed(self) -> None:
        """Say that limits or pauses changed: what devices draw is worked out anew from now on."""
        self._stale = True

    def break_down(self, *, lost: Flags, power_stuck: Flags) -> None:
        """Let these faults hold from now on. Power that is stuck stays under the limit of this moment."""
        self._obey()
        self._lost, self._power_stuck = lost, power_stuck
        self._stale = True

    def advance(self, t_s: float) -> None:
        """Let time pass up to ``t_s``. A clock set back stands still here."""
        state = self._state
        limit_w, paused = self._aimed_at
        if not (np.array_equal(limit_w, state.limit_w) and np.array_equal(paused, state.paused)):
            # Another process set them.
            self._stale = True
        tick_s = float(math.floor(t_s))
        for stop_s in (tick_s - 1.0, tick_s):
            if state["t_s"] < stop_s:
                self._step_to(stop_s)
                self._meter(stop_s)
        self._step_to(t_s)

    def sensed_w(self) -> Floats:
        """What the devices' sensors show: the mean of the last second, with noise that is new ten times a second."""
        t_s = self._state["t_s"]
        mean_w = (self._state.energy_j - self._energy_at(t_s - SENSOR_S)) / SENSOR_S
        dice = np.random.default_rng((self._seed, 1, math.floor(t_s * 10.0)))
        return np.maximum(0.0, mean_w + SENSOR_NOISE_W * dice.standard_normal(len(mean_w)))

    def metered(self) -> tuple[float, float, float]:
        """The site meter's last reading: instant, mean watts of the second before it, and register in joules."""
        return self._state["metered_at_s"], self._state["metered_w"], self._state["metered_j"]

    def drawn_j(self) -> float:
        """The energy of all devices with a job, a running register."""
        return float(self._state.energy_j[self._busy].sum())

    def branch_j(self) -> Floats:
        """By device, what it and its share of its host have drawn, a running register: all but the cooling."""
        return self._state.energy_j * (1.0 + FOLLOWING_FRACTION) + FIXED_W_PER_DEVICE * self._state["t_s"]

    def site_j(self) -> float:
        """The energy of the whole site, a running register."""
        return self._state["site_energy_j"]

    def possible(self) -> "Possible":
        """What each job could draw and do under each cap with the load of now, for a judge who knows the optimum."""
        load = self._load()[:, np.newaxis]
        wanted_w = IDLE_W + load * (self._power_table[:, -1:] - IDLE_W)
        table_w = np.hstack([np.full_like(load, PAUSED_W), np.minimum(self._power_table, wanted_w)])
        speed = np.hstack([np.zeros_like(load), np.minimum(1.0, self._throughput_table / load)])
        here = self._busy & ~self._lost
        jobs, here_of = len(load), self._job[here]
        share = np.bincount(here_of, minlength=jobs) / self._devices_of_job
        spread = np.bincount(here_of, weights=self._spread[here], minlength=jobs)
        return Possible(
            power_w=table_w * spread[:, np.newaxis],
            throughput=speed * share[:, np.newaxis],
            rest_w=IDLE_W * float(self._spread[~here].sum()),
            overhead_w=self._fixed_w,
        )

    def site_w(self) -> float:
        """What the site truly draws now."""
        return self._load_w(float(self._state.power_w.sum())) + self._state["cooling_w"]

    def _begin(self, t_s: float, default_w: float, jobs: int) -> None:
        """A site that has run for long: nothing is still on its way."""
        state = self._state
        state.limit_w[:] = default_w
        state.obeyed_w[:] = default_w
        state["t_s"] = t_s
        self._aim()
        state.power_w[:] = self._target_w
        state["cooling_w"] = COOLING_FRACTION * self._load_w(float(state.power_w.sum()))
        state["metered_at_s"], state["metered_w"] = float(math.floor(t_s)), self.site_w()
        state["site_energy_j"] = self.site_w() * (t_s - state["metered_at_s"])
        state.complete(len(self._job), jobs)

    def _step_to(self, stop_s: float) -> None:
        t_s = self._state["t_s"]
        if stop_s - t_s > MOST_STEPPED_S:
            t_s = stop_s - MOST_STEPPED_S
            self._run_to(t_s)
            self._stale = True
        while t_s < stop_s:
            change_s = (math.floor(t_s / LOAD_STEP_S) + 1.0) * LOAD_STEP_S
            t_s = min(change_s, stop_s)
            self._run_to(t_s)
            self._stale = self._stale or t_s == change_s

    def _run_to(self, t_s: float) -> None:
        """One exact step under targets that stand still."""
        state = self._state
        if self._stale:
            self._aim()
        dt_s = t_s - state["t_s"]
        self._stretches.append(self._stretch())
        while len(self._stretches) > 1 and self._stretches[1].t_s <= t_s - SENSOR_S:
            self._stretches.popleft()
        self._run_site(dt_s)
        fade = math.exp(-dt_s / RESPONSE_S)
        excess_w = state.power_w - self._target_w
        state.energy_j += self._target_w * dt_s + excess_w * (RESPONSE_S * (1.0 - fade))
        state.power_w[:] = self._target_w + excess_w * fade
        state.work_s += self.throughput * dt_s
        state["t_s"] = t_s

    def _run_site(self, dt_s: float) -> None:
        """Cooling and the site's register over one step: load falls with RESPONSE_S, cooling follows with COOLING_S."""
        state = self._state
        end_w = self._load_w(float(self._target_w.sum()))
        excess_w = self._load_w(float(state.power_w.sum())) - end_w
        fast, slow = math.exp(-dt_s / RESPONSE_S), math.exp(-dt_s / COOLING_S)
        steady_w = COOLING_FRACTION * end_w
        driven_w = COOLING_FRACTION * excess_w * RESPONSE_S / (RESPONSE_S - COOLING_S)
        free_w = state["cooling_w"] - steady_w - driven_w
        state["site_energy_j"] += (
            (end_w + steady_w) * dt_s
            + (excess_w + driven_w) * RESPONSE_S * (1.0 - fast)
            + free_w * COOLING_S * (1.0 - slow)
        )
        state["cooling_w"] = steady_w + driven_w * fast + free_w * slow

    def _meter(self, at_s: float) -> None:
        """Latch the site meter at a whole second."""
        state = self._state
        energy_j = state["site_energy_j"]
        mean_w = energy_j - state["metered_j"] if state["metered_at_s"] == at_s - 1.0 else self.site_w()
        dice = np.random.default_rng((self._seed, 2, int(at_s)))
        state["metered_w"] = mean_w * (1.0 + METER_NOISE_FRACTION * float(dice.standard_normal()))
        state["metered_at_s"], state["metered_j"] = at_s, energy_j

    def _aim(self) -> None:
        """Work out what each device will draw and how fast each job goes, under the present limits and load."""
        self._obey()
        state, job, busy = self._state, self._job, self._busy
        np.copyto(self._aimed_at[0], state.limit_w)
        np.copyto(self._aimed_at[1], state.paused)
        load = self._load()
        limits_w = state.obeyed_w
        caps_w = np.asarray(CAPS_W)
        low = np.clip(np.searchsorted(caps_w, limits_w, side="right") - 1, 0, len(caps_w) - 2)
        part = (limits_w - caps_w[low]) / (caps_w[low + 1] - caps_w[low])
        capped_w = self._power_table[job, low] * (1.0 - part) + self._power_table[job, low + 1] * part
        wanted_w = IDLE_W + load[job] * (self._power_table[job, -1] - IDLE_W)
        target_w = np.minimum(capped_w, wanted_w)
        target_w[state.paused[job]] = PAUSED_W
        self._target_w = np.where(busy & ~self._lost, target_w, IDLE_W) * self._spread
        speed = self._throughput_table[job, low] * (1.0 - part) + self._throughput_table[job, low + 1] * part
        speed = np.minimum(1.0, speed / load[job])
        speed[state.paused[job] | self._lost] = 0.0
        sums = np.bincount(job[busy], weights=speed[busy], minlength=len(load))
        self.throughput = sums / self._devices_of_job
        self._stale = False

    def _load(self) -> Floats:
        """How far the work of each job fills its devices: that of the last change, whenever limits change."""
        since_s = math.floor(self._state["t_s"] / LOAD_STEP_S) * LOAD_STEP_S
        if self._loads[0] != since_s:
            swing = self._swing * 0.5 * (1.0 + np.sin(2.0 * math.pi * since_s / self._period_s + self._phase))
            self._loads = since_s, (1.0 - swing) * (1.0 - self._burst * self._lulls(since_s))
        return self._loads[1]

    def _lulls(self, since_s: float) -> Floats:
        """The depth of each job's lull, 0 to 1: none for half of the stretches, which begin at a time of each job's."""
        lulls = np.zeros(len(self._burst))
        for job in np.flatnonzero(self._burst > 0.0).tolist():
            stretch = math.floor((since_s + self._burst_from_s[job]) / self._burst_s[job])
            full, depth = np.random.default_rng((self._seed, 4, job, stretch)).uniform(size=2).tolist()
            lulls[job] = 0.0 if full < 0.5 else depth
        return lulls

    def _obey(self) -> None:
        np.copyto(self._state.obeyed_w, self._state.limit_w, where=~self._power_stuck)

    def _stretch(self) -> _Stretch:
        state = self._state
        return _Stretch(state["t_s"], state.power_w.copy(), self._target_w, state.energy_j.copy())

    def _energy_at(self, t_s: float) -> Floats:
        """The devices' registers at an instant of the last second."""
        stretch = self._stretches[0]
        for later in self._stretches:
            if later.t_s > t_s:
                break
            stretch = later
        since_s = t_s - stretch.t_s
        if since_s <= 0.0:
            return stretch.energy_j + stretch.power_w * since_s
        fade = math.exp(-since_s / RESPONSE_S)
        settling_j = (stretch.power_w - stretch.target_w) * (RESPONSE_S * (1.0 - fade))
        return stretch.energy_j + stretch.target_w * since_s + settling_j

    def _load_w(self, devices_w: float) -> float:
        return devices_w * (1.0 + FOLLOWING_FRACTION) + self._fixed_w
