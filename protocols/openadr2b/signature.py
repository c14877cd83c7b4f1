"""Signed messages of 2.0b's high security: an XML signature over the message and over a stamp against replay.

The ds:Signature stands before the oadrSignedObject and refers to two elements: that object, by its oadr:Id, and the
ds:Object (or what is in it) that holds dsp:ReplayProtect, a time and a nonce.

What verifies here knows this one form and takes no other. References are held against the places where the two elements
must stand, so that a signed element elsewhere in the document counts for nothing; and what is decoded is read from the
very text that was digested. The certificate comes with the message, or else from the TLS connection.
"""

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from secrets import token_hex

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from lxml import etree

from protocols.errors import MalformedMessage, NotAuthentic, UntrustedCertificate
from protocols.iso8601 import write_date_time
from protocols.openadr2b.canonical import INCLUSIVE, Method, canonical, check_cost
from protocols.openadr2b.certificate import UNREADABLE, Trust, fingerprint
from protocols.openadr2b.codec import Message, decode_element, encode_element, serialised
from protocols.openadr2b.names import DS, DSP, OADR
from protocols.openadr2b.signature_parts import (
    ECDSA_SHA256,
    MOST_CERTIFICATES,
    RSA_SHA256,
    SHA256,
    Parts,
    Reference,
    certificates,
    decoded,
    read_signed_info,
    read_stamp,
    signed_info_method,
    signed_object_id,
    signed_places,
    split,
)
from protocols.replay import ReplayWindow, Stamp
from protocols.xml import Element, line_of, parse

LEAST_RSA_BITS = 2048
MOST_RSA_BITS = 8192
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

_METHOD = Method(algorithm=INCLUSIVE)
_OBJECT_ID = "oadrSignedObject"
_STAMP_ID = "prop"
_DS = {"ds": DS[1:-1]}
_DSP = {"dsp": DSP[1:-1]}
_HASH = hashes.SHA256()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """A message's element as it was signed, and by whom and when."""

    element: Element
    stamp: Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMessage:
    """A message, and the fingerprint of the certificate that signed it: whose that is, the caller must know."""

    message: Message
    signer: str
    signed_at: datetime


class Signer:
    """Signs with one key, which is loaded once: to load an RSA key takes longer than fifty signatures.

    ``certificate_pem`` begins with the key's own certificate; authorities that vouch for it may follow and are sent.
    Raises ``ValueError`` for a key or a certificate that cannot be used, or where one does not belong to the other.
    """

    def __init__(self, *, key_pem: bytes, certificate_pem: bytes, password: bytes | None = None) -> None:
        try:
            key = load_pem_private_key(key_pem, password)
            chain = x509.load_pem_x509_certificates(certificate_pem)
        except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
            raise ValueError(f"a key or certificate for signing that cannot be read: {cause}") from cause
        if len(chain) > MOST_CERTIFICATES:
            raise ValueError(
                f"{len(chain)} certificates to send with a signature, at most {MOST_CERTIFICATES} are read"
            )
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ValueError(f"a key of the kind {type(key).__name__}: 2.0b signs with RSA or an elliptic curve")
        if chain[0].public_key() != key.public_key():
            raise ValueError("the key does not belong to the first certificate")
        _check_strength(key.public_key())
        self._key = key
        self._algorithm = RSA_SHA256 if isinstance(key, rsa.RSAPrivateKey) else ECDSA_SHA256
        self._chain = [b64encode(certificate.public_bytes(Encoding.DER)).decode() for certificate in chain]
        self.fingerprint = fingerprint(chain[0].public_bytes(Encoding.DER))
        self.expires_at = chain[0].not_valid_after_utc

    def sign(self, payload: Element, now: datetime) -> None:
        """Put a signature into an oadrPayload that has none."""
        (signed_object,) = payload
        signed_object.set(OADR + "Id", _OBJECT_ID)
        signature = etree.Element(DS + "Signature", nsmap=_DS)
        payload.insert(0, signature)
        info = etree.SubElement(signature, DS + "SignedInfo")
        value = etree.SubElement(signature, DS + "SignatureValue")
        data = etree.SubElement(etree.SubElement(signature, DS + "KeyInfo"), DS + "X509Data")
        for certificate in self._chain:
            etree.SubElement(data, DS + "X509Certificate").text = certificate
        stamped = _stamp(signature, now)
        etree.SubElement(info, DS + "CanonicalizationMethod", Algorithm=INCLUSIVE)
        etree.SubElement(info, DS + "SignatureMethod", Algorithm=self._algorithm)
        _refer(info, _OBJECT_ID, signed_object)
        _refer(info, _STAMP_ID, stamped)
        value.text = b64encode(self._signature(canonical(info, _METHOD).octets)).decode()

    def _signature(self, octets: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(octets, padding.PKCS1v15(), _HASH)
        width = (self._key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(self._key.sign(octets, ec.ECDSA(_HASH)))
        return r.to_bytes(width, "big") + s.to_bytes(width, "big")


class Verifier:
    """Takes messages that somebody we trust has signed, within the window, once."""

    def __init__(self, trust: Trust, window: ReplayWindow) -> None:
        self._trust = trust
        self.window = window

    def prove(self, payload: Element, now: datetime, tls_certificate: bytes | None = None) -> Proven:
        """What was signed in a payload; whether it was taken before is asked of ``window`` afterwards.

        ``tls_certificate`` (DER) is the peer's, where the connection has one: the message must be signed with it.
        Raises ``NotAuthentic``, and ``MessageTooLarge`` for what would take long to verify.
        """
        check_cost(payload)
        parts = split(payload)
        chain = certificates(parts.key_info) or (() if tls_certificate is None else (tls_certificate,))
        if not chain:
            raise NotAuthentic(
                "a signature without ds:X509Certificate: have the sender put its certificate into ds:KeyInfo"
            )
        if tls_certificate is not None and chain[0] != tls_certificate:
            raise UntrustedCertificate(
                f"signed by the certificate {fingerprint(chain[0])}, but the TLS connection is that of "
                f"{fingerprint(tls_certificate)}: both must be the sender's",
                signer=fingerprint(chain[0]),
            )
        signer = self._trust.check(chain, now)
        name = fingerprint(chain[0])
        to_object, to_stamp, stamped = _references(parts, signer, name)
        signed_at, nonce = read_stamp(_digested(to_stamp, stamped, "dsp:ReplayProtect", name))
        stamp = Stamp(signer=name, signed_at=signed_at, nonce=nonce)
        # Before the message, which may be large: who caught an old signature makes us work for nothing no longer.
        self.window.check(stamp, now)
        signed_object = _digested(to_object, parts.signed_object, "oadr:oadrSignedObject", name)
        if len(signed_object) != 1:
            raise MalformedMessage(
                f"oadr:oadrSignedObject holds {len(signed_object)} messages, expected one", line=line_of(signed_object)
            )
        return Proven(element=signed_object[0], stamp=stamp)


def encode_signed(message: Message, signer: Signer, now: datetime) -> bytes:
    """The message in a signed oadrPayload. Raises ``ValueError`` for what the schema has no room for."""
    payload = encode_element(message)
    signer.sign(payload, now)
    return serialised(payload)


async def decode_signed(
    body: bytes, verifier: Verifier, now: datetime, *, tls_certificate: bytes | None = None
) -> SignedMessage:
    """The message in a signed payload, which counts once. Raises ``MessageError``, most often ``NotAuthentic``."""
    proven = verifier.prove(parse(body), now, tls_certificate)
    message = decode_element(proven.element)
    await verifier.window.admit(proven.stamp, now)
    return SignedMessage(message=message, signer=proven.stamp.signer, signed_at=proven.stamp.signed_at)


def _stamp(signature: Element, now: datetime) -> Element:
    """A ds:Object with time and nonce, at the end of a signature."""
    stamped = etree.SubElement(signature, DS + "Object", Id=_STAMP_ID)
    properties = etree.SubElement(stamped, DS + "SignatureProperties")
    # The target is the signature; an empty reference is the document that it stands in.
    one = etree.SubElement(properties, DS + "SignatureProperty", Target="")
    protect = etree.SubElement(one, DSP + "ReplayProtect", nsmap=_DSP)
    etree.SubElement(protect, DSP + "timestamp").text = write_date_time(now)
    etree.SubElement(protect, DSP + "nonce").text = token_hex(16)
    return stamped


def _refer(info: Element, target: str, element: Element) -> None:
    reference = etree.SubElement(info, DS + "Reference", URI=f"#{target}")
    transforms = etree.SubElement(reference, DS + "Transforms")
    etree.SubElement(transforms, DS + "Transform", Algorithm=INCLUSIVE)
    etree.SubElement(reference, DS + "DigestMethod", Algorithm=SHA256)
    digest = sha256(canonical(element, _METHOD).octets).digest()
    etree.SubElement(reference, DS + "DigestValue").text = b64encode(digest).decode()


def _references(parts: Parts, signer: x509.Certificate, name: str) -> tuple[Reference, Reference, Element]:
    """What the signer said of the oadrSignedObject and of the stamp, and the element that holds the stamp."""
    signed_info = canonical(parts.signed_info, signed_info_method(parts.signed_info))
    info = read_signed_info(signed_info.element)
    _check_value(info.algorithm, decoded(parts.value), signed_info.octets, signer, name)
    object_id = signed_object_id(parts.signed_object)
    places = signed_places(parts)
    ids = [object_id, *(place_id for place_id, _ in places)]
    if len(set(ids)) != len(ids):
        raise NotAuthentic("two elements with one id, so that it is not clear which of them is signed", signer=name)
    targets = {reference.target: reference for reference in info.references}
    if object_id not in targets:
        raise NotAuthentic(
            f"the signature refers to {' and '.join(map(repr, targets))}, and to no oadr:oadrSignedObject with the "
            f"oadr:Id {object_id!r}: the message itself is not signed",
            signer=name,
        )
    stamped = [(targets[place_id], element) for place_id, element in places if place_id in targets]
    if len(stamped) != 1 or stamped[0][0].enveloped:
        raise NotAuthentic("dsp:ReplayProtect is not signed, or twice, or not where it stands", signer=name)
    return targets[object_id], *stamped[0]


def _digested(reference: Reference, element: Element, what: str, name: str) -> Element:
    """An element as it was signed."""
    found = canonical(element, reference.method)
    if not compare_digest(sha256(found.octets).digest(), reference.digest):
        raise NotAuthentic(
            f"{what} is not what {name} signed: it was changed on the way (also a proxy that formats XML anew does "
            "that), or made canonical otherwise than it says",
            signer=name,
        )
    return found.element


def _check_value(algorithm: str, value: bytes, octets: bytes, signer: x509.Certificate, name: str) -> None:
    """Raise ``NotAuthentic`` where ``value`` is not the signature of ``octets`` by the certificate's key."""
    try:
        key = signer.public_key()
        if isinstance(key, rsa.RSAPublicKey) and algorithm == RSA_SHA256:
            _check_strength(key)
            key.verify(value, octets, padding.PKCS1v15(), _HASH)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm == ECDSA_SHA256:
            _check_strength(key)
            width = (key.curve.key_size + 7) // 8
            if len(value) != 2 * width:
                raise InvalidSignature
            r, s = int.from_bytes(value[:width], "big"), int.from_bytes(value[width:], "big")
            key.verify(encode_dss_signature(r, s), octets, ec.ECDSA(_HASH))
        else:
            raise NotAuthentic(f"signed by {algorithm!r}, for which the certificate {name} has no key", signer=name)
    except InvalidSignature as cause:
        raise NotAuthentic(
            f"the signature is not one by the certificate {name}: signed with another key, or ds:SignedInfo was "
            "changed on the way or made canonical otherwise than it says",
            signer=name,
        ) from cause
    except UNREADABLE as cause:
        raise UntrustedCertificate(
            f"the certificate {name} has a key that cannot be used: {cause}", signer=name
        ) from cause


def _check_strength(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> None:
    """Raise ``ValueError`` for a key that is too weak, or so large that it costs too much."""
    if isinstance(key, rsa.RSAPublicKey):
        if not LEAST_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
            raise ValueError(f"an RSA key of {key.key_size} bits, expected {LEAST_RSA_BITS} to {MOST_RSA_BITS}")
    elif not isinstance(key.curve, CURVES):
        raise ValueError(f"the curve {key.curve.name}, expected one of {', '.join(curve.name for curve in CURVES)}")
