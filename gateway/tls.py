"""TLS contexts, which are handed to the drivers: version 1.2 or newer, both sides known by the fleet's authority."""

import ssl
from pathlib import Path
from typing import Literal

Profile = Literal["modern", "openadr2b"]

OPENADR2B_CIPHERS = "ECDHE+AESGCM:ECDHE+AES:AES128-SHA256:!aNULL:!eNULL:!SHA1:!AESCCM"
"""What the 2.0b profile asks for (TLS_RSA_WITH_AES_128_CBC_SHA256 and its kin with EC) after what is better."""


def client_context(*, ca: Path, certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """For a client that shows a certificate and trusts one authority only. ``key`` is in the same file by default.

    Raises ``OSError`` (``ssl.SSLError`` is one) where the files cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(certificate), None if key is None else str(key))
    return context


def server_context(*, ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """For a listener that takes clients without a certificate, and checks one where it is shown. Raises ``OSError``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(str(certificate), str(key))
    return context


def vtn_client_context(
    certificate: Path | None, key: Path | None, ca: Path | None, *, profile: Profile = "modern"
) -> ssl.SSLContext:
    """For a VEN that calls a VTN: mutual TLS where there is a certificate; without ``ca`` the system's authorities.

    Raises ``OSError`` (``ssl.SSLError`` is one) where the files cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=None if ca is None else str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if profile == "openadr2b":
        context.set_ciphers(OPENADR2B_CIPHERS)
    if certificate is not None:
        context.load_cert_chain(str(certificate), None if key is None else str(key))
    return context


def vtn_listener_context(
    certificate: Path, key: Path | None, ca: Path | None, *, profile: Profile = "modern"
) -> ssl.SSLContext:
    """For a VTN that VENs call. With ``ca`` each of them has to show a certificate of it. Raises ``OSError``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=None if ca is None else str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_NONE if ca is None else ssl.CERT_REQUIRED
    if profile == "openadr2b":
        context.set_ciphers(OPENADR2B_CIPHERS)
    context.load_cert_chain(str(certificate), None if key is None else str(key))
    return context


def pinned_context(ca_pem: bytes) -> ssl.SSLContext:
    """For a client that shows nothing and trusts this authority only. Raises ``ssl.SSLError``."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=ca_pem.decode("ascii", "replace"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def unverified_context() -> ssl.SSLContext:
    """For fetching what is checked by its fingerprint afterwards, and for nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
