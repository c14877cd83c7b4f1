"""``gridgate allocate``: one planning step, offline."""

from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import BAD_USAGE, fail, read_input, show


def allocate(
    *,
    fleet: Annotated[Path, typer.Option(help="JSON file: fixed_w and jobs with their curves.")],
    target_w: Annotated[float, typer.Option("--target-w", help="Site power not to be exceeded, in watts.")],
    json_wanted: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Share a site target out over the jobs of a fleet, at the least loss of weighted throughput.

    Jobs that may be paused are, where caps at the floors of all jobs do not reach the target.
    """
    from gateway.cli.fleet_text import FleetFileError, allocation_table, parse_fleet
    from gateway.domain.allocate import allocate as allocate_power
    from gateway.domain.allocate import choose_pauses

    if not isfinite(target_w) or target_w < 0.0:
        fail(f"--target-w must be 0 or more watts, not {target_w:g}", code=BAD_USAGE, json_wanted=json_wanted)
    try:
        fixed_w, jobs = parse_fleet(read_input(fleet, json_wanted=json_wanted))
    except FleetFileError as cause:
        fail(f"{fleet}: {cause}", code=BAD_USAGE, json_wanted=json_wanted)
    paused = choose_pauses(jobs, target_w=target_w, fixed_w=fixed_w)
    found = allocate_power(jobs, target_w=target_w, fixed_w=fixed_w, paused=paused)
    show(found, json_wanted=json_wanted, text=lambda: allocation_table(found))
