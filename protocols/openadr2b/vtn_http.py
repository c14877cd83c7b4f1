"""A VTN's services over simple HTTP: bounded bodies, who the caller is, and what HTTP says of each failure."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import unquote

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from protocols.errors import MessageError, MessageTooLarge, UntrustedCertificate
from protocols.openadr2b.certificate import UNREADABLE
from protocols.openadr2b.exchange import bounded_body, shown_certificate
from protocols.openadr2b.vtn_parties import ANYBODY, Caller, plain_fingerprint
from protocols.party_store import StoreUnavailable

PATH = "/OpenADR2/Simple/2.0b"

Answer = Callable[[str, bytes, Caller], Awaitable[bytes]]
"""``(service, body, caller) -> answer's body``; raises ``MessageError`` and ``StoreUnavailable``."""

_RETRY_AFTER_S = "5"
_LONGEST_HEADER = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeader:
    """A header in which a proxy that ends TLS for us tells the certificate of who called it.

    It holds the certificate as PEM, URL-encoded (nginx: ``$ssl_client_escaped_cert``), or its fingerprint. It is read
    only on connections from ``proxies`` (addresses or networks): anybody else could write it. The proxy must overwrite
    what its caller sent under this name.
    """

    name: str
    proxies: tuple[str, ...]

    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Raises ``ValueError`` for what is neither an address nor a network."""
        return tuple(ip_network(text) for text in self.proxies)


def routes(services: Sequence[str], answer: Answer, proxy: ProxyHeader | None) -> list[web.RouteDef]:
    """One POST route a service. Raises ``ValueError`` for a proxy's address that is none."""
    networks = () if proxy is None else proxy.networks()

    def over_http(service: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                caller = _caller(request, proxy, networks)
                body = await answer(service, await bounded_body(request), caller)
            except MessageTooLarge as fault:
                return web.Response(status=413, text=f"{fault}\n")
            except UntrustedCertificate as fault:
                return web.Response(status=403, text=f"{fault}\n")
            except MessageError as fault:
                return web.Response(status=400, text=f"{fault}\n")
            except StoreUnavailable:
                # What the store says of itself is not for the network.
                text = "nothing can be stored just now: send the message again\n"
                return web.Response(status=503, text=text, headers={"Retry-After": _RETRY_AFTER_S})
            return web.Response(body=body, content_type="application/xml")

        return handle

    return [web.post(f"{PATH}/{service}", over_http(service)) for service in services]


def _caller(request: web.Request, proxy: ProxyHeader | None, networks: Sequence[IPv4Network | IPv6Network]) -> Caller:
    transport = request.transport
    if transport is None:
        return ANYBODY
    if proxy is not None and _is_proxy(transport.get_extra_info("peername"), networks):
        # From a proxy the TLS peer is the proxy itself: without the header nobody is proven.
        return told_caller(request.headers.get(proxy.name, ""))
    der = shown_certificate(request)
    return Caller.with_certificate(der) if der else ANYBODY


def _is_proxy(peer: object, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    if not isinstance(peer, tuple) or not peer:
        return False
    address = ip_address(str(peer[0]).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def told_caller(value: str) -> Caller:
    """Whom a trusted header tells of. Raises ``UntrustedCertificate`` for a value that is no certificate."""
    if not value:
        return ANYBODY
    if len(value) > _LONGEST_HEADER:
        raise UntrustedCertificate(f"a certificate of {len(value)} characters in the proxy's header")
    if "BEGIN" not in value:
        try:
            return Caller(fingerprint=plain_fingerprint(value))
        except ValueError as cause:
            raise UntrustedCertificate(f"the proxy's header: {cause}") from cause
    try:
        certificate = x509.load_pem_x509_certificate(unquote(value).replace("\t", "\n").encode())
    except UNREADABLE as cause:
        raise UntrustedCertificate("the proxy's header holds a certificate that cannot be read") from cause
    return Caller.with_certificate(certificate.public_bytes(Encoding.DER))
