"""``[evidence]`` and ``[archive]``: what proves the record, and closed days as files."""

from pathlib import Path

from pydantic import Field, HttpUrl

from gateway.config.parts import Section


class EvidenceSettings(Section):
    """``[evidence]``: the log of what the record holds, and its signed heads."""

    log_id: str | None = Field(default=None, min_length=1, max_length=100)
    """Name of the log, by default the site's. A new one begins where the old one cannot be gone on with."""
    heads_dir: Path | None = None
    """A folder that each head goes to; best on another disk."""
    deliver_to: tuple[HttpUrl, ...] = ()
    """Addresses of utility and auditor that each head is posted to."""


class ArchiveSettings(Section):
    """``[archive]``: closed days as Parquet files. Needs the extra ``reports``."""

    folder: Path
    open_days: int = Field(default=2, ge=1, le=60)
    """Whole days that a day stays open after its end, for late readings."""
