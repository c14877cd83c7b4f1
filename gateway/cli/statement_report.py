"""What ``gridgate statement report`` reads from the record, and how it writes."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.app import assurance_sources
from gateway.cli.output import BAD_USAGE, fail
from gateway.config import ConfigError, Settings, load_config
from gateway.domain.report.material import StatementMaterial
from gateway.services.statement_material import material_of
from gateway.stages import Record


def settings_of(config: Path | None, *, json_wanted: bool) -> Settings | None:
    """A config file, ``None`` without one. Ends the command with exit code 2 where it cannot be used."""
    if config is None:
        return None
    try:
        return load_config(config)
    except ConfigError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)


def all_of(statement_id: str, settings: Settings | None) -> Callable[[Record], Awaitable[StatementMaterial | None]]:
    """A question for all that a report on a statement shows; ``None`` where there is no such statement."""

    async def asked(record: Record) -> StatementMaterial | None:
        statement = await record.ledger.statement(statement_id)
        if statement is None:
            return None
        sources = None if settings is None else assurance_sources(record.ledger, settings)
        return await material_of(record.ledger, statement, sources, record.evidence)

    return asked


def write_new(path: Path, body: bytes) -> None:
    """Write a file that is not there yet. Raises ``OSError``."""
    with path.open("xb") as file:
        file.write(body)
