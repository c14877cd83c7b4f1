"""Nobody gets another time out of a time stamp by changing it, and the order of its certificates means nothing."""

import contextlib
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.time_stamp import TimeStampError, check_time_stamp, read_authorities
from gateway.domain.time_stamp_order import with_ordered_certificates
from tests.recorded_time_stamp import HEAD, RESPONSE, ROOT_PEM

TRUSTED = read_authorities(ROOT_PEM)
TRUE = check_time_stamp(HEAD, RESPONSE, TRUSTED)


def test_a_byte_changed_minimal_example():
    for at in range(0, len(RESPONSE), 97):
        changed = bytearray(RESPONSE)
        changed[at] ^= 0x40
        with contextlib.suppress(TimeStampError):
            assert check_time_stamp(HEAD, bytes(changed), TRUSTED) == TRUE


@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(RESPONSE) - 1), st.integers(0, 4), st.binary(max_size=4)), min_size=1, max_size=3
    )
)
def test_whatever_is_changed_it_is_refused_or_says_the_same(changes: list[tuple[int, int, bytes]]):
    changed = RESPONSE
    for at, taken, put in changes:
        changed = changed[:at] + put + changed[at + taken :]
    # Some of a response is not signed (RFC 5652, section 5.4): what may be changed there must change nothing here.
    with contextlib.suppress(TimeStampError):
        assert check_time_stamp(HEAD, changed, TRUSTED) == TRUE


@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused_by_name(data: bytes):
    for response in (data, b"\x30\x81" + bytes([min(len(data), 255)]) + data):
        with contextlib.suppress(TimeStampError):
            assert check_time_stamp(HEAD, response, TRUSTED) is None


def der(tag: int, content: bytes) -> bytes:
    """A value in DER."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 + len(length)]) + length + content


def response_with(certificates: tuple[bytes, ...]) -> bytes:
    """The frame of a response, with these for certificates."""
    signed = der(0x02, b"\x03") + der(0x31, b"digests") + der(0x30, b"said") + der(0xA0, b"".join(certificates))
    token = der(0x06, b"kind") + der(0xA0, der(0x30, signed + der(0x31, b"signers")))
    return der(0x30, der(0x30, der(0x02, b"\x00")) + der(0x30, token))


def test_order_minimal_example():
    short, long = der(0x30, b"a"), der(0x30, b"a" * 128)
    assert with_ordered_certificates(response_with((long, short))) == response_with((short, long))


@given(contents=st.lists(st.binary(max_size=300), max_size=4))
def test_however_certificates_come_they_are_read_in_one_order(contents: list[bytes]):
    certificates = [der(0x30, content) for content in contents]
    ordered = response_with(tuple(sorted(certificates)))
    assert {with_ordered_certificates(response_with(one)) for one in permutations(certificates)} == {ordered}


@given(data=st.binary(max_size=64))
def test_what_cannot_be_read_stays_as_it_came(data: bytes):
    assert with_ordered_certificates(data) == data or data[:1] == b"\x30"
    assert len(with_ordered_certificates(data)) == len(data)
