"""What this host has, declared or not: each probe has a deadline, and one that fails is a line with its cure.

Only this host is asked, by its libraries, its commands and its loopback ports; meters only where they are declared.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gateway.cli.asset_text import paragraph
from hardware.errors import CURES, CallHangs, Condition, HardwareError, MeterSilent

T = TypeVar("T")

PROBE_S = 5.0
"""The longest that one probe may take."""

DCGM_URL = "http://127.0.0.1:9400/metrics"
PROMETHEUS_URL = "http://127.0.0.1:9090"
CGROUP = Path("/sys/fs/cgroup")
POWER_SERIES = "DCGM_FI_DEV_POWER_USAGE"
MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one probe found. ``snippet`` is what to put into the config file to declare it."""

    what: str
    found: bool
    declared: bool
    says: str
    cure: str = ""
    snippet: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """Everything that was looked for, and the text that declares what is there and not declared."""

    host: str
    findings: tuple[Finding, ...]
    snippet: str


async def discover(
    settings: Any = None,
    *,
    dcgm_url: str = DCGM_URL,
    prometheus_url: str = PROMETHEUS_URL,
    cgroup: Path = CGROUP,
    probe_s: float = PROBE_S,
) -> Discovery:
    """Ask everything at once. ``settings`` say what is declared already (``None``: nothing)."""
    kinds = {one.kind for one in settings.hardware} if settings is not None else set()
    meters = settings.meters if settings is not None else ()
    probes = [
        _nvidia("nvml" in kinds, probe_s),
        _slurm("slurm" in kinds, probe_s),
        _exporter(dcgm_url, meters, probe_s),
        _prometheus(prometheus_url, meters, probe_s),
        _freezer(cgroup, declared="process" in kinds),
        *(_meter(meter, probe_s) for meter in meters),
    ]
    findings = tuple(await asyncio.gather(*probes))
    snippets = [one.snippet for one in findings if one.snippet and not one.declared]
    return Discovery(host=socket.gethostname(), findings=findings, snippet="\n\n".join(snippets))


def in_words(found: Discovery) -> str:
    """A line for each probe, and what to put into the config file."""
    lines = [f"{found.host}: what is here"]
    for one in found.findings:
        mark = "found" if one.found else "none"
        declared = ", declared" if one.declared else ", not declared" if one.found else ""
        lines += paragraph(f"{one.what}: {mark}{declared}. {one.says}", indent=4, first="  ")
        if one.cure:
            lines += paragraph(f"What to do: {one.cure}", indent=4)
    if found.snippet:
        lines += ["", "To declare what is not, put this into the config file:", "", found.snippet]
    return "\n".join(lines)


async def within(seconds: float, call: Callable[[], T], what: str) -> T:
    """A blocking call, given up after so long: a driver that hangs must not hang us. Raises ``CallHangs``.

    The thread is a daemon, so that a call that never comes back does not keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(write: Callable[[], None]) -> None:
        if not done.done():
            write()

    def work() -> None:
        write: Callable[[], None]
        try:
            write = partial(done.set_result, call())
        except Exception as caught:  # noqa: BLE001 - it is handed to who waits
            write = partial(done.set_exception, caught)
        with suppress(RuntimeError):  # The loop was closed: nobody waits any more.
            loop.call_soon_threadsafe(settle, write)

    threading.Thread(target=work, name=what, daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            return await done
    except TimeoutError as cause:
        raise CallHangs(f"{what} did not answer in {seconds:g} s", cure=CURES[Condition.CALL_HANGS]) from cause


async def _nvidia(declared: bool, probe_s: float) -> Finding:
    from gateway.attach import survey_nvidia

    what = "NVIDIA GPUs (NVML)"
    try:
        seen = await within(probe_s, survey_nvidia, "the NVIDIA driver")
    except HardwareError as cause:
        says, cure = apart(cause)
        return Finding(what=what, found=False, declared=declared, says=says, cure=cure)
    count = len(seen.gpus)
    models = sorted({gpu.model for gpu in seen.gpus})
    says = f"Driver {seen.driver_version}, {count} GPU{'' if count == 1 else 's'}" + (
        f": {', '.join(models)}." if models else "."
    )
    cures = []
    if seen.unreadable:
        says += f" {seen.unreadable} more cannot be read."
        cures.append(CURES[Condition.LOST])
    if any(gpu.persistence is False for gpu in seen.gpus):
        cures.append("turn persistence mode on (nvidia-smi -pm 1): without it limits are lost when the last job ends")
    return Finding(
        what=what,
        found=count > 0,
        declared=declared,
        says=says,
        cure="; ".join(cures),
        snippet='[[hardware]]\nkind = "nvml"' if count else "",
    )


async def _slurm(declared: bool, probe_s: float) -> Finding:
    what = "Slurm"
    command = shutil.which("scontrol")
    if command is None:
        cure = "install Slurm's commands on this host, or run the agent where they are" if declared else ""
        return Finding(what=what, found=False, declared=declared, says="There is no scontrol here.", cure=cure)
    code, ping = await _command(probe_s, command, "ping")
    if code != 0 or "DOWN" in ping or "UP" not in ping:
        return Finding(
            what=what,
            found=False,
            declared=declared,
            says=f"scontrol is here, and no controller answers ({_last_line(ping)}).",
            cure="start slurmctld, or set SLURM_CONF to the cluster's slurm.conf",
        )
    code, listed = await _command(probe_s, command, "--oneliner", "show", "node")
    nodes = re.findall(r"^NodeName=(\S+)", listed, re.MULTILINE) if code == 0 else []
    gres = re.findall(r"\bGres=(?!\(null\))(\S+)", listed) if code == 0 else []
    says = f"The controller answers: {len(nodes)} node{'' if len(nodes) == 1 else 's'}, {len(gres)} with GRES"
    says += f" ({', '.join(sorted(set(gres))[:3])})." if gres else "."
    return Finding(
        what=what, found=True, declared=declared, says=says, snippet='[[hardware]]\nkind = "slurm"\nname = "slurm"'
    )


async def _exporter(url: str, meters: Sequence[Any], probe_s: float) -> Finding:
    what = "DCGM exporter"
    declared = any(url in getattr(meter, "urls", ()) for meter in meters)
    try:
        text = await _get(url, probe_s)
    except MeterSilent as cause:
        cure = "start dcgm-exporter, or correct its address in the config file" if declared else ""
        return Finding(what=what, found=False, declared=declared, says=f"{cause}.", cure=cure)
    series = len(re.findall(rf"^{POWER_SERIES}[{{ ]", text, re.MULTILINE))
    if not series:
        return Finding(
            what=what,
            found=False,
            declared=declared,
            says=f"{url} answers, without {POWER_SERIES}.",
            cure=f"add {POWER_SERIES} to the exporter's counters, if this is the DCGM exporter",
        )
    snippet = (
        f'[[hardware]]\nkind = "prometheus"\nname = "dcgm"\nurls = ["{url}"]\n'
        f'metric = "{POWER_SERIES}"\nexpected = {series}'
    )
    says = f"{url} has the power of {series} device{'' if series == 1 else 's'}."
    return Finding(what=what, found=True, declared=declared, says=says, snippet=snippet)


async def _prometheus(url: str, meters: Sequence[Any], probe_s: float) -> Finding:
    what = "Prometheus server"
    declared = any((getattr(meter, "server", None) or "").rstrip("/") == url for meter in meters)
    try:
        await _get(f"{url}/-/ready", probe_s)
    except MeterSilent as cause:
        cure = "start it, or correct its address in the config file" if declared else ""
        return Finding(what=what, found=False, declared=declared, says=f"{cause}.", cure=cure)
    snippet = f'[[hardware]]\nkind = "prometheus"\nname = "prometheus"\nserver = "{url}"\nmetric = "{POWER_SERIES}"'
    return Finding(what=what, found=True, declared=declared, says=f"{url} is ready.", snippet=snippet)


async def _freezer(cgroup: Path, *, declared: bool) -> Finding:
    what = "cgroup freezer"
    if (cgroup / "cgroup.controllers").exists():
        kind = "cgroup v2, which can freeze every group"
    elif (cgroup / "freezer").is_dir():
        kind = "cgroup v1 with the freezer"
    else:
        return Finding(
            what=what, found=False, declared=declared, says="Jobs can be paused by signals to their process groups."
        )
    writable = os.access(cgroup, os.W_OK) and not _read_only(cgroup)
    says = f"{kind.capitalize()}; we may {'' if writable else 'not '}write there."
    cure = "" if writable else "run the agent as root, with /sys/fs/cgroup writable; else jobs are paused by signals"
    return Finding(what=what, found=True, declared=declared, says=says, cure=cure)


async def _meter(meter: Any, probe_s: float) -> Finding:
    """One declared meter, read once."""
    from gateway.clock import SystemClock
    from gateway.site_meters import open_meter

    unit = f", unit {meter.unit_id}" if meter.kind == "modbus" else ""
    what = f"meter {meter.name} ({meter.kind}{unit})"
    try:
        async with AsyncExitStack() as edges, asyncio.timeout(probe_s):
            readings = await (await open_meter(edges, meter, SystemClock())).read()
    except (HardwareError, OSError) as cause:
        says, cure = apart(cause) if isinstance(cause, HardwareError) else (f"{cause or 'no answer in time'}", "")
        cure = cure or CURES[Condition.SILENT]
        return Finding(what=what, found=False, declared=True, says=says, cure=cure)
    power_w = sum(reading.power_w for reading in readings)
    return Finding(what=what, found=True, declared=True, says=f"It answers: {power_w / 1000.0:.1f} kW.")


def apart(cause: HardwareError) -> tuple[str, str]:
    """What went wrong, and the cure apart from it."""
    text = str(cause)
    said, _, told = text.rpartition("; ")
    if cause.cure:
        return text.removesuffix(cause.cure).rstrip("; ") + ".", cause.cure
    return (said + ".", told) if said else (text + ".", CURES[cause.condition])


async def _get(url: str, probe_s: float) -> str:
    """A page on loopback, of a bounded length. Raises ``MeterSilent``."""
    import aiohttp

    try:
        async with (
            asyncio.timeout(probe_s),
            aiohttp.ClientSession() as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise MeterSilent(f"{url} answers {response.status}")
            page = bytearray()
            async for part in response.content.iter_any():
                page += part
                if len(page) > MOST_BYTES:
                    raise MeterSilent(f"{url} answers more than {MOST_BYTES} bytes")
            return page.decode("utf-8", "replace")
    except (aiohttp.ClientError, OSError) as cause:
        raise MeterSilent(f"Nothing answers at {url}") from cause


async def _command(probe_s: float, *command: str) -> tuple[int | None, str]:
    """A command's exit code and what it said; ``None`` where it did not end in time."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(probe_s):
            said, _ = await process.communicate()
    except TimeoutError:
        # With whatever it started: that would hold the pipe open, and we would wait for it.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        return None, f"no answer in {probe_s:g} s"
    return process.returncode, said.decode("utf-8", "replace")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("scontrol: error: ").rstrip(".") if lines else "it said nothing"


def _read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return True
