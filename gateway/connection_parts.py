"""What connections of every dialect are opened with: TLS, sessions, what a VEN offers to report."""

import ssl
from collections.abc import Sequence

import aiohttp

from gateway.config.connections import TlsSettings
from gateway.domain.fleet import Site
from gateway.tls import listener_context, vtn_client_context
from protocols.grid_report import ReportOffer, ReportQuantity

MIN_SAMPLING_S = 1.0
MAX_SAMPLING_S = 3600.0
HISTORY_S = 30 * 86400.0
"""How far back we offer to report. The record keeps every reading of the site for longer."""


def session(settings: TlsSettings) -> aiohttp.ClientSession:
    """A session whose calls show our certificate. Raises ``OSError`` where the files cannot be used."""
    context = vtn_client_context(settings.certificate, settings.key, settings.ca, profile=settings.tls)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


def listener(settings: TlsSettings) -> ssl.SSLContext | None:
    """TLS where we listen, ``None`` for plain HTTP. Raises ``OSError`` where the files cannot be used."""
    if settings.certificate is None:
        return None
    return listener_context(settings.certificate, settings.key, settings.ca, profile=settings.tls)


def report_offers(
    site: Site, quantities: Sequence[ReportQuantity] = (ReportQuantity.POWER,)
) -> tuple[ReportOffer, ...]:
    """What a VEN of ours offers to report of the site, as it passes and of the past."""
    return (
        ReportOffer(
            resource_id=site.site_id,
            min_sampling_s=MIN_SAMPLING_S,
            max_sampling_s=MAX_SAMPLING_S,
            quantities=tuple(quantities),
            history_s=HISTORY_S,
        ),
    )
