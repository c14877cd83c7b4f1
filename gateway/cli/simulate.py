"""``gridgate simulate``: a scenario in virtual time, and what it comes to."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import BAD_USAGE, fail, show
from gateway.cli.run import log_to_standard_error, progress, run_to_end


def simulate(
    scenario: Annotated[str, typer.Argument(help="A shipped scenario's name, or a .toml file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for what comes out.")],
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the scenario's.")] = None,
    json_wanted: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Play a scenario in virtual time on a simulated site, with the whole gateway, and say how well it did.

    Leaves power.csv, jobs.csv, summary.json and power.svg. Shipped: phoenix, two-step, fast, regulation, bursty,
    failures, meter, tree, year.
    """
    from gateway.simulation.run import run_scenario
    from gateway.simulation.scenario import ScenarioError, load

    try:
        loaded = load(scenario)
    except ScenarioError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        fail(f"cannot write to {out}: {cause.strerror}", code=BAD_USAGE, json_wanted=json_wanted)
    # What goes wrong in a scenario is meant to.
    log_to_standard_error("error")
    chosen = loaded.seed if seed is None else seed
    with progress(f"playing {loaded.name}") as tell:
        written = run_to_end(run_scenario(loaded, seed=chosen, out=out, tell=tell), json_wanted=json_wanted)
    show(written.summary, json_wanted=json_wanted, text=written.in_words)
