import re
from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from lxml import etree

from protocols.errors import (
    MalformedMessage,
    NotAuthentic,
    OutOfTime,
    ProtocolError,
    Replayed,
    UntrustedCertificate,
)
from protocols.openadr2b import codec, model
from protocols.openadr2b.certificate import Authority, Pinned, fingerprint
from protocols.openadr2b.names import DSP, EI
from protocols.openadr2b.signature import SignedMessage, Signer, decode_signed, encode_signed
from protocols.xml import Element, parse
from tests.certificates import NEW_YEAR, YEAR, Identity
from tests.hand_signed import (
    FAKE,
    NOW,
    POLL,
    ROOT,
    VTN,
    changed,
    one,
    other_message,
    read,
    signed_by_hand,
    signer,
    verifier,
)


async def test_what_is_signed_is_read_with_its_signer(rsa_vtn: Identity) -> None:
    for identity in (VTN, rsa_vtn):
        body = encode_signed(POLL, signer(identity), NOW)
        expected = SignedMessage(message=POLL, signer=fingerprint(identity.der), signed_at=NOW)
        assert await read(body, Pinned(fingerprint(identity.der))) == expected
        assert await read(body, Authority(ROOT.pem)) == expected
        assert codec.decode(body) == POLL
        assert codec.is_signed(parse(body))


def test_a_signed_message_is_what_the_schema_wants(valid: Callable[[bytes], None], rsa_vtn: Identity) -> None:
    for identity in (VTN, rsa_vtn):
        valid(encode_signed(POLL, signer(identity), NOW))


async def test_text_beyond_ascii_and_line_ends_survive() -> None:
    message = model.Response(response=model.EiResponse(code="200", request_id="r", description="é\r\n\t<&>\"' 日本"))
    assert (await read(encode_signed(message, signer(), NOW))).message == message


def test_each_signature_has_its_own_nonce_and_its_time() -> None:
    nonces = {one(parse(encode_signed(POLL, signer(), NOW)), ".//dsp:nonce").text for _ in range(20)}
    assert len(nonces) == 20
    assert one(parse(encode_signed(POLL, signer(), NOW)), ".//dsp:timestamp").text == "2030-01-31T12:00:00Z"


def test_a_signer_says_who_it_is_and_until_when() -> None:
    assert signer().fingerprint == fingerprint(VTN.der)
    assert signer().expires_at == NEW_YEAR + YEAR


async def test_a_key_may_be_encrypted() -> None:
    pem = VTN.encrypted_key_pem(b"secret")
    body = encode_signed(POLL, Signer(key_pem=pem, certificate_pem=VTN.pem, password=b"secret"), NOW)
    assert (await read(body)).message == POLL
    for password in (None, b"wrong"):
        with pytest.raises(ValueError, match="cannot be read"):
            Signer(key_pem=pem, certificate_pem=VTN.pem, password=password)


def test_a_key_that_cannot_sign_is_said_to_be_so() -> None:
    weak = ROOT.vouch("weak", key=rsa.generate_private_key(65537, 1024))
    odd = ROOT.vouch("odd", key=ec.generate_private_key(ec.SECP256K1()))
    other = ROOT.vouch("other", key=ed25519.Ed25519PrivateKey.generate())  # type: ignore[arg-type]
    for key_pem, certificate_pem, says in (
        (VTN.key_pem, FAKE.pem, "does not belong to the first certificate"),
        (VTN.key_pem, VTN.pem * 5, "5 certificates to send"),
        (b"nonsense", VTN.pem, "cannot be read"),
        (VTN.key_pem, b"nonsense", "cannot be read"),
        (weak.key_pem, weak.pem, "an RSA key of 1024 bits, expected 2048 to 8192"),
        (odd.key_pem, odd.pem, "the curve secp256k1, expected one of secp256r1"),
        (other.key_pem, other.pem, "2.0b signs with RSA or an elliptic curve"),
    ):
        with pytest.raises(ValueError, match=says):
            Signer(key_pem=key_pem, certificate_pem=certificate_pem)


async def test_authorities_in_between_are_sent_and_read() -> None:
    between = ROOT.vouch("between", authority=True)
    leaf = between.vouch("leaf")
    chain = Signer(key_pem=leaf.key_pem, certificate_pem=leaf.pem + between.pem)
    assert (await read(encode_signed(POLL, chain, NOW), Authority(ROOT.pem))).signer == fingerprint(leaf.der)


async def test_the_same_message_counts_once() -> None:
    body = encode_signed(POLL, signer(), NOW)
    taking = verifier()
    await decode_signed(body, taking, NOW)
    with pytest.raises(Replayed, match="was taken before"):
        await decode_signed(body, taking, NOW + timedelta(seconds=1))
    await decode_signed(encode_signed(POLL, signer(), NOW), taking, NOW)


@pytest.mark.parametrize("ahead_s", [-301, 61, 3600])
async def test_a_clock_that_is_off_is_named(ahead_s: int) -> None:
    with pytest.raises(OutOfTime, match=f"{abs(ahead_s)}.0 s a") as caught:
        await read(encode_signed(POLL, signer(), NOW + timedelta(seconds=ahead_s)))
    assert caught.value.ahead_s == ahead_s


async def test_an_old_signature_is_refused_before_the_message_is_looked_at() -> None:
    body = changed(encode_signed(POLL, signer(), NOW - timedelta(hours=1)), other_message)
    with pytest.raises(OutOfTime):
        await read(body)


async def test_who_is_not_trusted_is_named() -> None:
    body = encode_signed(POLL, signer(FAKE), NOW)
    with pytest.raises(UntrustedCertificate, match=f"{fingerprint(FAKE.der)}, but {fingerprint(VTN.der)} was expected"):
        await read(body)
    with pytest.raises(UntrustedCertificate, match="no authority that we know vouches"):
        await read(body, Authority(ROOT.pem))
    late = NEW_YEAR + 2 * YEAR
    body = encode_signed(POLL, signer(), late)
    with pytest.raises(UntrustedCertificate, match="expired at 2031"):
        await read(body, now=late)


async def test_a_message_without_a_signature_is_refused() -> None:
    for body in (
        codec.encode(POLL),
        b'<oadr:oadrPoll xmlns:oadr="http://openadr.org/oadr-2.0b/2012/07"/>',
        b"<html/>",
    ):
        with pytest.raises(NotAuthentic, match="without a ds:Signature, and only signed messages are taken here"):
            await read(body)


def without_certificate(root: Element) -> None:
    root[0].remove(one(root, ".//ds:KeyInfo"))


async def test_the_certificate_may_come_from_the_connection() -> None:
    body = changed(encode_signed(POLL, signer(), NOW), without_certificate)
    with pytest.raises(NotAuthentic, match="have the sender put its certificate into ds:KeyInfo"):
        await read(body)
    heard = await decode_signed(body, verifier(), NOW, tls_certificate=VTN.der)
    assert heard.signer == fingerprint(VTN.der)
    with pytest.raises(UntrustedCertificate, match="was expected"):
        await decode_signed(body, verifier(), NOW, tls_certificate=FAKE.der)


async def test_signer_and_connection_are_the_same() -> None:
    body = encode_signed(POLL, signer(), NOW)
    assert (await decode_signed(body, verifier(), NOW, tls_certificate=VTN.der)).message == POLL
    ours = ROOT.vouch("another")
    with pytest.raises(UntrustedCertificate, match=f"but the TLS connection is that of {fingerprint(ours.der)}"):
        await decode_signed(body, verifier(Authority(ROOT.pem)), NOW, tls_certificate=ours.der)


async def test_a_signed_message_that_is_no_message_names_the_line_as_it_was_sent() -> None:
    def misspell(root: Element) -> None:
        etree.indent(root)
        one(root, ".//ei:venID").tag = EI + "vtnID"

    body = signed_by_hand(misspell)
    line = 1 + body[: body.index(b"<ei:vtnID>")].count(b"\n")
    with pytest.raises(MalformedMessage, match=f"^line {line}: "):
        await read(body)


async def test_a_signed_object_holds_one_message() -> None:
    def another(root: Element) -> None:
        root[1].append(deepcopy(root[1][0]))

    with pytest.raises(MalformedMessage, match="holds 2 messages"):
        await read(signed_by_hand(another))


async def test_comments_and_instructions_are_nothing_that_is_signed() -> None:
    body = encode_signed(POLL, signer(), NOW)
    assert (await read(body.replace(b"ven-1", b"ven<!-- x -->-1"))).message == POLL


async def test_a_fault_is_one_of_the_protocol_and_says_who() -> None:
    body = changed(encode_signed(POLL, signer(), NOW), other_message)
    with pytest.raises(ProtocolError) as caught:
        await read(body)
    assert isinstance(caught.value, NotAuthentic)
    assert caught.value.signer == fingerprint(VTN.der)
    assert re.fullmatch(r"([0-9A-F]{2}:){9}[0-9A-F]{2}", caught.value.signer)
    assert DSP not in str(caught.value)
