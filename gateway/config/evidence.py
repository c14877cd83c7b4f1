"""``[evidence]`` and ``[archive]``: what proves the record, and closed days as files."""

from pathlib import Path

from pydantic import Field, HttpUrl, model_validator

from gateway.config.parts import Section


class EvidenceSettings(Section):
    """``[evidence]``: the log of what the record holds, and its signed heads."""

    log_id: str | None = Field(default=None, min_length=1, max_length=100)
    """Name of the log, by default the site's. A new one begins where the old one cannot be gone on with."""
    heads_dir: Path | None = None
    """A folder that each head goes to; best on another disk."""
    deliver_to: tuple[HttpUrl, ...] = ()
    """Addresses of utility and auditor that each head is posted to."""
    timestamp_url: HttpUrl | None = None
    """An authority (RFC 3161) that stamps each head. Needs the extra ``evidence``."""
    timestamp_ca: Path | None = None
    """Certificates (PEM) by which its stamps are believed."""

    @model_validator(mode="after")
    def _stamps_are_believed_by_something(self) -> "EvidenceSettings":
        if (self.timestamp_url is None) != (self.timestamp_ca is None):
            raise ValueError("timestamp_url and timestamp_ca go together: who stamps, and whose stamps are believed")
        return self


class ArchiveSettings(Section):
    """``[archive]``: closed days as Parquet files. Needs the extra ``reports``."""

    folder: Path
    open_days: int = Field(default=2, ge=1, le=60)
    """Whole days that a day stays open after its end, for late readings."""
