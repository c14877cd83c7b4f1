"""The roll of agents: what each last said of itself, and which devices and jobs are whose."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import structlog

from hardware.device import CapRange, CapResult, DeviceView, Fault, Outcome
from hardware.errors import Condition
from hardware.job import JobResult, JobView
from hardware.wire import Described

log = structlog.get_logger()

Key = TypeVar("Key", int, str, int | str)

HIGHEST_BELIEVED = 2**62
"""No gateway gets so far by itself. One broken or hostile host must not use up the epochs of all."""

MOST_DEVICES = 1024
"""Of one host. More is a mistake or an attack."""

MOST_NAME = 200
MOST_W = 1e6
"""Of one device."""


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


def believable(host_id: str, said: Described) -> Described:
    """What an agent said, as far as it can be true: an agent speaks for its own host, which the server vouches for.

    A device whose numbers cannot be is absent, with the reason: nothing is planned with it. Names that cannot be shown
    and devices beyond ``MOST_DEVICES`` are left out.
    """
    if len(said.devices) > MOST_DEVICES:
        log.warning("too_many_devices", host_id=host_id, count=len(said.devices), taken=MOST_DEVICES)
    views = tuple(_believable_view(host_id, view) for view in said.devices[:MOST_DEVICES] if _is_shown(view.device_id))
    return replace(said, devices=views, jobs=tuple(job for job in said.jobs if _is_shown(job.job_id)))


def _believable_view(host_id: str, view: DeviceView) -> DeviceView:
    limits = view.cap_range
    if not 0.0 <= limits.min_w <= limits.default_w <= limits.max_w <= MOST_W or not 0.0 <= view.limit_w <= MOST_W:
        fault = Fault(
            condition=Condition.FAILED,
            detail=f"its agent tells of {limits.min_w:g} to {limits.max_w:g} W, {limits.default_w:g} W by default, and"
            f" a limit of {view.limit_w:g} W, which cannot be",
            cure=f"look at the agent and the driver of host {host_id}; the device is not counted on meanwhile",
        )
        nothing = CapRange(min_w=0.0, default_w=0.0, max_w=0.0)
        return replace(view, host_id=host_id, cap_range=nothing, limit_w=0.0, present=False, fault=fault)
    return view if view.host_id == host_id else replace(view, host_id=host_id)


def _is_shown(name: str) -> bool:
    return 0 < len(name) <= MOST_NAME and name.isprintable()


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
        # Agents that only an earlier gateway has heard of.
        self._recalled: set[Key] = set()
        self._disputed: set[str] = set()
        self._own_epoch: int | None = None
        # Agents of a higher epoch than ours, and whether somebody took them after we had heard of them.
        self._above: dict[Key, tuple[int, bool]] = {}

    @property
    def epoch_to_pass(self) -> int | None:
        """The highest epoch above ours that an agent came with, as from before a backup of ours; ``None`` for none.

        Also ``None`` while another gateway is alive, which shows in epochs that rise under our eyes: whoever began last
        commands, and two never outbid each other in turns.
        """
        if self.taken or not self._above:
            return None
        return max(epoch for epoch, _ in self._above.values())

    @property
    def taken(self) -> dict[Key, int]:
        """Agents that another gateway commands now, with its epoch."""
        return {key: epoch for key, (epoch, is_taken) in self._above.items() if is_taken}

    def begin(self, epoch: int) -> None:
        """From now on we command in this epoch."""
        self._own_epoch = epoch
        self._above = {key: found for key, found in self._above.items() if found[0] > epoch}

    @property
    def known(self) -> Iterable[Key]:
        """The agents that were ever heard of, by us or by a gateway before us."""
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

    def recall(self, key: Key, views: Sequence[DeviceView]) -> None:
        """Begin with an agent's devices as an earlier gateway knew them, all absent, until it is heard."""
        self._recalled.add(key)
        self._absent.add(key)
        self._heard[key] = Described(host_id=str(key), highest_epoch=0, devices=tuple(views))
        for view in views:
            if self._takes(self._owner_of_device, view.device_id, key):
                self.devices[view.device_id] = view

    def hear(self, key: Key, said: Described) -> None:
        """Take what an agent said in place of what it said before."""
        self._forget_parts(key, but=said)
        self._note_epoch(key, said.highest_epoch)
        self._recalled.discard(key)
        self._heard[key] = said
        self._absent.discard(key)
        for view in said.devices:
            if self._takes(self._owner_of_device, view.device_id, key):
                self.devices[view.device_id] = view
        for job in with_device_ids(said.jobs, self.devices.values()):
            if self._takes(self._owner_of_job, job.job_id, key):
                self.jobs[job.job_id] = job

    def _note_epoch(self, key: Key, epoch: int) -> None:
        if epoch > HIGHEST_BELIEVED:
            if key not in self._heard or key in self._recalled:
                log.error(
                    "epoch_not_believed",
                    agent=str(key),
                    epoch=str(epoch)[:40],
                    cure="its journal is damaged or somebody else speaks for it: stop its agent, look at its journal",
                )
            return
        self.highest_epoch = max(self.highest_epoch, epoch)
        if self._own_epoch is None or epoch <= self._own_epoch:
            self._above.pop(key, None)
            return
        before = None if key in self._recalled else self._heard.get(key)
        was_taken = self._above.get(key, (0, False))[1]
        # One that we know and whose epoch rose got it from somebody who is alive.
        is_taken = before is not None and (was_taken or epoch > before.highest_epoch)
        if is_taken and not was_taken:
            log.error("another_gateway_commands", agent=str(key), its_epoch=epoch, our_epoch=self._own_epoch)
        self._above[key] = (epoch, is_taken)

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
        self._recalled.discard(key)
        self._above.pop(key, None)
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
