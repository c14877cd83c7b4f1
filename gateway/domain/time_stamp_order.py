"""Certificates of a time-stamp response put into the order that DER asks for.

Authorities on OpenSSL send their chain as their files have it, and a strict reader refuses that. The set stands outside
of what is signed (RFC 5652, section 5.4), so its order means nothing. Clauses here from memory, to be checked.
"""

from collections.abc import Iterator

_SEQUENCE, _SET, _FIRST = 0x30, 0x31, 0xA0
_ON_THE_WAY = (_SEQUENCE, _SEQUENCE, _FIRST, _SEQUENCE)
"""TimeStampResp (RFC 3161, section 2.4.2), its token, the token's content, and SignedData (RFC 5652, section 5.1)."""


def with_ordered_certificates(response: bytes) -> bytes:
    """The response with its certificates ascending (X.690, 11.6); as it came where it holds none, or cannot be read."""
    try:
        found = _certificates(response)
        if found is None:
            return response
        start, end = found
        ordered = b"".join(sorted(response[one_start:one_end] for _, one_start, _, one_end in _parts(response, *found)))
    except IndexError:
        return response
    return response[:start] + ordered + response[end:]


def _certificates(response: bytes) -> tuple[int, int] | None:
    """Where the content of SignedData's certificates stands. Raises ``IndexError`` for what is no DER."""
    start, end = 0, len(response)
    for tag in _ON_THE_WAY:
        # At each step the last of its tag: before the token stands the status, which is a sequence too.
        among = [part for part in _parts(response, start, end) if part[0] == tag]
        if not among:
            return None
        _, _, start, end = among[-1]
    signed = list(_parts(response, start, end))
    # Version, digests, what is signed, then the certificates, if there are any.
    if len(signed) < 4 or signed[1][0] != _SET or signed[3][0] != _FIRST:
        return None
    return signed[3][2:]


def _parts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Tag, start, start of the content and end of each value in a stretch, read as DER (X.690, 8.1)."""
    while start < end:
        tag, length, content = data[start], data[start + 1], start + 2
        if length == 0x80:
            raise IndexError("a length that is not said is not DER")
        if length > 0x80:
            content += length - 0x80
            length = int.from_bytes(data[start + 2 : content], "big")
        if content + length > end:
            raise IndexError("longer than what it stands in")
        yield tag, start, content, content + length
        start = content + length
