"""Whatever byte of a signed message is changed, nobody takes it for another message; and what is signed is taken."""

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from protocols.errors import MessageError, NotAuthentic
from protocols.openadr2b import model
from protocols.openadr2b.certificate import Authority, Pinned, Trust, fingerprint
from protocols.openadr2b.signature import encode_signed
from protocols.xml import parse
from tests.hand_signed import NOW, POLL, ROOT, VTN, read, signer

BODY = encode_signed(POLL, signer(), NOW)
PINNED = Pinned(fingerprint(VTN.der))
TRUSTS: list[Trust] = [PINNED, Authority(ROOT.pem)]


def canonical(body: bytes) -> bytes:
    return etree.tostring(parse(body), method="c14n")


def with_byte(place: int, byte: int) -> bytes:
    return BODY[:place] + bytes([byte]) + BODY[place + 1 :]


# A certificate whose serial number turned negative is read with a warning, and refused all the same.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(BODY) - 1), st.integers(0, 255), st.sampled_from(TRUSTS))
@example(BODY.index(b"utf-8"), ord("U"), PINNED)
def test_any_changed_byte_is_refused_but_where_it_changes_nothing(place: int, byte: int, trust: Trust) -> None:
    body = with_byte(place, byte)
    try:
        heard = asyncio.run(read(body, trust))
    except MessageError:
        assert body != BODY
    else:
        # Another spelling of the same document: what XML says does not count, such as u or U in the encoding's name.
        assert canonical(body) == canonical(BODY)
        assert heard.message == POLL


@pytest.mark.parametrize(
    "before",
    [b"ven-", b"<dsp:nonce>", b"<dsp:timestamp>203", b"<ds:DigestValue>", b"<ds:SignatureValue>", b"Certificate>"],
)
def test_one_changed_character_of_each_part_is_refused(before: bytes) -> None:
    place = BODY.index(before) + len(before)
    byte = ord("2") if BODY[place : place + 1] != b"2" else ord("3")
    with pytest.raises(NotAuthentic):
        asyncio.run(read(with_byte(place, byte)))


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cn"], exclude_characters="\ufffe\uffff"), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(texts.filter(lambda text: all(letter >= " " or letter in "\t\n\r" for letter in text)))
def test_any_text_is_signed_as_it_stands(text: str) -> None:
    message = model.Response(response=model.EiResponse(code="200", request_id="r", description=text))
    heard = asyncio.run(read(encode_signed(message, signer(), NOW)))
    assert heard.message == message


def test_a_line_end_is_signed_as_it_stands() -> None:
    message = model.Response(response=model.EiResponse(code="200", request_id="r", description="\r"))
    assert asyncio.run(read(encode_signed(message, signer(), NOW))).message == message
