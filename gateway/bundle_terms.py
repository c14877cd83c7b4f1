"""Whose statement a bundle is of and under which program, as its file ``terms.json`` has it."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from gateway.bundle_file import parsed
from gateway.domain.contract import Program

TERMS = "terms.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTerms:
    """What of a site a settlement depends on; see ``Site``."""

    site_id: str
    timezone: str
    meter_id: str
    interval_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Site and program; of the program's contract what was committed, which a tariff may ask for."""

    site: SiteTerms
    program: Program


_TERMS = TypeAdapter(Terms)


def terms_json(terms: Terms) -> bytes:
    """The file."""
    return _TERMS.dump_json(terms)


def read_terms(content: bytes) -> Terms:
    """What the file says. Raises ``BundleError``."""
    return parsed(_TERMS, content, TERMS)
