"""A report as canonical JSON (RFC 8785): figures as they are, not as they are shown."""

from gateway.domain.evidence import canonical_json
from gateway.domain.report.document import Report


def write(report: Report) -> bytes:
    """Instants in UTC, Decimals as strings."""
    return canonical_json(report) + b"\n"
