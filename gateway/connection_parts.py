"""What connections of every dialect are opened with: TLS, sessions, what a VEN offers to report."""

import ssl

import aiohttp

from gateway.config.connections import TlsSettings
from gateway.domain.fleet import Site
from gateway.tls import listener_context, vtn_client_context
from protocols.grid import ReportOffer

MIN_SAMPLING_S = 1.0
MAX_SAMPLING_S = 3600.0


def session(settings: TlsSettings) -> aiohttp.ClientSession:
    """A session whose calls show our certificate. Raises ``OSError`` where the files cannot be used."""
    context = vtn_client_context(settings.certificate, settings.key, settings.ca, profile=settings.tls)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


def listener(settings: TlsSettings) -> ssl.SSLContext | None:
    """TLS where we listen, ``None`` for plain HTTP. Raises ``OSError`` where the files cannot be used."""
    if settings.certificate is None:
        return None
    return listener_context(settings.certificate, settings.key, settings.ca, profile=settings.tls)


def report_offers(site: Site) -> tuple[ReportOffer, ...]:
    """What a VEN of ours offers to report: the site's real power."""
    return (ReportOffer(resource_id=site.site_id, min_sampling_s=MIN_SAMPLING_S, max_sampling_s=MAX_SAMPLING_S),)
