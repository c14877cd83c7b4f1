"""Signatures between us and others: xmlsec1 and openleadr verify ours, and we verify theirs."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from lxml import etree
from openleadr import messaging
from openleadr.utils import certificate_fingerprint

from protocols.errors import NotAuthentic
from protocols.openadr2b import codec, model
from protocols.openadr2b.canonical import EXCLUSIVE, INCLUSIVE, INCLUSIVE_11
from protocols.openadr2b.certificate import Authority, Pinned, Trust, fingerprint
from protocols.openadr2b.names import DS
from protocols.openadr2b.signature import SignedMessage, Signer, Verifier, decode_signed, encode_signed
from protocols.openadr2b.signature_parts import ENVELOPED, RSA_SHA256
from protocols.replay import MemoryNonces, ReplayWindow
from protocols.xml import Element, parse
from tests.certificates import Identity, authority

XMLSEC = shutil.which("xmlsec1")
ID = "http://openadr.org/oadr-2.0b/2012/07:oadrSignedObject"

needs_xmlsec = pytest.mark.skipif(XMLSEC is None, reason="no xmlsec1: tests/system_packages.sh installs it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An authority and a party that it vouches for, valid from yesterday: the others read this machine's clock."""

    root: Identity
    party: Identity

    @property
    def signer(self) -> Signer:
        return Signer(key_pem=self.party.key_pem, certificate_pem=self.party.pem)


@pytest.fixture(scope="module", params=["rsa", "curve"])
def pair(request: pytest.FixtureRequest) -> Pair:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    root = authority(begins_at=yesterday)
    key = rsa.generate_private_key(65537, 2048) if request.param == "rsa" else None
    return Pair(root=root, party=root.vouch("party", key=key, begins_at=yesterday))


@pytest.fixture(autouse=True)
def openleadr_without_memory() -> Iterator[None]:
    messaging.NONCE_CACHE.clear()
    yield
    messaging.NONCE_CACHE.clear()


def messages(shared: Path) -> list[codec.Message]:
    """A message of each kind, from other stacks."""
    found: dict[str, codec.Message] = {}
    folder = shared / "data" / "openadr2b"
    for line in (folder / "samples_validation.tsv").read_text().splitlines():
        verdict, _, path = line.split("\t")[:3]
        if verdict == "OK":
            _, value = codec.decode_any(parse((folder / "samples" / path).read_bytes()))
            if isinstance(value, codec.Message):
                found[codec.name_of(value)] = value
    return list(found.values())


async def read(body: bytes, trust: Trust, now: datetime | None = None) -> SignedMessage:
    return await decode_signed(body, Verifier(trust, ReplayWindow(MemoryNonces())), now or datetime.now(UTC))


def xmlsec(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert XMLSEC is not None
    return subprocess.run([XMLSEC, *arguments], capture_output=True, text=True, timeout=30, check=False)


def verified(body: bytes, pair: Pair, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "ca.pem").write_bytes(pair.root.pem)
    (folder / "message.xml").write_bytes(body)
    return xmlsec("--verify", "--id-attr:Id", ID, "--trusted-pem", folder / "ca.pem", folder / "message.xml")


@needs_xmlsec
def test_xmlsec_verifies_each_kind_of_message(pair: Pair, shared: Path, tmp_path: Path) -> None:
    checked = 0
    for message in messages(shared):
        body = encode_signed(message, pair.signer, datetime.now(UTC))
        said = verified(body, pair, tmp_path)
        assert said.returncode == 0, (codec.name_of(message), said.stderr)
        assert "References (ok/all): 2/2" in said.stderr
        checked += 1
    assert checked >= 18


@needs_xmlsec
def test_xmlsec_refuses_what_we_refuse(pair: Pair, tmp_path: Path) -> None:
    body = encode_signed(model.Poll(ven_id="ven-1"), pair.signer, datetime.now(UTC))
    for changed in (body.replace(b"ven-1", b"ven-2"), body.replace(b"<dsp:nonce>", b"<dsp:nonce>0")):
        assert verified(changed, pair, tmp_path).returncode != 0
    assert verified(body, pair, tmp_path).returncode == 0


def template(pair: Pair, algorithm: str, enveloped: bool) -> bytes:
    """Our message with nothing in it that was computed, for xmlsec1 to fill in."""
    root = parse(encode_signed(model.Poll(ven_id="ven-1"), pair.signer, datetime.now(UTC)))
    for element in root.iter(DS + "DigestValue", DS + "SignatureValue"):
        element.text = None
    data = found(root, f".//{DS}X509Data")
    data.remove(data[0])
    for element in root.iter(DS + "CanonicalizationMethod", DS + "Transform"):
        element.set("Algorithm", algorithm)
    if enveloped:
        found(root, f".//{DS}Transforms").insert(0, etree.Element(DS + "Transform", Algorithm=ENVELOPED))
    etree.indent(root)
    return codec.serialised(root)


def found(root: Element, path: str) -> Element:
    element = root.find(path)
    assert element is not None
    return element


@needs_xmlsec
@pytest.mark.parametrize("algorithm", [INCLUSIVE, INCLUSIVE_11, EXCLUSIVE])
@pytest.mark.parametrize("enveloped", [False, True])
async def test_we_verify_what_xmlsec_signs(pair: Pair, algorithm: str, enveloped: bool, tmp_path: Path) -> None:
    for name, content in (
        ("key.pem", pair.party.key_pem),
        ("certificate.pem", pair.party.pem),
        ("template.xml", template(pair, algorithm, enveloped)),
    ):
        (tmp_path / name).write_bytes(content)
    key = f"{tmp_path / 'key.pem'},{tmp_path / 'certificate.pem'}"
    said = xmlsec("--sign", "--id-attr:Id", ID, "--privkey-pem", key, tmp_path / "template.xml")
    assert said.returncode == 0, said.stderr
    for trust in (Authority(pair.root.pem), Pinned(fingerprint(pair.party.der))):
        assert (await read(said.stdout.encode(), trust)).message == model.Poll(ven_id="ven-1")
    with pytest.raises(NotAuthentic, match="is not what"):
        await read(said.stdout.replace("ven-1", "ven-2").encode(), Authority(pair.root.pem))


def test_openleadr_verifies_each_kind_of_message(pair: Pair, shared: Path) -> None:
    for message in messages(shared):
        body = encode_signed(message, pair.signer, datetime.now(UTC))
        tree = messaging.validate_xml_schema(body)
        messaging.validate_xml_signature(tree, pair.signer.fingerprint)
        name, _ = messaging.parse_message(body)
        assert name == codec.name_of(message)


async def test_we_verify_what_openleadr_signs(pair: Pair) -> None:
    details: dict[str, dict[str, Any]] = {
        "oadrPoll": {"ven_id": "ven-1"},
        "oadrQueryRegistration": {"request_id": "r"},
        "oadrResponse": {
            "response": {"response_code": 200, "response_description": "café", "request_id": "r"},
            "ven_id": "ven-1",
        },
    }
    for name, detail in details.items():
        body = messaging.create_message(name, cert=pair.party.pem, key=pair.party.key_pem, **detail).encode()
        assert (RSA_SHA256.encode() in body) == isinstance(pair.party.key, rsa.RSAPrivateKey)
        for trust in (Authority(pair.root.pem), Pinned(fingerprint(pair.party.der))):
            heard = await read(body, trust)
            assert codec.name_of(heard.message) == name
            assert heard.message == codec.decode(body)


async def test_signed_samples_of_openleadr_are_proven(shared: Path) -> None:
    samples = sorted((shared / "data" / "openadr2b" / "samples" / "openleadr").glob("*_signed.xml"))
    for sample in samples:
        body = sample.read_bytes()
        root = parse(body)
        der = etree.tostring(found(root, f".//{DS}X509Certificate"), method="text")
        pin = Pinned(openleadr_fingerprint(der))
        signed_at = datetime.fromisoformat(root.findtext(".//{*}timestamp") or "")
        assert (await read(body, pin, signed_at)).message == codec.decode(body), sample.name
    assert len(samples) > 15


def openleadr_fingerprint(base64: bytes) -> str:
    """As openleadr computes it."""
    text: str = certificate_fingerprint(
        f"-----BEGIN CERTIFICATE-----\n{base64.decode().strip()}\n-----END CERTIFICATE-----\n"
    )
    return text


async def test_another_stacks_sample_with_neither_certificate_nor_sha256_is_refused(shared: Path) -> None:
    sample = shared / "data" / "openadr2b" / "samples" / "avob" / "xmlsignature" / "oadrPayload.xml"
    with pytest.raises(NotAuthentic, match="without ds:X509Certificate"):
        await read(sample.read_bytes(), Pinned("00:" * 9 + "00"))
