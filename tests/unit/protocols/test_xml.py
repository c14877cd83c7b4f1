import contextlib
import time

import pytest

from protocols.errors import MalformedMessage, MessageTooLarge
from protocols.xml import MAX_BYTES, parse

DECLARED = b'<!DOCTYPE r [<!ENTITY a "AAAAAAAAAA">]>'
LAUGHS = b"".join(
    b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * 10 if level else b"lol") for level in range(10)
)
BOMB = b"<!DOCTYPE r [" + LAUGHS + b"]>"
LONG = b'<!DOCTYPE r [<!ENTITY a "' + b"A" * 400_000 + b'">]>'


def test_the_root_comes_without_comments_and_instructions() -> None:
    root = parse(b"<?xml version='1.0'?><!-- c --><a><?p?><b>x<!-- in -->y</b></a>")
    assert [child.tag for child in root] == ["b"]
    assert root[0].text == "xy"


def test_another_encoding_is_read() -> None:
    assert parse('<?xml version="1.0" encoding="utf-16"?><a>é</a>'.encode("utf-16")).text == "é"


@pytest.mark.parametrize(
    ("body", "says", "line"),
    [
        (b"", "empty", None),
        (b" \n ", "empty", None),
        (b"hello", "not well-formed", 1),
        (b"<a>\n<b></a>", "not well-formed", 2),
        (b"<a>\n\n<b>", "not well-formed", 3),
        (b"<a>&nothing;</a>", "not well-formed", 1),
        (b"<r>\xff\xfe</r>", "not well-formed", 1),
        (b'<?xml version="1.0" encoding="nothing-1"?><r/>', "not well-formed", 1),
        (b"\x00\x01\x02", "not well-formed", 1),
    ],
)
def test_what_is_not_xml_is_malformed(body: bytes, says: str, line: int | None) -> None:
    with pytest.raises(MalformedMessage, match=says) as caught:
        parse(body)
    assert caught.value.line == line


@pytest.mark.parametrize(
    "body",
    [
        DECLARED + b"<r/>",
        DECLARED + b"<r>&a;</r>",
        BOMB + b"<r>&l9;</r>",
        BOMB + b'<r a="&l9;"/>',
        LONG + b"<r>" + b"&a;" * 50_000 + b"</r>",
        LONG + b"<r " + b" ".join(b'a%d="&a;"' % index for index in range(5_000)) + b"/>",
        b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]><r>&x;</r>',
        b'<!DOCTYPE r SYSTEM "http://127.0.0.1:9/r.dtd"><r/>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE r [<!ENTITY x "y">]><r>&x;</r>'.encode("utf-16"),
    ],
)
def test_a_document_type_declaration_is_refused_and_nothing_expanded(body: bytes) -> None:
    with pytest.raises(MalformedMessage, match="document type declaration"):
        parse(body)


def test_text_that_only_looks_like_a_declaration_is_text() -> None:
    assert parse(b"<r><![CDATA[<!DOCTYPE x>]]></r>").text == "<!DOCTYPE x>"


def test_bytes_are_bounded() -> None:
    body = b"<r>" + b"x" * (MAX_BYTES - 7) + b"</r>"
    assert len(body) == MAX_BYTES
    assert parse(body).tag == "r"
    with pytest.raises(MessageTooLarge, match="1048577 bytes"):
        parse(body + b" ")


def test_depth_is_bounded() -> None:
    assert parse(b"<a>" * 64 + b"</a>" * 64).tag == "a"
    with pytest.raises(MessageTooLarge, match="more than 64 levels"):
        parse(b"<a>" * 65 + b"</a>" * 65)
    with pytest.raises(MessageTooLarge, match="levels"):
        parse(b"<a>" * 100_000 + b"</a>" * 100_000)


def test_elements_are_bounded() -> None:
    assert len(parse(b"<r>" + b"<a/>" * 65_535 + b"</r>")) == 65_535
    with pytest.raises(MessageTooLarge, match="65537 elements"):
        parse(b"<r>" + b"<a/>" * 65_536 + b"</r>")


@pytest.mark.parametrize(
    "body",
    [
        b"<r>" + b"<a/>" * 262_000 + b"</r>",
        b"<a>" * 149_000 + b"</a>" * 149_000,
        b"<r " + b" ".join(b'a%d="1"' % index for index in range(90_000)) + b"/>",
        b"<r " + b" ".join(b'xmlns:a%d="u%d"' % (index, index) for index in range(45_000)) + b"/>",
        b"<r " + b" ".join(b'xmlns:a%d="u"' % index for index in range(22_000)) + b">" + b"<a0:x/>" * 60_000 + b"</r>",
        b"<r>" + b"&#65;" * 200_000 + b"</r>",
        b"<r>" + b"<!---->" * 149_000 + b"</r>",
    ],
)
def test_the_worst_megabyte_takes_less_than_a_second(body: bytes) -> None:
    assert len(body) <= MAX_BYTES
    begin = time.process_time()
    with contextlib.suppress(MessageTooLarge):
        parse(body)
    assert time.process_time() - begin < 1.0
