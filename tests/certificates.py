"""Certificates for tests: an authority, and whom it vouches for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

NEW_YEAR = datetime(2030, 1, 1, tzinfo=UTC)
"""When the certificates of these tests begin; they last a year unless said otherwise."""

YEAR = timedelta(days=365)


def curve_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A key and its certificate."""

    key: Key
    certificate: x509.Certificate

    @property
    def key_pem(self) -> bytes:
        return self.encrypted_key_pem(None)

    def encrypted_key_pem(self, password: bytes | None) -> bytes:
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def vouch(
        self,
        name: str,
        *,
        key: Key | None = None,
        begins_at: datetime = NEW_YEAR,
        lasts: timedelta = YEAR,
        authority: bool = False,
        signs: bool = True,
        hosts: Sequence[str] = (),
        only_for: x509.ObjectIdentifier | None = None,
    ) -> "Identity":
        """A certificate by this authority, for a device (which may or may not sign), a server or another authority.

        With ``only_for`` its key may be used for that purpose alone.
        """
        held = key or curve_key()
        return Identity(
            key=held,
            certificate=_certificate(
                name,
                held,
                begins_at,
                lasts,
                issuer=self.certificate.subject,
                issuer_key=self.key,
                ca=authority,
                signs=signs,
                hosts=hosts,
                only_for=only_for,
            ),
        )


def authority(name: str = "authority", *, key: Key | None = None, begins_at: datetime = NEW_YEAR) -> Identity:
    """An authority that vouches for itself."""
    held = key or curve_key()
    subject = _name(name)
    certificate = _certificate(name, held, begins_at, YEAR, issuer=subject, issuer_key=held, ca=True, signs=True)
    return Identity(key=held, certificate=certificate)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(
    name: str,
    key: Key,
    begins_at: datetime,
    lasts: timedelta,
    *,
    issuer: x509.Name,
    issuer_key: Key,
    ca: bool,
    signs: bool,
    hosts: Sequence[str] = (),
    only_for: x509.ObjectIdentifier | None = None,
) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=not signs,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
    built = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins_at)
        .not_valid_after(begins_at + lasts)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if hosts:
        built = built.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    if only_for is not None:
        built = built.add_extension(x509.ExtendedKeyUsage([only_for]), critical=True)
    return built.sign(issuer_key, hashes.SHA256())


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
