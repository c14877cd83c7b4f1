"""What a utility's people ask of parties: found by id or name, and refused in words where there is no such thing."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.domain.issuing import IssueCommand, IssueKind, PartyWish
from gateway.services.party_asking import ask_party, found_party
from protocols.grid import Party
from protocols.grid_report import ReportQuantity

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def a_party(party_id: str, name: str) -> Party:
    return Party(connection_id="below", party_id=party_id, registration_id="r", name=name, registered_at=NOON)


PARTIES = (a_party("ven-1", "site-1"), a_party("ven-2", "site-2"), a_party("ven-3", "twin"), a_party("ven-4", "twin"))


def test_a_party_is_found_by_its_id_or_its_name() -> None:
    assert found_party("ven-2", PARTIES) is found_party("site-2", PARTIES) is PARTIES[1]


@pytest.mark.parametrize(
    ("name", "why"),
    [("stie-1", "there is site-1"), ("twin", "several parties are called 'twin': ven-3, ven-4")],
)
def test_who_is_not_found_is_answered_with_the_nearest(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        found_party(name, PARTIES)


async def test_a_protocol_without_registrations_says_that_it_has_no_such_thing() -> None:
    program: Any = SimpleNamespace(connection_id="below")
    wish = PartyWish(party="site-1")
    command = IssueCommand(
        command_id="c1", at=NOON, by="ann", kind=IssueKind.REREGISTER, connection_id="below", asked=wish
    )
    with pytest.raises(ValueError, match="below has no such thing"):
        await ask_party(program, command, wish, NOON)


async def test_a_report_of_a_party_that_makes_no_offers_is_of_all_it_has() -> None:
    ordered: list[str] = []

    async def order_report(party_id: str, resource_id: str, quantities: Any, **_: Any) -> str:
        ordered.append(f"{party_id} {resource_id!r}")
        return "order-1"

    async def parties() -> tuple[Party, ...]:
        return PARTIES

    program: Any = SimpleNamespace(
        connection_id="below",
        has_offers=False,
        parties=parties,
        order_report=order_report,
        orders=parties,
        cancel_report=parties,
        ask_to_reregister=parties,
        cancel_registration=parties,
    )
    wish = PartyWish(party="site-1", quantities=(ReportQuantity.POWER,))
    command = IssueCommand(command_id="c1", at=NOON, by="ann", kind=IssueKind.ORDER, connection_id="below", asked=wish)
    assert await ask_party(program, command, wish, NOON) == "report order-1 of power is ordered from site-1"
    assert ordered == ["ven-1 ''"]
