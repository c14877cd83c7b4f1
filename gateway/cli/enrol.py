"""``gridgate asset enrol`` and ``remove``: which hosts may join the fleet over NATS."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.output import BAD_USAGE, FAILED, fail, show
from gateway.cli.record import JsonOption
from gateway.cli.settings import any_settings

ConfigFile = Annotated[Path, typer.Option("--config", help="Config file (TOML) of the gateway.")]


def enrol(
    host_id: Annotated[str, typer.Argument(help="The host's name in the fleet: letters, digits, - and _.")],
    config: ConfigFile,
    minutes: Annotated[int, typer.Option(min=1, max=10_080, help="How long the token can be used.")] = 60,
    json_wanted: JsonOption = False,
) -> None:
    """Make a one-time token by which a host joins the fleet, and print what to do there."""
    from datetime import UTC, datetime

    settings, agents, enrolment = _opened(config, json_wanted=json_wanted)
    if agents.enrol_listen is None:
        fail(f'{config}: set enrol_listen in [[hardware]] kind = "agents", for hosts to enrol at', code=BAD_USAGE)
    from hardware.errors import HardwareError

    try:
        token = enrolment.new_token(host_id, url=agents.url, now=datetime.now(UTC), lasts_s=minutes * 60.0)
    except (HardwareError, OSError) as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)
    answer = {"host_id": host_id, "token": token.text, "lasts_s": minutes * 60, "url": token.url}

    def text() -> str:
        return (
            f"Token for host {host_id} of site {settings.site.id}, for one use within {minutes} minutes:\n\n"
            f"{token.text}\n\n"
            "On that host, put it into a file that only root reads, and start the agent with it once:\n\n"
            "  install -m 600 /dev/stdin enrol.token    # paste the token, then Ctrl-D\n"
            "  gridgate agent --config agent.toml --enrol-token-file enrol.token\n\n"
            f'where agent.toml has [agent] host_id = "{host_id}".'
        )

    show(answer, json_wanted=json_wanted, text=text)


def remove(host_id: str, config: ConfigFile, json_wanted: JsonOption = False) -> None:
    """Let a host go: from now on its certificate opens nothing. Its caps end with their leases."""
    from gateway.joining import reload_server
    from hardware.errors import HardwareError

    _, agents, enrolment = _opened(config, json_wanted=json_wanted)
    try:
        enrolment.remove(host_id)
    except (HardwareError, OSError) as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)
    try:
        asyncio.run(reload_server(agents, enrolment))
    except (HardwareError, OSError) as cause:
        text = f"host {host_id} is removed, but stays connected: {cause}"
        fail(text, code=FAILED, json_wanted=json_wanted)
    done = "" if agents.reload else "; now have the NATS server read its users anew (nats-server --signal reload)"
    show({"removed": host_id}, json_wanted=json_wanted, text=lambda: f"host {host_id} is removed{done}")


def _opened(config: Path, *, json_wanted: bool) -> tuple[Any, Any, Any]:
    """The settings, their section of agents, and the authority."""
    from gateway.joining import open_enrolment
    from hardware.errors import HardwareError

    settings = any_settings(config, json_wanted=json_wanted)
    if settings.agents is None:
        fail(f'{config}: declare [[hardware]] kind = "agents"', code=BAD_USAGE, json_wanted=json_wanted)
    try:
        return settings, settings.agents, open_enrolment(settings, settings.agents)
    except (HardwareError, OSError) as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)
