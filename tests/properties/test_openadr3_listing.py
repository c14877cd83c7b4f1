"""A list that moves while it is read: what was there all along is found, or the listing says that it is not whole."""

from dataclasses import dataclass, field
from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.openadr3 import model
from protocols.openadr3.client import PAGE_SIZES, Client
from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.names import Version
from tests.openadr3_server import NOON, said
from tests.unit.protocols.openadr2b.conftest import MemoryStore


@dataclass
class MovingList:
    """Events by number, in an order that stays; between two pages some go and some come, wherever."""

    numbers: list[int]
    moves: list[tuple[bool, int]]
    lasting: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.lasting = set(self.numbers)
        self.last = len(self.numbers)

    async def __call__(self, request: Request, _: datetime) -> Response:
        wanted = dict(request.query)
        skip, limit = int(wanted["skip"]), int(wanted["limit"])
        page = [
            {
                "id": f"event-{number}",
                "programID": "program-1",
                "createdDateTime": NOON.isoformat(),
                "modificationDateTime": NOON.isoformat(),
                "objectType": "EVENT",
            }
            for number in self.numbers[skip : skip + limit]
        ]
        for comes, where in [self.moves.pop() for _ in range(min(3, len(self.moves)))]:
            at = where % (len(self.numbers) + 1)
            if comes:
                self.last += 1
                self.numbers.insert(at, self.last)
            elif at < len(self.numbers):
                self.lasting.discard(self.numbers.pop(at))
        return said(200, page)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 120), st.lists(st.tuples(st.booleans(), st.integers(0, 200)), max_size=12))
async def test_a_whole_listing_has_all_that_was_there_all_the_time(size: int, moves: list[tuple[bool, int]]) -> None:
    moving = MovingList(list(range(size)), moves)
    client = Client(connection_id="c", exchange=moving, store=MemoryStore(), version=Version.V3_1)
    still = not moves or size < PAGE_SIZES[0]
    listing = await client.list_all(model.Event, "/events", (), NOON)
    found = {item.metadata.id for item in listing.items if item.metadata is not None}
    missed = {f"event-{number}" for number in moving.lasting} - found
    assert not (listing.whole and missed)
    assert listing.whole or not still, "what holds still is whole"
