"""The commands that run: ``demo``, ``serve`` and ``agent``."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.output import BAD_USAGE, FAILED, fail

ConfigFile = Annotated[Path, typer.Option("--config", help="Config file (TOML).")]


def serve(config: ConfigFile) -> None:
    """Run the service until it is told to stop (SIGTERM, SIGINT)."""
    from gateway.app import serve as run

    settings = _settings(config)
    if not settings.hardware:
        fail(f'{config}: declare [[hardware]], such as kind = "simulated"', code=BAD_USAGE)
    _log_to_standard_error(settings.gateway.log_level)
    _run(run(settings, config_path=config.resolve()))


def agent(
    config: ConfigFile,
    lifeline: Annotated[
        bool, typer.Option("--lifeline", hidden=True, help="End some time after standard input ends.")
    ] = False,
) -> None:
    """Run the node agent of this host: it alone touches devices, and restores them whatever happens to the gateway."""
    from gateway.app import run_agent

    settings = _settings(config)
    if not settings.hardware:
        fail(f'{config}: declare [[hardware]], such as kind = "simulated"', code=BAD_USAGE)
    _log_to_standard_error(settings.gateway.log_level)
    _run(run_agent(settings, lifeline=lifeline))


def demo(
    speed: Annotated[float, typer.Option(min=0.1, max=60, help="How many times faster than real time.")] = 1.0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page on loopback; 0 picks one.")] = 8080,
    once: Annotated[bool, typer.Option("--once", help="One whole event in virtual time, no port.")] = False,
    out: Annotated[Path | None, typer.Option(help="With --once: folder for what comes out.")] = None,
    json_wanted: Annotated[bool, typer.Option("--json", help="With --once: print JSON.")] = False,
) -> None:
    """Show the whole job on a simulated site: utility, gateway, GPUs, meter, statement."""
    from gateway.cli.output import show
    from gateway.demo.live import run_live
    from gateway.demo.once import run_once

    if not once:
        if out is not None:
            fail("--out goes with --once", code=BAD_USAGE)
        _log_to_standard_error("info")
        _run(run_live(speed=speed, port=port))
        return
    _log_to_standard_error("warning")
    shown = _run(run_once(out or Path("demo-out")))
    show(shown, json_wanted=json_wanted, text=shown.in_words)


def _settings(config: Path) -> Any:
    from gateway.config import ConfigError, load_config

    try:
        return load_config(config)
    except ConfigError as cause:
        fail(str(cause), code=BAD_USAGE)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end; an expected fault ends with one line, a bug with its trace in the log and exit code 1."""
    import structlog

    from gateway.ledger import LedgerError, LedgerNotUpgraded
    from hardware.errors import HardwareError

    try:
        return asyncio.run(work)
    except LedgerNotUpgraded as cause:
        fail(str(cause), code=BAD_USAGE)
    except (LedgerError, HardwareError, OSError) as cause:
        fail(str(cause), code=FAILED)
    except BaseExceptionGroup as bugs:
        for bug in bugs.exceptions:
            structlog.get_logger().error("service_failed", error=f"{type(bug).__name__}: {bug}", exc_info=bug)
        fail("a service failed; the log above says which and why. Caps were put back.", code=FAILED)


def _log_to_standard_error(level: str) -> None:
    """Lines for people on a terminal, JSON otherwise; never on standard output."""
    import structlog

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
