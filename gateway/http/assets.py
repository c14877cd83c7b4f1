"""Files that browsers load once: ours from this package, the chart's script from the installed plotly package.

Each has a version in its address, is compressed once in memory, and may be kept for good.
"""

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files

from aiohttp import hdrs, web
from plotly.offline import get_plotlyjs, get_plotlyjs_version

FOR_GOOD = "public, max-age=31536000, immutable"
CHART_SCRIPT = "plotly.min.js"
OURS = {"site.css": "text/css", "now.js": "text/javascript", "icon.svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file, as it is and compressed."""

    content_type: str
    version: str
    plain: bytes
    compressed: bytes


class Assets:
    """The static files. The chart's script (5 MB) is read and compressed at the first call for it, in a thread."""

    def __init__(self) -> None:
        self._ready = {name: _ours(name, content_type) for name, content_type in OURS.items()}
        self._chart_version: str = get_plotlyjs_version()
        self._loading = asyncio.Lock()

    def address(self, name: str) -> str:
        """Where the page finds it, with its version."""
        current = self._chart_version if name == CHART_SCRIPT else self._ready[name].version
        return f"/static/{name}?v={current}"

    async def asset(self, name: str) -> Asset | None:
        """The file by name, ``None`` where there is none of it."""
        if name == CHART_SCRIPT and name not in self._ready:
            async with self._loading:
                if name not in self._ready:
                    self._ready[name] = await asyncio.to_thread(_chart_script, self._chart_version)
        return self._ready.get(name)


ASSETS = web.AppKey("ASSETS", Assets)


def _ours(name: str, content_type: str) -> Asset:
    plain = files("gateway.http").joinpath("static", name).read_bytes()
    return Asset(
        content_type=content_type,
        version=hashlib.sha256(plain).hexdigest()[:12],
        plain=plain,
        compressed=gzip.compress(plain, mtime=0),
    )


def _chart_script(chart_version: str) -> Asset:
    plain = get_plotlyjs().encode()
    return Asset(
        content_type="text/javascript",
        version=chart_version,
        plain=plain,
        compressed=gzip.compress(plain, compresslevel=6, mtime=0),
    )


async def serve_asset(request: web.Request) -> web.Response:
    """``GET /static/{name}``."""
    asset = await request.app[ASSETS].asset(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    known = request.query.get("v") == asset.version
    headers = {
        hdrs.CACHE_CONTROL: FOR_GOOD if known else "no-cache",
        hdrs.VARY: hdrs.ACCEPT_ENCODING,
    }
    body = asset.plain
    if _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
        headers[hdrs.CONTENT_ENCODING] = "gzip"
        body = asset.compressed
    return web.Response(body=body, content_type=asset.content_type, charset="utf-8", headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether the client takes gzip (RFC 9110, 12.5.3): named, or by ``*``, and not with a weight of 0."""
    weights = {}
    for part in accepted.split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip().lower()] = weight.replace(" ", "").lower()
    named = weights.get("gzip", weights.get("*"))
    return named is not None and named.rstrip("0") not in {"q=", "q=0."}
