"""The host's side of enrolment: its key is made here, the token says whom to trust, renewals come in time."""

import ssl
from datetime import datetime

import aiohttp
import structlog
from pydantic import ValidationError

from gateway.http.enrol import AUTHORITY, CERTIFICATE, MOST_BYTES, Granted, Refused
from gateway.tls import client_context, pinned_context, unverified_context
from hardware.errors import EnrolmentRefused
from hardware.passport import Membership, Passport, Token, check_authority

log = structlog.get_logger()

TIMEOUT = aiohttp.ClientTimeout(total=20.0)
MOST_ANSWER_BYTES = 256 * 1024


async def enrol(passport: Passport, token: Token, *, host_id: str) -> Membership:
    """Get this host its first certificate. Raises ``EnrolmentRefused``, which names the cure, and ``OSError``."""
    if token.host_id != host_id:
        raise EnrolmentRefused(
            f"the token is for host {token.host_id!r}, and this is {host_id!r}",
            cure=f"run `gridgate asset enrol {host_id}` on the gateway, or set host_id in [agent] here",
        )
    ca_pem = await _exchange("GET", token.url + AUTHORITY, unverified_context())
    # Only from here on the secret is said: to whoever has a certificate of the authority that the token names.
    check_authority(ca_pem, token)
    key_pem, csr_pem = passport.request(host_id)
    body = {"host_id": host_id, "csr": csr_pem.decode(), "secret": token.secret}
    granted = _granted(await _exchange("POST", token.url + CERTIFICATE, pinned_context(ca_pem), body))
    return _keep(passport, key_pem, granted, host_id=host_id, url=token.url)


async def renew(passport: Passport, membership: Membership) -> None:
    """Get a new key certified by the present certificate. Raises ``EnrolmentRefused`` and ``OSError``."""
    key_pem, csr_pem = passport.request(membership.host_id)
    body = {"host_id": membership.host_id, "csr": csr_pem.decode()}
    context = client_context(ca=passport.ca_path, certificate=passport.certificate_path)
    granted = _granted(await _exchange("POST", membership.url + CERTIFICATE, context, body))
    _keep(passport, key_pem, granted, host_id=membership.host_id, url=membership.url)


async def keep_valid(passport: Passport, membership: Membership, now: datetime) -> bool:
    """Renew the certificate if it is near its end; whether there is a new one. Says in the log what goes wrong."""
    try:
        if not passport.is_renewal_due(now):
            return False
        await renew(passport, membership)
    except (EnrolmentRefused, OSError, ValueError) as fault:
        log.warning("certificate_not_renewed", host_id=membership.host_id, reason=str(fault))
        return False
    log.info("certificate_renewed", host_id=membership.host_id)
    return True


def _keep(passport: Passport, key_pem: bytes, granted: Granted, *, host_id: str, url: str) -> Membership:
    membership = Membership(host_id=host_id, site_id=granted.site_id, servers=granted.servers, url=url)
    passport.keep(
        key_pem=key_pem,
        certificate_pem=granted.certificate.encode(),
        ca_pem=granted.authority.encode(),
        membership=membership,
    )
    return membership


def _granted(body: bytes) -> Granted:
    try:
        return Granted.model_validate_json(body)
    except ValidationError as cause:
        raise EnrolmentRefused("the answer is no certificate: what answers there is no gateway of this kind") from cause


async def _exchange(method: str, url: str, context: ssl.SSLContext, body: dict[str, str] | None = None) -> bytes:
    """The body of a good answer. Raises ``EnrolmentRefused``."""
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT, read_bufsize=MOST_BYTES) as session,
            session.request(method, url, json=body, ssl=context, allow_redirects=False) as answer,
        ):
            content = await answer.content.read(MOST_ANSWER_BYTES)
            while chunk := await answer.content.read(MOST_ANSWER_BYTES - len(content)):
                content += chunk
            if answer.status == 200:
                return content
            raise EnrolmentRefused(_reason(content, answer.status))
    except aiohttp.ClientConnectorCertificateError as cause:
        raise EnrolmentRefused(
            f"the certificate at {url} cannot be trusted: {cause.certificate_error}",
            cure="set this host's clock and the gateway's (a certificate is not valid yet, or not any more); where a"
            " name does not fit, set enrol_url on the gateway to the name that hosts use",
        ) from cause
    except (aiohttp.ClientError, TimeoutError, OSError) as cause:
        raise EnrolmentRefused(
            f"{url} cannot be reached: {cause or 'no answer in time'}",
            cure="see that the gateway runs with enrol_listen set, and that this host may reach that port",
        ) from cause


def _reason(content: bytes, status: int) -> str:
    try:
        told = Refused.model_validate_json(content)
    except ValidationError:
        return f"the gateway answers with status {status}"
    return told.error
