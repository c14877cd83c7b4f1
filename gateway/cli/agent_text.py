"""What ``gridgate agent --check`` finds, in words."""

from gateway.cli.agent_found import AgentCheck
from gateway.cli.asset_text import paragraph, short_names, table


def in_words(found: AgentCheck) -> str:
    """The checks, the devices, the jobs, and what would be put back."""
    lines = [f"{found.host}: the agent would work" if found.well else f"{found.host}: not all of it would work"]
    for one in found.checks:
        lines += paragraph(f"{one.part}: {one.says}", indent=6, first="  ok  " if one.well else "  NO  ")
        if one.cure:
            lines += paragraph(f"What to do: {one.cure}", indent=6)
    if found.devices:
        names = short_names([device.device_id for device in found.devices])
        rows = [["DEVICE", "RANGE", "ASKED", "IN FORCE", "MODEL"]]
        rows += [
            [
                names[one.device_id],
                f"{one.min_w:g}-{one.max_w:g} W",
                _watts(one.asked_w),
                _watts(one.limit_w),
                one.model,
            ]
            for one in found.devices
        ]
        lines += ["", "Devices:", *table(rows, indent=2)]
    if found.jobs:
        rows = [["JOB", "STATE", "TIER", "LEAST", "PAUSE AT MOST", "DEVICES"]]
        rows += [
            [
                job.job_id,
                job.state,
                job.tier,
                f"{job.min_throughput:.0%}",
                f"{job.max_pause_s:g} s ({job.method})" if job.max_pause_s else "never",
                str(job.devices),
            ]
            for job in found.jobs
        ]
        lines += ["", "Jobs:", *table(rows, indent=2)]
    if found.journal.at_start:
        lines += ["", "At its start it would:"]
        for entry in found.journal.at_start:
            lines += paragraph(f"{entry.name}: {entry.says}", indent=4, first="  ")
    return "\n".join(lines)


def _watts(limit_w: float | None) -> str:
    return "unknown" if limit_w is None else f"{limit_w:g} W"
