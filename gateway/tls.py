"""TLS contexts, which are handed to the drivers: version 1.2 or newer, both sides known by an authority."""

import ssl
from pathlib import Path
from typing import Literal

Profile = Literal["modern", "openadr2b"]
"""``openadr2b`` also speaks the suites that OpenADR 2.0b demands, which nobody else takes any more."""

_OPENADR_2B = "ECDHE+AESGCM:ECDHE-ECDSA-AES128-SHA256:AES128-SHA256"
"""In OpenSSL's names: TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256 and TLS_RSA_WITH_AES_128_CBC_SHA256 are those that the
2.0b profile demands of everybody (security, TLS 1.2), after suites of the same version that are better."""


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


def vtn_client_context(
    certificate: Path | None, key: Path | None, ca: Path | None, *, profile: Profile = "modern"
) -> ssl.SSLContext:
    """For a VEN that calls its VTN. Without a certificate it shows none, without ``ca`` it trusts the system's.

    Raises ``OSError`` (``ssl.SSLError`` is one) where the files cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=None if ca is None else str(ca))
    if certificate is not None:
        context.load_cert_chain(str(certificate), None if key is None else str(key))
    return _with_profile(context, profile)


def listener_context(
    certificate: Path,
    key: Path | None,
    ca: Path | None,
    *,
    profile: Profile = "modern",
    demands_certificate: bool = True,
) -> ssl.SSLContext:
    """For a listener that VENs, or a VTN that pushes, call: both sides show a certificate.

    Without ``demands_certificate`` a caller may show none, for listeners behind a proxy that ends TLS; without ``ca``
    nobody is asked for one. Raises ``OSError``.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=None if ca is None else str(ca))
    if ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED if demands_certificate else ssl.CERT_OPTIONAL
    context.load_cert_chain(str(certificate), None if key is None else str(key))
    return _with_profile(context, profile)


def _with_profile(context: ssl.SSLContext, profile: Profile) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if profile == "openadr2b":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_OPENADR_2B)
    return context
