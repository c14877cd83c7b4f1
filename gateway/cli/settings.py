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


def hardware_settings(config: Path, *, json_wanted: bool = False) -> Any:
    """The settings in the file, with devices or jobs declared; ends the command with 2 where they are wrong."""
    settings = any_settings(config, json_wanted=json_wanted)
    if not (settings.of_this_host or settings.agents or settings.sites):
        text = f'{config}: declare [[hardware]], such as kind = "simulated"'
        fail(text, code=BAD_USAGE, json_wanted=json_wanted)
    return settings
