"""``gridgate asset``: hosts and devices, what they could give, what this host has, and who may join."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import FAILED, as_json, fail, show
from gateway.cli.record import JsonOption
from gateway.domain.assets import Assets, assets_of

asset = typer.Typer(help="Assets: hosts and devices, and what is wrong with them.", no_args_is_help=True)

ConfigFile = Annotated[Path, typer.Option("--config", help="Config file (TOML) that declares the hardware.")]


@asset.command("list")
def list_assets(config: ConfigFile, json_wanted: JsonOption = False) -> None:
    """List hosts and devices as their agents tell: limit, range, state, jobs, faults."""
    from gateway.cli.asset_text import listing

    assets = _ask(config, json_wanted=json_wanted)
    show(assets, json_wanted=json_wanted, text=lambda: listing(assets))


@asset.command("show")
def show_asset(asset_id: str, config: ConfigFile, json_wanted: JsonOption = False) -> None:
    """Show one device or host (or the only one whose id begins so): all that is known, its fault and the cure."""
    from gateway.cli.asset_text import device_in_words, host_in_words

    assets = _ask(config, json_wanted=json_wanted)
    hosts = {host.host_id: host for host in assets.hosts}
    devices = {device.device_id: device for device in assets.devices}
    beginning = asset_id.removesuffix("..")
    found = [asset_id] if asset_id in hosts or asset_id in devices else []
    found = found or sorted(name for name in (*hosts, *devices) if name.startswith(beginning))
    if not found:
        text = f"no host or device is called {asset_id!r}; see: gridgate asset list --config {config}"
        fail(text, code=FAILED, json_wanted=json_wanted)
    if len(found) > 1:
        names = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        fail(f"{asset_id!r} may be {names}: write more of it", code=FAILED, json_wanted=json_wanted)
    if found[0] in hosts:
        host = hosts[found[0]]
        on_host = [device for device in assets.devices if device.host_id == host.host_id]
        answer = {"kind": "host", **as_json(host), "assets": as_json(on_host)}
        show(answer, json_wanted=json_wanted, text=lambda: host_in_words(host, assets))
        return
    device = devices[found[0]]
    show(
        {"kind": "device", **as_json(device)},
        json_wanted=json_wanted,
        text=lambda: device_in_words(device, assets.jobs),
    )


@asset.command("capability")
def show_capability(config: ConfigFile, json_wanted: JsonOption = False) -> None:
    """Ask the running gateway how much less the site could draw, for how long, how surely, and what binds."""
    from gateway.cli.capability_text import in_words
    from gateway.cli.settings import any_settings
    from gateway.http.client import ask_gateway

    settings = any_settings(config, json_wanted=json_wanted)
    try:
        found = asyncio.run(ask_gateway(settings.gateway.listen, "/api/capability"))
    except ConnectionError as cause:
        fail(f"{cause}. Start it with: gridgate serve --config {config}", code=FAILED, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: in_words(found))


@asset.command("discover")
def discover_assets(
    config: Annotated[
        Path | None, typer.Option("--config", help="Config file (TOML): says what of it is declared already.")
    ] = None,
    json_wanted: JsonOption = False,
) -> None:
    """Look at what this host has: GPUs, scheduler, exporters, freezer, declared meters. Changes nothing."""
    from gateway.cli.discovery import discover, in_words
    from gateway.cli.settings import any_settings

    settings = None if config is None else any_settings(config, json_wanted=json_wanted)
    found = asyncio.run(discover(settings))
    show(found, json_wanted=json_wanted, text=lambda: in_words(found))


def _ask(config: Path, *, json_wanted: bool) -> Assets:
    """What the agents tell. Ends the command with exit code 1 where none answers."""
    from gateway.asking import ask_fleet
    from gateway.cli.run import log_to_standard_error
    from gateway.cli.settings import hardware_settings
    from hardware.errors import HardwareError

    settings = hardware_settings(config, json_wanted=json_wanted)
    log_to_standard_error("error")
    try:
        devices, jobs, readings = asyncio.run(ask_fleet(settings))
    except HardwareError as cause:
        text = f"{cause}. Start the agent with: gridgate agent --config {config}"
        fail(text, code=FAILED, json_wanted=json_wanted)
    return assets_of(devices, jobs, {reading.meter_id: reading.power_w for reading in readings})
