"""The fleet's own certificate authority: who may connect to NATS, and as whom.

Everything is elliptic (P-256) and of bounded validity. Keys lie in files that only their user reads; a host's key never
leaves the host, only its signing request does. An agent's name in its certificate (``subject_of_agent``) is what the
NATS server maps to its permissions.
"""

import hashlib
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hardware.errors import EnrolmentRefused, HardwareError

CA_DAYS = 3650
MOST_CSR_BYTES = 4096
CLOCK_SKEW = timedelta(minutes=5)
"""A host's clock may be behind the gateway's by so much and still take a fresh certificate for valid."""

RENEW_AFTER_FRACTION = 2 / 3
"""A certificate is renewed once so much of its life is over: a third is left for trouble."""


def subject_of_agent(site_id: str, host_id: str, generation: int) -> str:
    """An agent's name as the NATS server reads it.

    ``generation`` rises with each enrolment of the host: the certificates of earlier ones name nobody any more.
    """
    return f"CN={host_id},OU=agent-{generation},O={site_id}"


def subject_of_gateway(site_id: str) -> str:
    """The gateway's name as the NATS server reads it."""
    return f"CN=gateway,OU=gateway,O={site_id}"


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, not encrypted: the file's mode guards it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_request(key: ec.EllipticCurvePrivateKey, host_id: str) -> bytes:
    """A signing request as PEM: it proves that whoever sends it has the key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host_id)])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def fingerprint(certificate_pem: bytes) -> str:
    """SHA-256 of a certificate, in hexadecimal. Raises ``ValueError`` for anything else."""
    der = x509.load_pem_x509_certificate(certificate_pem).public_bytes(serialization.Encoding.DER)
    return hashlib.sha256(der).hexdigest()


def validity(certificate_pem: bytes) -> tuple[datetime, datetime]:
    """From when to when a certificate is valid. Raises ``ValueError`` for anything else."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def is_renewal_due(certificate_pem: bytes, now: datetime) -> bool:
    """Whether a certificate is near its end."""
    from_at, to_at = validity(certificate_pem)
    return now >= from_at + RENEW_AFTER_FRACTION * (to_at - from_at)


def write_private(path: Path, content: bytes) -> None:
    """Put a file in place whole or not at all, for its user's eyes only. Raises ``OSError``."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    # Else a power cut may bring back what stood there before, such as a token that was not used yet.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class FleetCa:
    """The authority in a folder; made there at the first use.

    Raises ``OSError`` where the folder cannot be used, and ``HardwareError`` where what is in it does not fit.
    """

    def __init__(self, folder: Path, *, site_id: str, now: datetime) -> None:
        self._site_id = site_id
        key_path, self.certificate_path = folder / "ca.key", folder / "ca.pem"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.certificate_path.exists():
            self._key = new_key()
            write_private(key_path, key_bytes(self._key))
            name = _name("gridgate fleet", "authority", site_id)
            builder = _builder(name, name, self._key.public_key(), now, CA_DAYS)
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            builder = builder.add_extension(_usage(signs=True), critical=True)
            write_private(self.certificate_path, _pem(builder.sign(self._key, hashes.SHA256())))
        self.certificate_pem = self.certificate_path.read_bytes()
        try:
            self._certificate = x509.load_pem_x509_certificate(self.certificate_pem)
            loaded = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm, FileNotFoundError) as cause:
            raise _unusable(folder, "cannot be read") from cause
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or self._certificate.public_key() != loaded.public_key():
            raise _unusable(folder, "do not belong together")
        self._key = loaded

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate."""
        return fingerprint(self.certificate_pem)

    def sign_agent(self, csr_pem: bytes, *, host_id: str, generation: int, now: datetime, days: int) -> bytes:
        """A certificate for an agent's key. Raises ``EnrolmentRefused`` for what is no request of ours."""
        return self._sign_client(
            _public_key(csr_pem), _name(host_id, f"agent-{generation}", self._site_id), now=now, days=days
        )

    def keep_gateway(self, folder: Path, *, now: datetime, days: int) -> None:
        """Have ``gateway.pem`` and ``gateway.key`` in the folder, valid for some time yet."""
        path = folder / "gateway.pem"
        name = _name("gateway", "gateway", self._site_id)
        if path.exists() and self._stands(path.read_bytes(), name, now):
            return
        key = new_key()
        certificate = self._sign_client(key.public_key(), name, now=now, days=days)
        write_private(folder / "gateway.key", key_bytes(key))
        write_private(path, certificate)

    def keep_server(self, folder: Path, *, names: Sequence[str], now: datetime, days: int) -> bool:
        """Have ``server.pem`` and ``server.key`` for these host names and addresses; whether they are new."""
        path = folder / "server.pem"
        name = _name("gridgate fleet server", "server", self._site_id)
        if path.exists():
            found = path.read_bytes()
            if self._stands(found, name, now) and _names_in(found) == set(names):
                return False
        key = new_key()
        builder = _builder(
            name,
            self._certificate.subject,
            key.public_key(),
            now,
            days,
        )
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        certificate = _pem(self._finish(builder, usages))
        write_private(folder / "server.key", key_bytes(key))
        # With the authority's own behind it: whoever has its fingerprint can check the chain.
        write_private(path, certificate + self.certificate_pem)
        return True

    def _stands(self, certificate_pem: bytes, name: x509.Name, now: datetime) -> bool:
        """Whether this is a certificate of ours for the name, with time left."""
        try:
            found = x509.load_pem_x509_certificate(certificate_pem)
            found.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return found.subject == name and not is_renewal_due(certificate_pem, now)

    def _sign_client(self, key: ec.EllipticCurvePublicKey, name: x509.Name, *, now: datetime, days: int) -> bytes:
        builder = _builder(name, self._certificate.subject, key, now, days)
        return _pem(self._finish(builder, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])))

    def _finish(self, builder: x509.CertificateBuilder, usages: x509.ExtendedKeyUsage) -> x509.Certificate:
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        builder = builder.add_extension(usages, critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())


def _unusable(folder: Path, why: str) -> HardwareError:
    return HardwareError(
        f"ca.pem and ca.key in {folder} {why}",
        cure="put both back from one backup; without one remove both, and enrol every host again",
    )


def _public_key(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    if len(csr_pem) > MOST_CSR_BYTES:
        raise EnrolmentRefused(f"a signing request of over {MOST_CSR_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
        valid = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise EnrolmentRefused("this is no signing request") from cause
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1) or not valid:
        raise EnrolmentRefused("a signing request has a P-256 key and is signed by it")
    return key


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common: str, unit: str, organization: str) -> x509.Name:
    # In this order, since it is written the other way round: CN=...,OU=...,O=...
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_in(certificate_pem: bytes) -> set[str]:
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
