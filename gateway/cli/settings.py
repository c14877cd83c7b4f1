"""The settings that a command about hardware needs, taken from its config file."""

from pathlib import Path
from typing import Any

from gateway.cli.output import BAD_USAGE, fail


def any_settings(config: Path, *, json_wanted: bool = False) -> Any:
    """The settings in the file; ends the command with exit code 2 where they are wrong."""
    from gateway.config import ConfigError, load_config

    try:
        return load_config(config)
    except ConfigError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)


def serving_settings(config: Path) -> Any:
    """The settings in the file, with anything to serve declared; ends the command with 2 where they are wrong."""
    settings = any_settings(config)
    if not settings.has_devices and not settings.vtns:
        fail(f'{config}: declare [[hardware]], such as kind = "simulated", or a VTN', code=BAD_USAGE)
    return settings


def hardware_settings(config: Path, *, json_wanted: bool = False) -> Any:
    """The settings in the file, with devices or jobs declared; ends the command with 2 where they are wrong."""
    settings = any_settings(config, json_wanted=json_wanted)
    if not settings.of_this_host and settings.agents is None:
        text = f'{config}: declare [[hardware]], such as kind = "simulated"'
        fail(text, code=BAD_USAGE, json_wanted=json_wanted)
    return settings
