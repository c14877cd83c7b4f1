"""A running gateway asked by a command, at the address where it serves its page."""

from typing import Any

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(total=5.0)
ANYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - read, not listened at
"""A gateway that listens at every address is asked at this host's own."""


async def ask_gateway(listen: str, path: str) -> Any:
    """The JSON at ``path`` of the gateway that listens at ``host:port``.

    Raises ``ConnectionError`` without an answer, or with one that is none.
    """
    host, _, port = listen.rpartition(":")
    url = f"http://{ANYWHERE.get(host, host)}:{port}{path}"
    try:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, session.get(url) as answer:
            if answer.status != 200:
                raise ConnectionError(f"{url} answers with status {answer.status}")
            return await answer.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as cause:
        raise ConnectionError(f"no gateway answers at {url}: {cause or 'no answer in time'}") from cause
