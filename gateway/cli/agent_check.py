"""``gridgate agent --check``: what the agent of this host would find, may do, and would put back. Changes nothing.

Devices and jobs are read, the journal is read without taking it, and nothing is ever written to see whether it would
be permitted: that is told from the process's capabilities. It may run beside a running agent.
"""

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.cli.agent_found import AgentCheck, Check, CheckedDevice, CheckedJob
from gateway.cli.agent_start import about_start, checked_journal
from gateway.cli.discovery import apart, within
from gateway.config import NvmlSettings, Settings
from gateway.domain.assets import fault_of
from hardware.device import Fault
from hardware.errors import CURES, HardwareError

DRIVER_S = 10.0
"""So long all that is asked of devices and jobs may take."""

KILL = 5
SYS_ADMIN = 21
"""Capabilities by their numbers (capabilities(7)): to signal others' processes, and what the NVIDIA driver asks for."""

STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What one look at the drivers and the journal found."""

    devices: tuple[CheckedDevice, ...] = ()
    jobs: tuple[CheckedJob, ...] = ()
    rehearsal: Any = None
    checks: tuple[Check, ...] = ()


async def check_agent(settings: Settings, *, driver_s: float = DRIVER_S) -> AgentCheck:
    """Look at everything once."""
    from gateway.attach import agent_paths, look_into_journal

    paths = agent_paths(settings)
    checks = [_folder(settings.gateway.state_dir)]
    state = None
    try:
        state = look_into_journal(paths["journal"])
    except HardwareError as cause:
        checks.append(_failed("journal", cause))
    try:
        looked = await within(driver_s, lambda: _look(settings, state), "the driver of the devices")
    except HardwareError as cause:
        looked = _Looked(checks=(_failed("devices", cause),))
    journal = checked_journal(paths["journal"], state, looked.rehearsal)
    checks += [*looked.checks, *_permission(settings), *_about_devices(looked.devices)]
    checks += _certificate(settings, datetime.now(UTC))
    checks += [*about_start(journal), await _running(paths["socket"])]
    return AgentCheck(
        well=all(one.well for one in checks),
        host=socket.gethostname(),
        checks=tuple(checks),
        devices=looked.devices,
        jobs=looked.jobs,
        journal=journal,
    )


def effective_capabilities(status: Path = STATUS) -> int:
    """The capabilities that this process has now, a bit each; 0 where the system does not tell."""
    try:
        text = status.read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in text.splitlines() if line.startswith("CapEff:")), 0)


def _look(settings: Settings, state: Any) -> _Looked:
    """Read devices and jobs, and rehearse a start. Blocking; raises ``HardwareError`` where there is no driver."""
    from gateway.attach import looked_at, rehearse_start

    checks: list[Check] = []
    with looked_at(settings) as (devices, jobs):
        seen, unreadable = _seen_gpus(settings)
        checks += unreadable
        views = devices.devices()
        found = []
        for view in views:
            fault = fault_of(view)
            asked_w = limit_w = None
            try:
                asked_w, limit_w = devices.asked_w(view.device_id), devices.limit_w(view.device_id)
            except HardwareError as cause:
                fault = fault or Fault.of(cause)
            gpu = seen.get(view.device_id)
            found.append(
                CheckedDevice(
                    device_id=view.device_id,
                    model=view.model,
                    present=view.present,
                    min_w=view.cap_range.min_w,
                    default_w=view.cap_range.default_w,
                    max_w=view.cap_range.max_w,
                    asked_w=asked_w,
                    limit_w=limit_w,
                    persistence=None if gpu is None else gpu.persistence,
                    mig=None if gpu is None else gpu.mig,
                    fault=fault,
                )
            )
        listed: tuple[CheckedJob, ...] = ()
        if jobs is not None:
            try:
                listed = tuple(
                    CheckedJob(
                        job_id=job.job_id,
                        state=str(job.state),
                        tier=job.tier,
                        min_throughput=job.min_throughput,
                        max_pause_s=job.max_pause_s,
                        method=str(job.method),
                        devices=len(job.device_ids),
                    )
                    for job in jobs.jobs()
                )
                checks.append(Check(part="jobs", well=True, says=f"{len(listed)} seen"))
            except HardwareError as cause:
                checks.append(_failed("jobs", cause))
        rehearsal = None if state is None else rehearse_start(settings, state, devices, jobs)
    return _Looked(devices=tuple(found), jobs=listed, rehearsal=rehearsal, checks=tuple(checks))


def _seen_gpus(settings: Settings) -> tuple[Mapping[str, Any], list[Check]]:
    """What NVML says of each GPU beside its limits, and whether some cannot be read; nothing for other devices."""
    from gateway.attach import survey_nvidia

    if not _has_nvidia(settings):
        return {}, []
    found = survey_nvidia()
    checks = []
    if found.unreadable:
        says = f"{found.unreadable} of {found.unreadable + len(found.gpus)} cannot be read"
        cure = "look for Xid messages in the kernel log (dmesg), reset the GPU, or restart the host"
        checks.append(Check(part="GPUs", well=False, says=says, cure=cure))
    return {gpu.device_id: gpu for gpu in found.gpus}, checks


def _folder(folder: Path) -> Check:
    """Whether socket and journal could be made there."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Check(part="state folder", well=True, says=f"{folder} may be written")
    return Check(
        part="state folder",
        well=False,
        says=f"{folder} may not be written by user {os.geteuid()}",
        cure="make it owned by the agent's user, or set state_dir in [gateway] to a folder that is",
    )


def _has_nvidia(settings: Settings) -> bool:
    return any(isinstance(fleet, NvmlSettings) for fleet in settings.fleets)


def _permission(settings: Settings) -> list[Check]:
    """Whether limits could be written and processes stopped, by what this process is allowed."""
    may = effective_capabilities()
    who = f"user {os.geteuid()}"
    lacks = []
    if _has_nvidia(settings) and not may >> SYS_ADMIN & 1:
        lacks.append(
            Check(
                part="permission",
                well=False,
                says=f"no permission: {who} lacks CAP_SYS_ADMIN, so the NVIDIA driver would refuse to set a limit",
                cure="run the agent as root or with CAP_SYS_ADMIN; in a container add it (--cap-add SYS_ADMIN)",
            )
        )
    if settings.process_jobs and not may >> KILL & 1:
        lacks.append(
            Check(
                part="permission for jobs",
                well=True,
                says=f"{who} lacks CAP_KILL: only processes of the same user can be paused",
                cure="run the agent as root or with CAP_KILL where jobs belong to other users",
            )
        )
    if lacks or not (_has_nvidia(settings) or settings.process_jobs):
        return lacks or [Check(part="permission", well=True, says="what is declared needs none")]
    return [Check(part="permission", well=True, says=f"{who} has what the drivers need: limits may be written")]


def _certificate(settings: Settings, now: datetime) -> list[Check]:
    """Whether this host may speak in the fleet, and for how long; nothing where it was never enrolled."""
    from gateway.joining import certificate_of_this_host

    try:
        found = certificate_of_this_host(settings)
    except (HardwareError, OSError, ValueError) as cause:
        cure = "enrol this host again: gridgate asset enrol"
        return [Check(part="certificate", well=False, says=f"it cannot be read: {cause}", cure=cure)]
    if found is None:
        return []
    says = f"{found.host_id} of {found.site_id}, for {', '.join(found.servers)}"
    if not found.from_at <= now < found.to_at:
        says += f": valid only from {found.from_at:%Y-%m-%d} to {found.to_at:%Y-%m-%d %H:%M} UTC"
        cure = "look at this host's clock; where it is right, enrol this host again: gridgate asset enrol"
        return [Check(part="certificate", well=False, says=says, cure=cure)]
    return [Check(part="certificate", well=True, says=f"{says}: valid until {found.to_at:%Y-%m-%d %H:%M} UTC")]


def _about_devices(devices: Iterable[CheckedDevice]) -> list[Check]:
    found = list(devices)
    if not found:
        return []
    bad = [one for one in found if one.fault is not None]
    models = ", ".join(sorted({one.model for one in found}))
    says = f"{len(found) - len(bad)} of {len(found)} are well ({models})"
    checks = [Check(part="devices", well=not bad, says=says)]
    checks += [
        Check(part=one.device_id, well=False, says=f"{one.fault.condition}: {one.fault.detail}", cure=one.fault.cure)
        for one in bad
        if one.fault is not None
    ]
    held = [one for one in found if one.asked_w is not None and one.limit_w is not None]
    lower = [one for one in held if (one.asked_w or 0.0) - (one.limit_w or 0.0) > 0.5]
    if lower:
        checks.append(
            Check(
                part="limits",
                well=True,
                says=f"{len(lower)} held lower than was asked, by something out of band",
                cure="look at the host's management controller and power brake if that is not meant",
            )
        )
    if any(one.persistence is False for one in found):
        checks.append(
            Check(
                part="persistence mode",
                well=True,
                says="off: limits are forgotten when the last user of the driver ends",
                cure="turn it on: nvidia-smi -pm 1, or start nvidia-persistenced",
            )
        )
    if any(one.mig for one in found):
        says = "a GPU in MIG mode has one limit for all of its instances: a cap slows every tenant of it"
        checks.append(Check(part="MIG", well=True, says=says))
    return checks


async def _running(path: Path) -> Check:
    """Whether an agent serves here now."""
    from gateway.asking import ask_agent

    try:
        described = await ask_agent(path)
    except HardwareError as cause:
        if _nobody_listens(path):
            return Check(part="agent", well=True, says="none runs here now")
        return _failed("agent", cause, cure="an agent has the socket and does not answer: look at its log, restart it")
    devices = getattr(described, "devices", None)
    if devices is None:
        says = f"one runs here and says: {getattr(described, 'detail', 'something else')}"
        return Check(part="agent", well=False, says=says, cure="look at its log")
    says = f"one runs here, {described.host_id}, with {len(devices)} devices; the journal is its own until it ends"
    return Check(part="agent", well=True, says=says)


def _nobody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            return False
    return False


def _failed(part: str, cause: HardwareError, *, cure: str = "") -> Check:
    says, told = apart(cause)
    return Check(part=part, well=False, says=says.rstrip("."), cure=cure or told or CURES[cause.condition])
