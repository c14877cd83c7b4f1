"""Hosts, devices and faults as ``gridgate asset`` tells them, in tables of at most 80 columns."""

from collections.abc import Iterable, Sequence
from textwrap import wrap

from gateway.cli.time_text import work_in_words
from gateway.domain.assets import Assets, DeviceAsset, DeviceState, HostAsset, JobAsset

WIDTH = 80
SHORTEST_ID = 12
LONGEST_ID = 26


def listing(assets: Assets) -> str:
    """Every host with its devices, and what needs attention."""
    if not assets.devices:
        return "no devices: the agent answers, and has found none"
    names = short_names([device.device_id for device in assets.devices])
    lines = [summary(assets.devices, len(assets.hosts))]
    for host in assets.hosts:
        on_host = [device for device in assets.devices if device.host_id == host.host_id]
        lines += ["", host_line(host, on_host)]
        rows = [["DEVICE", "SLOT", "STATE", "LIMIT", "RANGE", "JOBS"], *(_row(one, names) for one in on_host)]
        lines += table(rows, indent=2, right={1})
    troubles = attention(assets)
    if troubles:
        lines += ["", "Needs attention:", *troubles]
    return "\n".join(lines)


def summary(devices: Sequence[DeviceAsset], hosts: int) -> str:
    """``8 devices on 2 hosts: 3 capped, 5 free``."""
    return f"{_count(len(devices), 'device')} on {_count(hosts, 'host')}: {_states(devices)}"


def host_line(host: HostAsset, devices: Sequence[DeviceAsset]) -> str:
    """One host in a line: model, states and power."""
    models = sorted({device.model for device in devices})
    power = "no reading of all of them" if host.power_w is None else f"{host.power_w / 1000.0:.1f} kW"
    model = models[0] if len(models) == 1 else f"{len(models)} models"
    return _cut(f"{host.host_id}: {host.devices} x {model}; {_states(devices)}; {power}", WIDTH)


def device_in_words(device: DeviceAsset, jobs: Iterable[JobAsset]) -> str:
    """Everything that is known of one device."""
    lines = [
        f"{device.device_id}: {device.state}",
        f"  host {device.host_id}" + ("" if device.slot is None else f", slot {device.slot}"),
        f"  model {device.model}",
        f"  limit {_limit(device)}; takes {device.min_w:g} to {device.max_w:g} W, its own is {device.default_w:g} W",
        f"  power {'no reading' if device.power_w is None else f'{device.power_w:.0f} W'}",
    ]
    if device.slowed_by:
        lines.append(f"  clocks held down by {', '.join(device.slowed_by)}")
    on_it = [job for job in jobs if device.device_id in job.devices]
    lines += [line for job in on_it for line in paragraph(_job(job), indent=4, first="  ")]
    if not on_it:
        lines.append("  no job that is known")
    if device.fault is not None:
        lines += _trouble("fault", str(device.fault.condition), device.fault.detail, device.fault.cure)
    return "\n".join(lines)


def host_in_words(host: HostAsset, assets: Assets) -> str:
    """Everything that is known of one host: its devices, jobs and faults."""
    devices = tuple(device for device in assets.devices if device.host_id == host.host_id)
    jobs = tuple(job for job in assets.jobs if job.job_id in host.jobs)
    lines = [listing(Assets(hosts=(host,), devices=devices, jobs=jobs)), ""]
    lines.append(f"limits together {host.limit_w / 1000.0:.1f} kW")
    lines += [line for job in jobs for line in _wrapped(_job(job))]
    return "\n".join(lines)


def attention(assets: Assets) -> list[str]:
    """What is wrong, with its cure: what is wrong in the same way is told once."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for device in assets.devices:
        if device.fault is not None:
            key = str(device.fault.condition), device.fault.detail, device.fault.cure
            told.setdefault(key, []).append(f"{device.device_id} ({device.host_id})")
    for job in assets.jobs:
        if job.fault is not None:
            key = str(job.fault.condition), job.fault.detail, job.fault.cure
            told.setdefault(key, []).append(f"job {job.job_id}")
    lines: list[str] = []
    for (condition, detail, cure), who in told.items():
        names = ", ".join(who[:3]) + (f" and {len(who) - 3} more" if len(who) > 3 else "")
        lines += _trouble(names, condition, detail, cure)
    return lines


def table(rows: Sequence[Sequence[str]], *, indent: int = 0, right: Iterable[int] = ()) -> list[str]:
    """Rows in columns as wide as their widest cell; the last one is cut where the line would be too long."""
    to_the_right = set(right)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in to_the_right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_cut(" " * indent + "  ".join(cells).rstrip(), WIDTH))
    return lines


def paragraph(text: str, *, indent: int, first: str = "") -> list[str]:
    """Text wrapped to the width; a word that is longer (an address, a command) stays whole."""
    blank = " " * indent
    return wrap(
        text,
        WIDTH,
        initial_indent=first or blank,
        subsequent_indent=blank,
        break_long_words=False,
        break_on_hyphens=False,
    )


def short_names(device_ids: Sequence[str]) -> dict[str, str]:
    """Ids as a table shows them: long ones by a beginning that tells them all apart, with dots after it."""
    ids = sorted(set(device_ids))
    if all(len(one) <= LONGEST_ID for one in ids):
        return {one: one for one in ids}
    for length in range(SHORTEST_ID, LONGEST_ID - 1):
        if len({one[:length] for one in ids}) == len(ids):
            return {one: one if len(one) <= length + 2 else f"{one[:length]}.." for one in ids}
    return {one: one for one in ids}


def _row(device: DeviceAsset, names: dict[str, str]) -> list[str]:
    return [
        names[device.device_id],
        "" if device.slot is None else str(device.slot),
        str(device.state) if device.fault is None or not device.capped else f"{device.state}, capped",
        _limit(device),
        f"{device.min_w:g}-{device.max_w:g} W",
        ", ".join(device.jobs),
    ]


def _job(job: JobAsset) -> str:
    """A job in a line."""
    said = [str(job.state), job.tier, _count(len(job.devices), "device")]
    return f"job {job.job_id}: {', '.join(filter(None, (*said, work_in_words(job.deadline_at, job.remaining_s))))}"


def _wrapped(text: str) -> list[str]:
    """Text wrapped to the width, every line but the first indented."""
    return wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _limit(device: DeviceAsset) -> str:
    return "unknown" if device.limit_w is None else f"{device.limit_w:g} W"


def _states(devices: Sequence[DeviceAsset]) -> str:
    counts = [(state, sum(device.state is state for device in devices)) for state in reversed(DeviceState)]
    return ", ".join(f"{number:,} {state}" for state, number in counts if number)


def _trouble(name: str, condition: str, detail: str, cure: str) -> list[str]:
    return [
        *paragraph(f"{name}: {condition}: {detail}", indent=4, first="  "),
        *paragraph(f"What to do: {cure}", indent=4),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 2]}.."
