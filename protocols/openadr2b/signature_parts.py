"""The parts of a ds:Signature as 2.0b uses it, read strictly: what is not of this one form is refused."""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree

from protocols.errors import NotAuthentic
from protocols.openadr2b.canonical import INCLUSIVE, Method, read_method
from protocols.openadr2b.names import DS, DSP, NSMAP, OADR, readable
from protocols.xml import Element, line_of

RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
ECDSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
"""Removes the signature from what it signs: nothing, where ours stands, but some stacks name it."""

MOST_CERTIFICATES = 4
"""In one message: its signer's and the authorities between it and one that we know."""

LONGEST_NONCE = 256

_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,12})?(Z|[+-]\d{2}:\d{2})?", re.ASCII)
_SIGNATURES = etree.XPath("count(//ds:Signature)", namespaces=NSMAP)
_DEFAULT = Method(algorithm=INCLUSIVE)
"""What XML Signature prescribes where a reference names no canonicalisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The elements of a signed payload, each at the one place where it may stand."""

    signed_info: Element
    value: Element
    key_info: Element | None
    stamped: Element
    signed_object: Element


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a signature says about one element: its id, how it is made canonical, and its SHA-256."""

    target: str
    method: Method
    enveloped: bool
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedInfo:
    """What is signed: by which algorithm, and the references in their order."""

    algorithm: str
    references: tuple[Reference, Reference]


def split(payload: Element) -> Parts:
    """The parts of a signed oadrPayload. Raises ``NotAuthentic`` for one that is not signed, or signed otherwise."""
    if payload.tag != OADR + "oadrPayload" or [child.tag for child in payload] == [OADR + "oadrSignedObject"]:
        raise NotAuthentic(
            f"{readable(payload.tag)} without a ds:Signature, and only signed messages are taken here: have the sender "
            "sign, or do without signatures on both sides"
        )
    signature, signed_object = _children(payload, DS + "Signature", OADR + "oadrSignedObject")
    if _SIGNATURES(payload) != 1.0:
        raise NotAuthentic("more than one ds:Signature")
    optional = () if signature.find(DS + "KeyInfo") is None else (DS + "KeyInfo",)
    signed_info, value, *key_info, stamped = _children(
        signature, DS + "SignedInfo", DS + "SignatureValue", *optional, DS + "Object"
    )
    return Parts(
        signed_info=signed_info,
        value=value,
        key_info=key_info[0] if key_info else None,
        stamped=stamped,
        signed_object=signed_object,
    )


def signed_info_method(signed_info: Element) -> Method:
    """How a ds:SignedInfo is made canonical."""
    first = signed_info.find(DS + "CanonicalizationMethod")
    if first is None:
        raise NotAuthentic("ds:SignedInfo names no ds:CanonicalizationMethod", line=line_of(signed_info))
    return read_method(first)


def read_signed_info(element: Element) -> SignedInfo:
    """A ds:SignedInfo with two references. Raises ``NotAuthentic``."""
    _, method, first, second = _children(
        element, DS + "CanonicalizationMethod", DS + "SignatureMethod", DS + "Reference", DS + "Reference"
    )
    algorithm = _algorithm(method, RSA_SHA256, ECDSA_SHA256)
    return SignedInfo(algorithm=algorithm, references=(_reference(first), _reference(second)))


def signed_places(parts: Parts) -> tuple[tuple[str, Element], ...]:
    """The ids under which a signature may refer to the stamp, and the elements that they name there."""
    properties = parts.stamped.find(DS + "SignatureProperties")
    held = [] if properties is None else [properties, *properties.findall(DS + "SignatureProperty")]
    return tuple((found.get("Id", ""), found) for found in (parts.stamped, *held) if found.get("Id"))


def signed_object_id(signed_object: Element) -> str:
    """The id of an oadrSignedObject: oadr:Id by the schema; some stacks leave the namespace out."""
    return signed_object.get(OADR + "Id") or signed_object.get("Id") or ""


def certificates(key_info: Element | None) -> tuple[bytes, ...]:
    """The certificates (DER) in a ds:KeyInfo, the signer's first; none where there are none."""
    found = [] if key_info is None else key_info.findall(f"{DS}X509Data/{DS}X509Certificate")
    if len(found) > MOST_CERTIFICATES:
        raise NotAuthentic(f"{len(found)} certificates, more than the {MOST_CERTIFICATES} that we read")
    return tuple(decoded(element) for element in found)


def read_stamp(element: Element) -> tuple[datetime, str]:
    """Time and nonce of the one dsp:ReplayProtect in an element. Raises ``NotAuthentic``."""
    found = list(element.iter(DSP + "ReplayProtect"))
    if len(found) != 1:
        raise NotAuthentic(f"{len(found)} dsp:ReplayProtect in what was signed, expected one")
    timestamp, nonce = _children(found[0], DSP + "timestamp", DSP + "nonce")
    text = nonce.text or ""
    if not 0 < len(text) <= LONGEST_NONCE:
        raise NotAuthentic(f"a nonce of {len(text)} characters, expected 1 to {LONGEST_NONCE}", line=line_of(nonce))
    return _instant(timestamp), text


def decoded(element: Element) -> bytes:
    """The octets of base64 text between blanks, in the one way of writing them. Raises ``NotAuthentic``."""
    text = "".join((element.text or "").split())
    try:
        octets = b64decode(text, validate=True)
    except ValueError:
        octets = b""
    # Unused bits of the last character would let other text pass for the same octets.
    if not octets or b64encode(octets).decode() != text:
        raise NotAuthentic(f"{readable(element.tag)} is not base64", line=line_of(element))
    return octets


def _reference(element: Element) -> Reference:
    optional = () if element.find(DS + "Transforms") is None else (DS + "Transforms",)
    *transforms, digest_method, digest_value = _children(element, *optional, DS + "DigestMethod", DS + "DigestValue")
    _algorithm(digest_method, SHA256)
    uri = element.get("URI", "")
    if not uri.startswith("#") or len(uri) < 2 or "(" in uri:
        raise NotAuthentic(
            f"ds:Reference {uri!r}, expected # and the id of oadr:oadrSignedObject or ds:Object", line=line_of(element)
        )
    method, enveloped = _transforms(transforms[0] if transforms else None)
    return Reference(target=uri[1:], method=method, enveloped=enveloped, digest=decoded(digest_value))


def _transforms(element: Element | None) -> tuple[Method, bool]:
    """At most the enveloped transform, then at most one canonicalisation."""
    steps = [] if element is None else list(element)
    enveloped = bool(steps) and steps[0].get("Algorithm") == ENVELOPED and len(steps[0]) == 0
    if enveloped:
        del steps[0]
    if len(steps) > 1 or any(step.tag != DS + "Transform" for step in steps):
        assert element is not None  # noqa: S101 - else there were no steps
        raise NotAuthentic("ds:Transforms with more than a canonicalisation", line=line_of(element))
    return (read_method(steps[0]) if steps else _DEFAULT), enveloped


def _algorithm(element: Element, *accepted: str) -> str:
    algorithm = element.get("Algorithm", "")
    if algorithm not in accepted or len(element) > 0:
        raise NotAuthentic(
            f"{readable(element.tag)} {algorithm!r}, of which we accept {' and '.join(accepted)}", line=line_of(element)
        )
    return algorithm


def _children(parent: Element, *tags: str) -> list[Element]:
    """The children of an element, which must be these."""
    children = list(parent)
    if [child.tag for child in children] != list(tags):
        raise NotAuthentic(
            f"{readable(parent.tag)} holds {', '.join(readable(child.tag) for child in children[:8]) or 'nothing'}, "
            f"expected {', '.join(map(readable, tags))}",
            line=line_of(parent),
        )
    return children


def _instant(element: Element) -> datetime:
    text = (element.text or "").strip()
    try:
        if _INSTANT.fullmatch(text) is None:
            raise ValueError(text)
        value = datetime.fromisoformat(text)
        # 2.0b speaks UTC: a time without a zone is one.
        return value.astimezone(UTC) if value.tzinfo is not None else value.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as cause:
        raise NotAuthentic(f"dsp:timestamp {text[:40]!r} is no instant", line=line_of(element)) from cause
