"""A VEN and a small VTN of OpenADR 3, joined by a function, and objects for the VTN to hold."""

from datetime import timedelta
from typing import Any

from protocols.errors import Unreachable
from protocols.grid import EventBatch
from protocols.grid_report import ReportOffer
from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.ven import Ven
from tests.openadr3_server import NOON, Json, SmallVtn
from tests.unit.protocols.openadr2b.conftest import MemoryStore

HOUR = timedelta(hours=1)


class Pair:
    """A VEN and a small VTN, joined by a function."""

    def __init__(self, vtn: SmallVtn, **more: Any) -> None:
        self.vtn = vtn
        self.store = MemoryStore()
        self.now = NOON
        self.more = more
        self.ven = self.new_ven()

    def new_ven(self) -> Ven:
        """Another life of the VEN, with the same store."""
        usual: dict[str, Any] = {
            "connection_id": "utility",
            "ven_name": "gateway",
            "exchange": self.vtn.exchange,
            "store": self.store,
            "offers": (ReportOffer(resource_id="site-1", min_sampling_s=1, max_sampling_s=3600),),
            "version": self.vtn.version,
        }
        self.ven = Ven(**(usual | self.more))
        return self.ven

    async def poll(self, after: timedelta = timedelta(seconds=10)) -> EventBatch | None:
        """The next poll; what it brings is answered."""
        self.now += after
        batch = await self.ven.receive(self.now)
        if batch is not None:
            await self.ven.respond(batch, (), self.now)
        return batch

    async def listed(self) -> EventBatch:
        batch = await self.poll()
        assert batch is not None
        return batch


def program(name: str = "peak", **fields: Any) -> Json:
    return {"programName": name} | fields


def event(program_id: str, **fields: Any) -> Json:
    """An hour of SIMPLE 1 in an hour from noon."""
    usual = {
        "programID": program_id,
        "intervalPeriod": {"start": (NOON + HOUR).isoformat(), "duration": "PT1H"},
        "intervals": [{"id": 0, "payloads": [{"type": "SIMPLE", "values": [1]}]}],
    }
    return usual | fields


CANCELLED = {"intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT0S"}}


def unreachable(_: Request) -> Response:
    raise Unreachable("nobody there")
