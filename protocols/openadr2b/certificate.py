"""Certificates of signed messages: their fingerprint as 2.0b writes it, and whom we trust to sign.

2.0b knows a party by the last ten bytes of the SHA-256 of its certificate (DER), written ``AA:BB:...``. A counterparty
is trusted by such a fingerprint (``Pinned``), or by an authority that vouches for it (``Authority``). Whether an
authority has revoked a certificate is not asked.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from protocols.errors import UntrustedCertificate

LONGEST_CHAIN = 4
"""Authorities between a signer and one that we know."""

UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)
"""What reading a certificate or its key raises where somebody else wrote it."""

_SHORT_BYTES = 10
_WHOLE_BYTES = 32


def fingerprint(der: bytes) -> str:
    """The fingerprint of a certificate, ``AA:BB:...``, ten bytes."""
    return sha256(der).digest()[-_SHORT_BYTES:].hex(":").upper()


class Trust(Protocol):
    """Decides whether a certificate may sign."""

    def check(self, chain: Sequence[bytes], now: datetime) -> x509.Certificate:
        """The signer's certificate, the first of ``chain`` (DER; what follows may vouch for it).

        Raises ``UntrustedCertificate``.
        """


class Pinned:
    """Trusts the certificates with these fingerprints; two of them while one replaces the other.

    A fingerprint is 2.0b's ten bytes or the whole SHA-256, in hexadecimal, with or without colons. Raises
    ``ValueError`` for anything else, or none.
    """

    def __init__(self, *fingerprints: str) -> None:
        if not fingerprints:
            raise ValueError("no fingerprint to trust")
        self._digests = tuple(_digest(text) for text in fingerprints)

    def check(self, chain: Sequence[bytes], now: datetime) -> x509.Certificate:
        digest = sha256(chain[0]).digest()
        if not any(digest.endswith(expected) for expected in self._digests):
            expected = " or ".join(digest[-_SHORT_BYTES:].hex(":").upper() for digest in self._digests)
            raise UntrustedCertificate(
                f"signed by the certificate {fingerprint(chain[0])}, but {expected} was expected: if the sender has a "
                "new certificate, have its fingerprint told by other means than this connection",
                signer=fingerprint(chain[0]),
            )
        return _valid(chain[0], now)


class Anybody:
    """Takes every certificate that is valid at the time. Whose it is must be compared afterwards."""

    def check(self, chain: Sequence[bytes], now: datetime) -> x509.Certificate:
        return _valid(chain[0], now)


class Authority:
    """Trusts every certificate that one of the authorities in a PEM file vouches for, directly or through others.

    Whose certificate it is must be compared afterwards. Raises ``ValueError`` for a file without certificates.
    """

    def __init__(self, ca_pem: bytes) -> None:
        self._store = Store(x509.load_pem_x509_certificates(ca_pem))

    def check(self, chain: Sequence[bytes], now: datetime) -> x509.Certificate:
        signer = _valid(chain[0], now)
        between = [_loaded(der) for der in chain[1:]]
        verifier = (
            PolicyBuilder()
            .store(self._store)
            .time(now)
            .max_chain_depth(LONGEST_CHAIN)
            .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=_SIGNER_POLICY)
            .build_client_verifier()
        )
        try:
            verifier.verify(signer, between)
        except (VerificationError, *UNREADABLE) as cause:
            raise UntrustedCertificate(
                f"no authority that we know vouches for the certificate {fingerprint(chain[0])} ({cause}): add its "
                "authority to our file, or pin its fingerprint",
                signer=fingerprint(chain[0]),
            ) from cause
        return signer


def _may_sign(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.digital_signature:
        raise ValueError("its key usage has no digital signature")


# OpenADR's certificates name a device, not a host: what the web asks of a certificate beyond that is not asked here.
_SIGNER_POLICY = ExtensionPolicy.permit_all().may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text.replace(":", " "))
    except ValueError as cause:
        raise ValueError(f"fingerprint {text!r} is not hexadecimal") from cause
    if len(digest) not in {_SHORT_BYTES, _WHOLE_BYTES}:
        raise ValueError(f"fingerprint {text!r} has {len(digest)} bytes, expected {_SHORT_BYTES} or {_WHOLE_BYTES}")
    return digest


def _loaded(der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
    except UNREADABLE as cause:
        raise UntrustedCertificate(f"a certificate that cannot be read: {cause}", signer=fingerprint(der)) from cause
    # The octet before an authority's signature counts its unused bits, of which it has none. Nothing else looks at it,
    # so that one certificate would have several fingerprints.
    if not der.endswith(b"\0" + certificate.signature):
        raise UntrustedCertificate("a certificate with a signature of uneven bits", signer=fingerprint(der))
    return certificate


def _valid(der: bytes, now: datetime) -> x509.Certificate:
    """The certificate, if it is valid now."""
    certificate = _loaded(der)
    begins_at, ends_at = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends_at:
        raise UntrustedCertificate(
            f"the certificate {fingerprint(der)} expired at {ends_at.isoformat()}: the sender needs a new one",
            signer=fingerprint(der),
        )
    if now < begins_at:
        raise UntrustedCertificate(
            f"the certificate {fingerprint(der)} is valid from {begins_at.isoformat()}, and our clock says "
            f"{now.isoformat()}: is it right?",
            signer=fingerprint(der),
        )
    return certificate
