"""What every section of the settings stands on, and the values that need a check of their own."""

import os
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.tariff.sheet import find_tariff, shipped_tariffs

LONGEST_STATE_DIR_BYTES = 92
"""The path of a local socket has 104 bytes on macOS and 108 on Linux, its end included; ours is ``agent.sock``."""


class Section(BaseModel):
    """A table of the file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def zone(key: str) -> str:
    """A time zone's name. Raises ``ValueError`` for one that is none."""
    try:
        ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError, OSError) as cause:
        raise ValueError(f"no time zone is called {key!r}; use a name such as America/Phoenix or UTC") from cause
    return key


def address(text: str) -> str:
    """``host:port``. Raises ``ValueError`` for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not host:port, such as 127.0.0.1:8080")
    return text


def room_for_a_socket(path: Path) -> Path:
    """A folder whose sockets have a name short enough. Raises ``ValueError`` for one that is too deep."""
    if len(os.fsencode(path)) > LONGEST_STATE_DIR_BYTES:
        raise ValueError(
            f"{path} is longer than the {LONGEST_STATE_DIR_BYTES} bytes that leave room for a local socket;"
            " use a shorter path, such as /var/lib/gridgate"
        )
    return path


def rule(rule_id: str) -> str:
    """A shipped baseline rule's id. Raises ``ValueError`` for one that is none."""
    rules = list(shipped_rules())
    if rule_id not in rules:
        raise ValueError(f"no baseline rule is called {rule_id!r}; known: {', '.join(rules)}")
    return rule_id


def known_tariff(tariff_id: str) -> str:
    """A shipped tariff's id. Raises ``ValueError`` for one that is none."""
    find_tariff(shipped_tariffs(), tariff_id)
    return tariff_id
