"""``gridgate job``: the jobs of this host's agent, and holding them back for a while.

Whatever holds back ends by itself (``--for``). What the gateway holds back for an event stays the gateway's, and what
is held back here the gateway does not let go.
"""

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.output import BAD_USAGE, FAILED, fail, show
from gateway.cli.record import JsonOption
from hardware.job import Verb

job = typer.Typer(help="Jobs: what runs here, and holding it back for a while.", no_args_is_help=True)

LONGEST_S = 86_400.0
ONCE_S = 60.0
"""So long the agent remembers a command that is done once."""

_SPAN = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|m|h)?")
_UNIT_S = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

ConfigFile = Annotated[Path, typer.Option("--config", help="Config file (TOML) of this host's agent.")]
JobIds = Annotated[list[str], typer.Argument(help="Ids of jobs, as `gridgate job list` shows them.", metavar="JOB...")]
NodeIds = Annotated[list[str], typer.Argument(help="Names of nodes, as the scheduler has them.", metavar="NODE...")]
ForOption = Annotated[str, typer.Option("--for", help="How long at most: 90s, 10m, 2h; 24h is the longest.")]


@job.command("list")
def list_jobs(config: ConfigFile, json_wanted: JsonOption = False) -> None:
    """List the jobs: state, tier, devices, how they may be paused, what is wrong."""
    from gateway.cli.job_text import listing

    jobs, nodes = _ask(config, json_wanted=json_wanted)
    show({"jobs": jobs, "nodes": nodes}, json_wanted=json_wanted, text=lambda: listing(jobs, nodes))


@job.command("show")
def show_job(job_id: str, config: ConfigFile, json_wanted: JsonOption = False) -> None:
    """Show one job: its terms, devices, progress, fault and the cure."""
    from gateway.cli.job_text import in_words

    jobs, _ = _ask(config, json_wanted=json_wanted)
    found = next((one for one in jobs if one.job_id == job_id), None)
    if found is None:
        text = f"no job is called {job_id!r}; see: gridgate job list --config {config}"
        fail(text, code=FAILED, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: in_words(found))


@job.command("pause")
def pause(job_ids: JobIds, config: ConfigFile, lasts: ForOption = "10m", json_wanted: JsonOption = False) -> None:
    """Pause jobs by their method, for no longer than was tested."""
    _act(config, Verb.PAUSE, job_ids, lasts=lasts, json_wanted=json_wanted)


@job.command("resume")
def resume(job_ids: JobIds, config: ConfigFile, json_wanted: JsonOption = False) -> None:
    """Resume jobs that were paused here."""
    _act(config, Verb.RESUME, job_ids, json_wanted=json_wanted)


@job.command("hold")
def hold(job_ids: JobIds, config: ConfigFile, lasts: ForOption = "10m", json_wanted: JsonOption = False) -> None:
    """Keep jobs that wait from starting."""
    _act(config, Verb.HOLD, job_ids, lasts=lasts, json_wanted=json_wanted)


@job.command("release")
def release(job_ids: JobIds, config: ConfigFile, json_wanted: JsonOption = False) -> None:
    """Let jobs start that were held here."""
    _act(config, Verb.RELEASE, job_ids, json_wanted=json_wanted)


@job.command("requeue")
def requeue(job_ids: JobIds, config: ConfigFile, json_wanted: JsonOption = False) -> None:
    """End jobs and queue them anew: each begins again from its last checkpoint, if it has one."""
    _act(config, Verb.REQUEUE, job_ids, json_wanted=json_wanted)


@job.command("priority")
def prioritize(
    job_id: str,
    priority: Annotated[int, typer.Argument(min=0, help="As the scheduler counts: higher starts sooner.")],
    config: ConfigFile,
    json_wanted: JsonOption = False,
) -> None:
    """Give a job that waits a priority. It stays."""
    _act(config, Verb.PRIORITIZE, [job_id], priority=priority, json_wanted=json_wanted)


@job.command("drain")
def drain(node_ids: NodeIds, config: ConfigFile, lasts: ForOption = "10m", json_wanted: JsonOption = False) -> None:
    """Have nodes get no new jobs; those on them go on."""
    _act(config, Verb.DRAIN, node_ids, lasts=lasts, json_wanted=json_wanted)


@job.command("undrain")
def undrain(node_ids: NodeIds, config: ConfigFile, json_wanted: JsonOption = False) -> None:
    """Let nodes that were drained here get jobs again."""
    _act(config, Verb.UNDRAIN, node_ids, json_wanted=json_wanted)


def _act(
    config: Path,
    verb: Verb,
    ids: list[str],
    *,
    lasts: str | None = None,
    priority: int | None = None,
    json_wanted: bool,
) -> None:
    """Act, and say what became of it. Ends with exit code 1 where any of it was not done."""
    from gateway.asking import act_on_jobs
    from gateway.cli.job_text import results_in_words
    from hardware.device import Outcome

    lasts_s = ONCE_S if lasts is None else _seconds(lasts, json_wanted=json_wanted)
    settings = _settings(config, json_wanted=json_wanted)
    work = act_on_jobs(settings, verb, list(dict.fromkeys(ids)), lasts_s=lasts_s, priority=priority)
    results = _run(work, config, json_wanted=json_wanted)
    show(results, json_wanted=json_wanted, text=lambda: results_in_words(results, lasts_s))
    if any(result.outcome not in {Outcome.APPLIED, Outcome.CLAMPED} for result in results):
        raise typer.Exit(FAILED)


def _seconds(span: str, *, json_wanted: bool) -> float:
    """A length of time; ends the command with exit code 2 where it is none."""
    found = _SPAN.fullmatch(span.strip())
    seconds = 0.0 if found is None else float(found[1]) * _UNIT_S[found[2]]
    if not 0.0 < seconds <= LONGEST_S:
        text = f"--for {span!r} is not a time over 0 and up to 24h, such as 90s, 10m or 2h"
        fail(text, code=BAD_USAGE, json_wanted=json_wanted)
    return seconds


def _ask(config: Path, *, json_wanted: bool) -> Any:
    from gateway.asking import ask_jobs

    settings = _settings(config, json_wanted=json_wanted)
    return _run(ask_jobs(settings), config, json_wanted=json_wanted)


def _settings(config: Path, *, json_wanted: bool) -> Any:
    from gateway.cli.settings import hardware_settings

    return hardware_settings(config, json_wanted=json_wanted)


def _run(work: Any, config: Path, *, json_wanted: bool) -> Any:
    """Ask the agent. Ends the command with exit code 1 where it does not answer."""
    from hardware.errors import HardwareError

    try:
        return asyncio.run(work)
    except HardwareError as cause:
        fail(f"{cause}. Is it running? gridgate agent --config {config}", code=FAILED, json_wanted=json_wanted)
