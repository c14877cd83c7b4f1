"""The roll of agents: what each last said of itself, and which devices and jobs are whose."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import structlog

from hardware.device import CapResult, DeviceView, Fault, Outcome
from hardware.job import JobResult, JobView
from hardware.wire import Described

log = structlog.get_logger()

Key = TypeVar("Key", int, str, int | str)


def with_device_ids(jobs: Sequence[JobView], devices: Iterable[DeviceView]) -> tuple[JobView, ...]:
    """The jobs, with an id for each device that a scheduler knows as ``host/slot`` and that a host has told of.

    Hosts are the same by their whole name, or else by the part before the first dot. What is not known stays as it is:
    it may be heard of later.
    """
    if not any("/" in device_id for job in jobs for device_id in job.device_ids):
        return tuple(jobs)
    known: dict[str, str] = {}
    for view in devices:
        if view.slot is not None:
            known[f"{view.host_id}/{view.slot}"] = view.device_id
            known.setdefault(f"{view.host_id.partition('.')[0]}/{view.slot}", view.device_id)

    def found(device_id: str) -> str:
        host, slash, slot = device_id.rpartition("/")
        return known.get(device_id) or known.get(f"{host.partition('.')[0]}{slash}{slot}") or device_id

    return tuple(replace(job, device_ids=tuple(map(found, job.device_ids))) for job in jobs)


class Roll(Generic[Key]):
    """Agents by key, as last heard of. What two agents claim stays with the first: none takes another's devices."""

    def __init__(self) -> None:
        self.devices: dict[str, DeviceView] = {}
        self.jobs: dict[str, JobView] = {}
        self.highest_epoch = 0
        self._owner_of_device: dict[str, Key] = {}
        self._owner_of_job: dict[str, Key] = {}
        self._heard: dict[Key, Described] = {}
        self._absent: set[Key] = set()
        self._disputed: set[str] = set()

    @property
    def heard(self) -> Iterable[Key]:
        """The agents that were ever heard of."""
        return self._heard.keys()

    def is_present(self, key: Key) -> bool:
        """Whether the agent was heard of and has not gone."""
        return key in self._heard and key not in self._absent

    @property
    def any_present(self) -> bool:
        """Whether an agent is there."""
        return len(self._heard) > len(self._absent)

    def owner_of_device(self, device_id: str) -> Key | None:
        """The agent that has the device."""
        return self._owner_of_device.get(device_id)

    def owner_of_job(self, job_id: str) -> Key | None:
        """The agent that has the job."""
        return self._owner_of_job.get(job_id)

    def hear(self, key: Key, said: Described) -> None:
        """Take what an agent said in place of what it said before."""
        self._forget_parts(key, but=said)
        self._heard[key] = said
        self._absent.discard(key)
        self.highest_epoch = max(self.highest_epoch, said.highest_epoch)
        for view in said.devices:
            if self._takes(self._owner_of_device, view.device_id, key):
                self.devices[view.device_id] = view
        for job in with_device_ids(said.jobs, self.devices.values()):
            if self._takes(self._owner_of_job, job.job_id, key):
                self.jobs[job.job_id] = job

    def leave(self, key: Key, fault: Fault) -> None:
        """The agent is not there: its devices are absent, as last heard of, until it is heard again."""
        said = self._heard.get(key)
        if said is None:
            return
        self._absent.add(key)
        for view in said.devices:
            if self._owner_of_device.get(view.device_id) == key:
                known = self.devices[view.device_id]
                self.devices[view.device_id] = replace(known, present=False, fault=fault)

    def forget(self, key: Key) -> None:
        """The agent is no part of the fleet any more."""
        self._forget_parts(key)
        self._heard.pop(key, None)
        self._absent.discard(key)

    def note_limit(self, result: CapResult) -> None:
        """What a command's answer says of its device."""
        view = self.devices.get(result.device_id)
        if view is None or self._owner_of_device[result.device_id] in self._absent:
            return
        limit_w = view.limit_w if result.applied_w is None else result.applied_w
        present = result.outcome is not Outcome.LOST and (view.present or result.applied_w is not None)
        if limit_w != view.limit_w or present is not view.present:
            self.devices[result.device_id] = replace(view, limit_w=limit_w, present=present)

    def note_job(self, result: JobResult) -> None:
        """What an action's answer says of its job."""
        job = self.jobs.get(result.job_id)
        if job is not None and result.state is not None and job.state is not result.state:
            self.jobs[result.job_id] = replace(job, state=result.state)

    def _forget_parts(self, key: Key, but: Described | None = None) -> None:
        """Drop the agent's devices and jobs, but for those that it still has: they keep their places."""
        said = self._heard.get(key)
        if said is None:
            return
        kept_devices = {view.device_id for view in but.devices} if but else set()
        kept_jobs = {job.job_id for job in but.jobs} if but else set()
        for view in said.devices:
            if view.device_id not in kept_devices and self._owner_of_device.get(view.device_id) == key:
                del self._owner_of_device[view.device_id], self.devices[view.device_id]
        for job in said.jobs:
            if job.job_id not in kept_jobs and self._owner_of_job.get(job.job_id) == key:
                del self._owner_of_job[job.job_id], self.jobs[job.job_id]

    def _takes(self, owners: dict[str, Key], item_id: str, key: Key) -> bool:
        owner = owners.setdefault(item_id, key)
        if owner == key:
            return True
        if item_id not in self._disputed:
            self._disputed.add(item_id)
            log.warning("claimed_twice", what=item_id, kept_by=str(owner), claimed_by=str(key))
        return False
