"""Several job drivers of one host as one, so that none hides the others' jobs; and a host that has nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from hardware.device import DeviceView, Fault, PowerReading
from hardware.errors import Condition, DeviceLost, HardwareError, Unsupported
from hardware.job import JobDriver, JobView, NodeView, SchedulerDriver


class JobDrivers:
    """A ``SchedulerDriver`` over others, by their names. Where two have a job or node of one id, the first counts.

    Of one that is away the jobs stay as last heard of, each with its fault. Where none answers, and none was heard
    yet, the first one's error is raised: that is not the same as a host without jobs.
    """

    def __init__(self, drivers: Mapping[str, JobDriver]) -> None:
        self._drivers = dict(drivers)
        self._jobs: dict[str, tuple[JobView, ...]] = {}
        self._nodes: dict[str, tuple[NodeView, ...]] = {}
        self._away: dict[str, HardwareError] = {}

    def jobs(self) -> tuple[JobView, ...]:
        for name, driver in self._drivers.items():
            try:
                self._jobs[name] = driver.jobs()
                self._away.pop(name, None)
            except HardwareError as cause:
                self._away[name] = cause
        if self._away and not self._jobs:
            raise next(iter(self._away.values()))
        found: dict[str, JobView] = {}
        for name, jobs in self._jobs.items():
            fault = Fault.of(self._away[name]) if name in self._away else None
            for job in jobs:
                found.setdefault(job.job_id, job if fault is None else replace(job, fault=fault))
        return tuple(found.values())

    def nodes(self) -> tuple[NodeView, ...]:
        found: dict[str, NodeView] = {}
        for name, driver in self._drivers.items():
            if not isinstance(driver, SchedulerDriver):
                continue
            fault = None
            try:
                self._nodes[name] = driver.nodes()
            except HardwareError as cause:
                fault = Fault.of(cause)
            for node in self._nodes.get(name, ()):
                found.setdefault(node.node_id, node if fault is None else replace(node, fault=fault))
        return tuple(found.values())

    def pause(self, job_id: str) -> None:
        self._of_job(job_id).pause(job_id)

    def resume(self, job_id: str) -> None:
        self._of_job(job_id).resume(job_id)

    def hold(self, job_id: str) -> None:
        self._scheduler(self._of_job(job_id), job_id).hold(job_id)

    def release(self, job_id: str) -> None:
        self._scheduler(self._of_job(job_id), job_id).release(job_id)

    def requeue(self, job_id: str) -> None:
        self._scheduler(self._of_job(job_id), job_id).requeue(job_id)

    def prioritize(self, job_id: str, priority: int) -> None:
        self._scheduler(self._of_job(job_id), job_id).prioritize(job_id, priority)

    def drain(self, node_id: str, reason: str) -> None:
        self._of_node(node_id).drain(node_id, reason)

    def undrain(self, node_id: str) -> None:
        self._of_node(node_id).undrain(node_id)

    def close(self) -> None:
        """Close those that can be."""
        for driver in self._drivers.values():
            close: Callable[[], None] | None = getattr(driver, "close", None)
            if close is not None:
                close()

    def _of_job(self, job_id: str) -> JobDriver:
        """Whose job it is. Raises ``HardwareError``: of the driver that is away and may have it, or none has it."""
        if any(name not in self._jobs for name in self._drivers):
            self.jobs()
        for name, jobs in self._jobs.items():
            if any(job.job_id == job_id for job in jobs):
                return self._drivers[name]
        gone = Unsupported("no such job here", device_id=job_id, condition=Condition.LOST)
        raise next(iter(self._away.values()), gone)

    def _of_node(self, node_id: str) -> SchedulerDriver:
        away: HardwareError | None = None
        for name, driver in self._drivers.items():
            if not isinstance(driver, SchedulerDriver):
                continue
            try:
                nodes = self._nodes[name] if name in self._nodes else driver.nodes()
            except HardwareError as cause:
                away = cause
                continue
            self._nodes[name] = nodes
            if any(node.node_id == node_id for node in nodes):
                return driver
        raise away or Unsupported("no such node here", device_id=node_id, condition=Condition.LOST)

    def _scheduler(self, driver: JobDriver, job_id: str) -> SchedulerDriver:
        if isinstance(driver, SchedulerDriver):
            return driver
        raise Unsupported("it runs without a queue", device_id=job_id, cure="pause it instead")


class NoDevices:
    """The ``DeviceDriver`` of a host whose agent only has jobs."""

    def devices(self) -> tuple[DeviceView, ...]:
        return ()

    def limit_w(self, device_id: str) -> float:
        raise DeviceLost("this host has no devices", device_id=device_id)

    asked_w = limit_w

    def set_limit_w(self, device_id: str, limit_w: float) -> None:
        raise DeviceLost(f"this host has no devices to cap at {limit_w:g} W", device_id=device_id)

    def readings(self) -> tuple[PowerReading, ...]:
        return ()
