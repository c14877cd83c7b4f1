"""Pages, rendered here and complete without JavaScript."""

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.http.assets import ASSETS
from gateway.http.device_lines import NO_DEVICE, by_host
from gateway.http.series import USUAL_MINUTES, Series, series
from gateway.http.sources import SOURCES, Sources
from gateway.http.view import snapshot
from gateway.ledger import LedgerUnavailable

TEMPLATES = web.AppKey("TEMPLATES", Environment)


def environment() -> Environment:
    """The templates of this package. Everything that is put into a page is escaped."""
    return Environment(
        loader=PackageLoader("gateway.http"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


async def front(request: web.Request) -> web.Response:
    """``GET /``."""
    sources = request.app[SOURCES]
    shown = await snapshot(sources)
    return page(
        request,
        "now.html",
        now=shown,
        devices_on=by_host(shown.devices.devices),
        no_device=NO_DEVICE,
        recent=await _recent(sources),
        minutes=USUAL_MINUTES,
    )


async def _recent(sources: Sources) -> Series | None:
    """The last minutes, ``None`` while the ledger cannot be read: the rest of the page stands without them."""
    try:
        return await series(sources, USUAL_MINUTES)
    except LedgerUnavailable:
        return None


def page(request: web.Request, template: str, *, status: int = 200, **content: object) -> web.Response:
    """One rendered page."""
    assets = request.app[ASSETS]
    text = request.app[TEMPLATES].get_template(template).render(address=assets.address, **content)
    response = web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})
    response.enable_compression()
    return response
