"""The commands that run: ``demo``, ``serve`` and ``agent``."""

import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.output import BAD_USAGE, FAILED, fail, show
from gateway.cli.settings import hardware_settings, serving_settings

ConfigFile = Annotated[Path, typer.Option("--config", help="Config file (TOML).")]


def serve(config: ConfigFile) -> None:
    """Run the service until it is told to stop (SIGTERM, SIGINT)."""
    settings = serving_settings(config)

    from gateway.serving import serve as run

    log_to_standard_error(settings.gateway.log_level)
    with _alone(settings.gateway.state_dir):
        run_to_end(run(settings, config_path=config.resolve()), where=f"listen = {settings.gateway.listen}")


def agent(
    config: ConfigFile,
    *,
    lifeline: Annotated[
        bool, typer.Option("--lifeline", hidden=True, help="End some time after standard input ends.")
    ] = False,
    worker: Annotated[
        str | None, typer.Option("--worker", hidden=True, help="Be the worker of the keeper that gives these files.")
    ] = None,
    enrol_token_file: Annotated[
        Path | None,
        typer.Option(
            help="First join the fleet by the one-time token in this file (or in GRIDGATE_ENROL_TOKEN)."
            " See: gridgate asset enrol"
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell what it finds, may do and would put back; change nothing.")
    ] = False,
    json_wanted: Annotated[bool, typer.Option("--json", help="With --check: print JSON.")] = False,
) -> None:
    """Run the node agent of this host: it alone touches devices, and restores them whatever happens to the gateway."""
    if json_wanted and not check:
        fail("--json goes with --check", code=BAD_USAGE, json_wanted=json_wanted)
    settings = hardware_settings(config, json_wanted=json_wanted)
    if check:
        _check_agent(settings, json_wanted=json_wanted)
        return

    from gateway.host_agent import run_keeper, run_worker

    log_to_standard_error(settings.gateway.log_level)
    if worker is not None:
        run_to_end(run_worker(settings, worker))
        return
    token = _enrol_token(enrol_token_file)
    if token is not None:
        from gateway.joining import enrol_this_host

        _tell(run_to_end(enrol_this_host(settings, token)))
    run_to_end(run_keeper(settings, config_path=config.resolve(), lifeline=lifeline))


def _enrol_token(file: Path | None) -> str | None:
    """The token for enrolment, never from the command line, where every user of the host could read it."""
    if file is None:
        return os.environ.pop("GRIDGATE_ENROL_TOKEN", None)
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError as cause:
        fail(f"cannot read {file}: {cause.strerror}", code=BAD_USAGE)


def _check_agent(settings: Any, *, json_wanted: bool) -> None:
    """Tell what the agent would find; exit code 1 where something would not work."""
    from gateway.cli.agent_check import check_agent
    from gateway.cli.agent_text import in_words

    # What drivers log is in the answer, with its cure.
    log_to_standard_error("critical")
    found = run_to_end(check_agent(settings), json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: in_words(found))
    if not found.well:
        raise typer.Exit(FAILED)


def demo(
    speed: Annotated[float, typer.Option(min=0.1, max=60, help="How many times faster than real time.")] = 1.0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page on loopback; 0 picks one.")] = 8080,
    once: Annotated[bool, typer.Option("--once", help="One whole event in virtual time, no port.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="With --once: folder for what comes out; by default demo-out.")
    ] = None,
    json_wanted: Annotated[bool, typer.Option("--json", help="With --once: print JSON.")] = False,
) -> None:
    """Show the whole job on a simulated site: utility, gateway, GPUs, meter, statement."""
    if not once:
        for option, given in (("--out", out is not None), ("--json", json_wanted)):
            if given:
                fail(f"{option} goes with --once", code=BAD_USAGE, json_wanted=json_wanted)
        from gateway.demo.live import run_live

        log_to_standard_error("info")
        run_to_end(run_live(speed=speed, port=port, tell=_tell), where=f"--port {port}")
        return
    folder = out or Path("demo-out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        fail(f"cannot write to {folder}: {cause.strerror}", code=BAD_USAGE, json_wanted=json_wanted)
    from gateway.demo.once import run_once

    log_to_standard_error("warning")
    with progress("playing one event") as tell:
        shown = run_to_end(run_once(folder, tell=tell), json_wanted=json_wanted)
    show(shown, json_wanted=json_wanted, text=shown.in_words)


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on standard error where that is a terminal; yields what to call with how far it is, 0 to 1."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)


@contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """Hold the folder of state for this process; ends the command where another gateway has it.

    A second gateway would begin a higher epoch at the same agent, which from then on refuses the first one's caps. The
    system lets go of the lock when the process dies, however suddenly.
    """
    import fcntl

    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        lock = (state_dir / "gateway.lock").open("a")
    except OSError as cause:
        fail(f"state_dir = {state_dir}: {cause.strerror}", code=FAILED)
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fail(f"another gridgate serves already with state_dir = {state_dir}", code=FAILED)
        yield


def run_to_end(work: Coroutine[Any, Any, Any], *, where: str = "", json_wanted: bool = False) -> Any:
    """Run to the end; an expected fault ends with one line, a bug with its trace in the log and exit code 1.

    ``where`` names the option that chose the address to listen at.
    """
    import structlog

    from gateway.config import ConfigError
    from gateway.ledger import LedgerError, LedgerNotUpgraded
    from hardware.errors import HardwareError

    try:
        return asyncio.run(work)
    except (LedgerNotUpgraded, ConfigError) as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    except OSError as cause:
        fail(_plainly(cause, where), code=FAILED, json_wanted=json_wanted)
    except (LedgerError, HardwareError) as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)
    except KeyboardInterrupt:
        fail("interrupted", code=FAILED, json_wanted=json_wanted)
    except BaseExceptionGroup as bugs:
        for bug in bugs.exceptions:
            structlog.get_logger().error("service_failed", error=f"{type(bug).__name__}: {bug}", exc_info=bug)
        fail("a service failed; the log above says which and why. Caps were put back.", code=FAILED)


def _plainly(cause: OSError, where: str) -> str:
    """An error of the system without its number, naming the file, or the option that chose the address."""
    text = cause.strerror or str(cause)
    if cause.filename is not None:
        return f"{cause.filename}: {text}"
    of_the_address = isinstance(cause, socket.gaierror) or cause.errno in {
        errno.EADDRINUSE,
        errno.EADDRNOTAVAIL,
        errno.EACCES,
    }
    return f"{where}: {text}" if where and of_the_address else text


def _tell(text: str) -> None:
    typer.echo(f"gridgate: {text}", err=True)


def log_to_standard_error(level: str) -> None:
    """Lines for people on a terminal, JSON otherwise; never on standard output."""
    import structlog

    # It warns of each end of a TLS connection that the NATS library made, in words that help nobody.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    people = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if people else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if people else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
