"""Signed 2.0b messages that were changed by hand, or signed by hand in another way than ours."""

from base64 import b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree

from protocols.openadr2b import codec, model
from protocols.openadr2b.canonical import EXCLUSIVE
from protocols.openadr2b.certificate import Pinned, Trust, fingerprint
from protocols.openadr2b.names import DS, NSMAP
from protocols.openadr2b.signature import SignedMessage, Signer, Verifier, decode_signed, encode_signed
from protocols.replay import MemoryNonces, ReplayWindow
from protocols.xml import Element, parse
from tests.certificates import NEW_YEAR, Identity, authority

NOW = NEW_YEAR + timedelta(days=30, hours=12)
ROOT = authority()
VTN = ROOT.vouch("vtn")
FAKE = authority().vouch("vtn")
POLL = model.Poll(ven_id="ven-1")


def signer(identity: Identity = VTN) -> Signer:
    return Signer(key_pem=identity.key_pem, certificate_pem=identity.pem)


def verifier(trust: Trust | None = None) -> Verifier:
    return Verifier(trust or Pinned(fingerprint(VTN.der)), ReplayWindow(MemoryNonces()))


async def read(body: bytes, trust: Trust | None = None, *, now: datetime = NOW) -> SignedMessage:
    return await decode_signed(body, verifier(trust), now)


def changed(body: bytes, change: Callable[[Element], None]) -> bytes:
    """A message on which somebody laid hands who has no key."""
    root = parse(body)
    change(root)
    return codec.serialised(root)


def signed_by_hand(change: Callable[[Element], None], identity: Identity = VTN) -> bytes:
    """A message that its sender signs another way than we do: made ours, changed, and then digested and signed anew."""
    root = parse(encode_signed(POLL, signer(identity), NOW))
    change(root)
    for reference in root.iter(DS + "Reference"):
        target = reference.get("URI", "").lstrip("#")
        (element,) = root.xpath("//*[@Id=$id or @oadr:Id=$id]", id=target, namespaces=NSMAP) or [root]
        reference.find(DS + "DigestValue").text = b64encode(sha256(form(element, reference)).digest()).decode()
    info = root.find(f".//{DS}SignedInfo")
    root.find(f".//{DS}SignatureValue").text = b64encode(value(form(info, info), identity)).decode()
    return codec.serialised(root)


def form(element: Element, named: Element) -> bytes:
    exclusive = any(found.get("Algorithm") == EXCLUSIVE for found in named.iter())
    alone = etree.fromstring(etree.tostring(element, with_tail=False))
    return etree.tostring(alone, method="c14n", exclusive=exclusive)


def value(octets: bytes, identity: Identity) -> bytes:
    if isinstance(identity.key, rsa.RSAPrivateKey):
        return identity.key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    r, s = decode_dss_signature(identity.key.sign(octets, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def one(root: Element, path: str) -> Element:
    found = root.find(path, NSMAP)
    assert found is not None
    return found


def algorithm(path: str, name: str) -> Callable[[Element], None]:
    return lambda root: one(root, path).set("Algorithm", name)


def other_message(root: Element) -> None:
    one(root, ".//ei:venID").text = "ven-2"
