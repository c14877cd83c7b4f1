"""A simulated site: hosts full of devices, the jobs on them, cooling, and a site meter. Seeded; no test double.

The same seed, times and calls give the same numbers. Without a path the site lives and dies with the object; with one,
limits, pauses and registers outlive a killed process, and limits and pauses end with the machine's life, as those of
real devices do.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import structlog

from hardware.device import DeviceView, Fault, PowerReading
from hardware.errors import CallHangs, Condition, DeviceLost, HardwareError, MeterSilent, Unsupported, WriteRefused
from hardware.faults import Faults, FaultsFile
from hardware.job import JobState, JobView, PauseMethod
from hardware.job_terms import MIN_THROUGHPUT
from hardware.physics import Flags, Floats, Placement, Possible, SitePhysics, SiteState
from hardware.workloads import CAP_RANGE, DEVICE_MODEL, SIGNAL_PAUSE_S, WORKLOADS, SimulatedJob, job_mix

log = structlog.get_logger()

SITE_METER_ID = "site"

RESOLUTION = timedelta(milliseconds=1)
"""Calls closer together than this are at the same time: a driver's many small calls need one step of physics."""


class SimulatedFleet:
    """A ``DeviceDriver`` and a ``JobDriver`` over ``hosts * devices_per_host`` devices, ``h00-d0`` and so on.

    ``now`` gives the time; nothing happens but at a call, which first lets the time that has passed pass. ``jobs`` are
    placed on the devices in order, the rest stays idle; without them there is a seeded mix. ``first_host`` numbers the
    hosts from there on, so that two fleets may stand side by side; ``site_meter_id`` may be ``None`` for a fleet
    without a site meter. ``boot_id`` names this life of the machine where it is known. Faults are set by ``inject`` or,
    with a path, by a JSON file beside it (``faults_path``).
    """

    def __init__(
        self,
        *,
        hosts: int,
        devices_per_host: int,
        seed: int,
        now: Callable[[], datetime],
        state_path: Path | None = None,
        jobs: Sequence[SimulatedJob] | None = None,
        site_meter_id: str | None = SITE_METER_ID,
        first_host: int = 0,
        boot_id: str = "",
        time_passes: bool = True,
    ) -> None:
        self._now = now
        self._time_passes = time_passes
        self._site_meter_id = site_meter_id
        self._host_ids = tuple(f"h{first_host + host:02d}" for host in range(hosts) for _ in range(devices_per_host))
        self._ids = tuple(f"{host_id}-d{index % devices_per_host}" for index, host_id in enumerate(self._host_ids))
        self._index = {device_id: index for index, device_id in enumerate(self._ids)}
        prefix = f"h{first_host:02d}-" if first_host else ""
        self._jobs = tuple(job_mix(len(self._ids), seed, prefix) if jobs is None else jobs)
        self._job_index = {job.job_id: index for index, job in enumerate(self._jobs)}
        placement = _placed(self._jobs, len(self._ids))
        self._devices_of_job = tuple(
            tuple(self._ids[device] for device in np.flatnonzero(placement.job_of_device == index).tolist())
            for index in range(len(self._jobs))
        )
        self._state = SiteState(len(self._ids), len(self._jobs), state_path, boot_id)
        self._physics = SitePhysics(
            placement=placement,
            state=self._state,
            seed=seed,
            t_s=now().timestamp(),
            default_w=CAP_RANGE.default_w,
        )
        self._faults = Faults()
        self._out: frozenset[str] = frozenset()
        """Devices that answer no call."""
        self._slots = tuple(index % devices_per_host for index in range(len(self._ids)))
        self._troubles: dict[str, Fault] = {}
        self._file = None if state_path is None else FaultsFile(faults_path(state_path))
        self._next_step_at = datetime.min.replace(tzinfo=UTC)
        self._catch_up()

    def devices(self) -> tuple[DeviceView, ...]:
        self._catch_up()
        lost = self._faults.lost
        return tuple(
            DeviceView(
                device_id=device_id,
                host_id=host_id,
                model=DEVICE_MODEL,
                cap_range=CAP_RANGE,
                limit_w=limit_w,
                present=device_id not in lost,
                slot=slot,
                fault=self._troubles.get(device_id),
            )
            for device_id, host_id, slot, limit_w in zip(
                self._ids, self._host_ids, self._slots, self._state.limit_w.tolist(), strict=True
            )
        )

    def limit_w(self, device_id: str) -> float:
        self._catch_up()
        # Spelled out: a control step reads every limit twice.
        index = self._index.get(device_id)
        return self._state.limit_w.item(self._present(device_id) if self._out or index is None else index)

    asked_w = limit_w

    def set_limit_w(self, device_id: str, limit_w: float) -> None:
        self._catch_up()
        index = self._present(device_id)
        if device_id in self._faults.write_refused:
            refused = WriteRefused(
                "no permission (simulated)",
                device_id=device_id,
                condition=Condition.NO_PERMISSION,
                cure="take the fault back",
            )
            self._is_wrong(device_id, refused)
            raise refused
        if not CAP_RANGE.min_w <= limit_w <= CAP_RANGE.max_w:
            raise WriteRefused(
                f"{limit_w} W is not from {CAP_RANGE.min_w:g} to {CAP_RANGE.max_w:g} W", device_id=device_id
            )
        if device_id not in self._faults.limit_stuck:
            self._state.limit_w[index] = limit_w
            self._physics.changed()
        if self._troubles:
            self._is_well(device_id)

    def readings(self) -> tuple[PowerReading, ...]:
        self._catch_up()
        at = datetime.fromtimestamp(self._state["t_s"], UTC)
        out = self._out | self._faults.silent_meters
        readings = [
            PowerReading(meter_id=device_id, power_w=power_w, measured_at=at, energy_j=energy_j)
            for device_id, power_w, energy_j in zip(
                self._ids, self._physics.sensed_w().tolist(), self._state.energy_j.tolist(), strict=True
            )
            if device_id not in out
        ]
        if self._site_meter_id is not None and self._site_meter_id not in out:
            readings.append(self.metered())
        if not readings:
            raise MeterSilent("no meter of the simulated site answers")
        return tuple(readings)

    def jobs(self) -> tuple[JobView, ...]:
        self._catch_up()
        throughput, paused = self._physics.throughput.tolist(), self._state.paused.tolist()
        worked_s = self._state.work_s.tolist()
        return tuple(
            JobView(
                job_id=job.job_id,
                device_ids=device_ids,
                tier=job.tier,
                weight=job.weight,
                min_throughput=MIN_THROUGHPUT[job.tier],
                curve=WORKLOADS[job.workload].curve(),
                max_pause_s=job.max_pause_s,
                # Nobody waits longer than that for a stopped rank: a longer pause is of a job that wrote a checkpoint.
                method=PauseMethod.CHECKPOINT if job.max_pause_s > SIGNAL_PAUSE_S else PauseMethod.SIGNAL,
                state=JobState.PAUSED if paused[index] else JobState.RUNNING,
                throughput=throughput[index],
                progress=worked_s[index],
                deadline_at=job.deadline_at,
                remaining_s=None if job.work_s is None else max(0.0, job.work_s - worked_s[index]),
            )
            for index, (job, device_ids) in enumerate(zip(self._jobs, self._devices_of_job, strict=True))
        )

    def pause(self, job_id: str) -> None:
        self._set_paused(job_id, paused=True)

    def resume(self, job_id: str) -> None:
        self._set_paused(job_id, paused=False)

    def inject(self, faults: Faults) -> None:
        """Let these faults be all that is wrong from now on; ``Faults()`` heals everything."""
        self._catch_up()
        self._take(faults)

    def work_s(self) -> Mapping[str, float]:
        """A running register of each job's work, in seconds of uncapped running; never falls."""
        self._catch_up()
        return dict(zip(self._job_index, self._state.work_s.tolist(), strict=True))

    def drawn_j(self) -> float:
        """A running register of the energy of all devices that a job was placed on, in joules."""
        self._catch_up()
        return self._physics.drawn_j()

    def branch_j(self) -> Floats:
        """What the supply of each device has drawn, in the order of ``devices``: a running register, in joules.

        A device's supply is the device and its share of its host; cooling is the site's alone.
        """
        self._catch_up()
        return self._physics.branch_j()

    def site_j(self) -> float:
        """What the site has drawn, before any meter: a running register, in joules."""
        self._catch_up()
        return self._physics.site_j()

    def possible(self) -> Possible:
        """What the jobs could draw and do under each cap, as nobody but a judge can know."""
        self._catch_up()
        return self._physics.possible()

    def site_w(self) -> float:
        """What the site truly draws now, before any meter."""
        self._catch_up()
        return self._physics.site_w()

    def metered(self) -> PowerReading:
        """What the site meter has latched, whether it answers or is silent."""
        self._catch_up()
        at_s, power_w, energy_j = self._physics.metered()
        return PowerReading(
            meter_id=self._site_meter_id or SITE_METER_ID,
            power_w=power_w,
            measured_at=datetime.fromtimestamp(at_s, UTC),
            energy_j=energy_j,
        )

    def _catch_up(self) -> None:
        now = self._now()
        if now < self._next_step_at:
            return
        self._next_step_at = now + RESOLUTION
        if self._time_passes:
            self._physics.advance(now.timestamp())
        faults = None if self._file is None else self._file.changed()
        if faults is not None and self._time_passes:
            self._take(faults)
        elif faults is not None:
            self._note(faults)

    def _take(self, faults: Faults) -> None:
        self._physics.break_down(lost=self._flags(faults.lost), power_stuck=self._flags(faults.power_stuck))
        for device_id, limit_w in faults.limits_w.items():
            if device_id in self._index and math.isfinite(limit_w):
                self._state.limit_w[self._index[device_id]] = limit_w
        self._note(faults)
        self._physics.changed()
        for device_id in sorted(self._index.keys() & self._out):
            self._is_wrong(device_id, self._absent(device_id))
        for device_id in [key for key, fault in self._troubles.items() if self._is_over(key, fault)]:
            self._is_well(device_id)

    def _note(self, faults: Faults) -> None:
        self._faults, self._out = faults, faults.lost | faults.hanging

    def _is_over(self, device_id: str, fault: Fault) -> bool:
        """Whether a trouble has ended, as far as that can be seen without a call on the device."""
        if fault.condition is Condition.NO_PERMISSION:
            return False
        return device_id not in self._out

    def _absent(self, device_id: str) -> HardwareError:
        if device_id in self._faults.lost:
            return DeviceLost("it has gone from the bus", device_id=device_id, cure="take the fault back")
        return CallHangs("a call does not come back (simulated)", device_id=device_id, cure="take the fault back")

    def _is_wrong(self, device_id: str, error: HardwareError) -> None:
        fault = Fault.of(error)
        if self._troubles.get(device_id) != fault:
            log.warning("simulated_trouble", device_id=device_id, detail=fault.detail)
        self._troubles[device_id] = fault

    def _is_well(self, device_id: str) -> None:
        if self._troubles.pop(device_id, None) is not None:
            log.info("simulated_trouble_over", device_id=device_id)

    def _flags(self, device_ids: Collection[str]) -> Flags:
        return np.array([device_id in device_ids for device_id in self._ids])

    def _set_paused(self, job_id: str, *, paused: bool) -> None:
        self._catch_up()
        index = self._job_index.get(job_id)
        if index is None:
            raise Unsupported("no such job", device_id=job_id)
        self._state.paused[index] = paused
        self._physics.changed()

    def _present(self, device_id: str) -> int:
        index = self._index.get(device_id)
        if index is None:
            raise DeviceLost("no such device", device_id=device_id)
        if self._out and device_id in self._out:
            raise self._absent(device_id)
        return index


def faults_path(state_path: Path) -> Path:
    """Where the faults of a fleet with this state are read from."""
    return state_path.with_name(state_path.name + ".faults.json")


def _placed(jobs: Sequence[SimulatedJob], devices: int) -> Placement:
    if not jobs or devices < sum(job.devices for job in jobs) or any(job.devices < 1 for job in jobs):
        raise ValueError("a simulated fleet needs a job, and a device for each that its jobs ask for")
    job_of_device = np.full(devices, -1, dtype=np.intp)
    start = 0
    for index, job in enumerate(jobs):
        job_of_device[start : start + job.devices] = index
        start += job.devices
    workloads = tuple(
        replace(WORKLOADS[job.workload], burst_fraction=job.burst_fraction, burst_s=job.burst_s) for job in jobs
    )
    return Placement(job_of_device=job_of_device, workloads=workloads)
