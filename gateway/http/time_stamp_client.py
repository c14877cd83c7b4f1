"""A time-stamp authority asked for a stamp over a signed head, by HTTP (RFC 3161, section 3.4).

Plain HTTP is as good as HTTPS here: only a hash goes out, and what comes back is signed.
"""

from collections.abc import Sequence

import aiohttp
from cryptography.x509 import Certificate
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from gateway.domain.time_stamp import MOST_RESPONSE_BYTES, check_time_stamp, stamped_bytes
from gateway.domain.tree_head import SignedHead

TIMEOUT = aiohttp.ClientTimeout(total=20.0)


async def ask_time_stamp(url: str, signed: SignedHead, authorities: Sequence[Certificate]) -> bytes:
    """The authority's response in DER, checked against its request and ``authorities``.

    Raises any ``TimeStampError`` for a response that proves nothing, and ``ConnectionError`` without one.
    """
    # The authority's certificate has to come with the stamp: whoever checks it in years can ask nobody for it.
    asked = TimestampRequestBuilder(
        data=stamped_bytes(signed), hash_algorithm=HashAlgorithm.SHA256, nonce=True, cert_req=True
    ).build()
    response = await _post(url, asked.as_bytes())
    check_time_stamp(signed, response, authorities, nonce=asked.nonce)
    return response


async def _post(url: str, query: bytes) -> bytes:
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.post(
                url, data=query, headers={"Content-Type": "application/timestamp-query"}, allow_redirects=False
            ) as answer,
        ):
            if answer.status != 200:
                raise ConnectionError(f"the time-stamp authority at {url} answers with status {answer.status}")
            content = b""
            # One byte beyond the bound, so that what is longer is seen to be.
            while chunk := await answer.content.read(MOST_RESPONSE_BYTES + 1 - len(content)):
                content += chunk
            return content
    except (aiohttp.ClientError, TimeoutError, ValueError) as cause:
        raise ConnectionError(
            f"no time-stamp authority answers at {url}: {cause or 'no answer in time'}; it can be asked again later"
        ) from cause


class TimeStampAuthority:
    """One authority, asked by HTTP. Its answers are believed by ``authorities`` alone."""

    def __init__(self, url: str, authorities: Sequence[Certificate]) -> None:
        self._url = url
        self._authorities = tuple(authorities)

    async def stamp(self, head: SignedHead) -> bytes:
        """Raises as ``ask_time_stamp`` does."""
        return await ask_time_stamp(self._url, head, self._authorities)
