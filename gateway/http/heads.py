"""Signed heads, for whoever relies on them: shown to who asks, and sent to who wants them."""

import aiohttp
from aiohttp import web

from gateway.domain.evidence import canonical_json
from gateway.domain.tree_head import SignedHead
from gateway.http.api import answer
from gateway.http.sources import SOURCES

TIMEOUT_S = 10.0
MOST = 400
"""More than a year of them."""


async def heads(request: web.Request) -> web.Response:
    """``GET /api/evidence/heads``: the last heads, oldest first. They hold no figures of the site."""
    return answer((await request.app[SOURCES].heads())[-MOST:])


class HeadPost:
    """A counterparty's address, which each head is posted to as JSON; any status of 2xx has taken it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    @property
    def name(self) -> str:
        return self._url

    async def last(self) -> SignedHead | None:
        """What a counterparty has, it alone knows."""
        return None

    async def take(self, head: SignedHead) -> None:
        """Raises ``OSError`` where it was not taken."""
        try:
            async with self._session.post(
                self._url,
                data=canonical_json(head),
                headers={"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                allow_redirects=False,
            ) as response:
                if not 200 <= response.status < 300:
                    raise OSError(f"HTTP {response.status}")
        except TimeoutError as cause:
            raise OSError(f"no answer within {TIMEOUT_S:g} s") from cause
        except aiohttp.ClientError as cause:
            raise OSError(str(cause) or type(cause).__name__) from cause
