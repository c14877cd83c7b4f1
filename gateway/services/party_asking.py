"""What is asked of the parties to a VTN of ours: to register anew or leave, and for reports."""

from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Protocol, runtime_checkable

from gateway.domain.issuing import IssueCommand, IssueKind, PartyWish
from protocols.grid import GridProgram, Party
from protocols.grid_report import ReportQuantity
from protocols.party_store import PlacedOrder


@runtime_checkable
class AsksParties(Protocol):
    """A VTN that orders reports one by one. What its protocol has no word for it refuses by ``ValueError``."""

    @property
    def has_offers(self) -> bool:
        """Whether parties say beforehand what they can report, and of which resource; else it is of all they have."""

    async def orders(self) -> tuple[PlacedOrder, ...]: ...

    async def order_report(
        self,
        party_id: str,
        resource_id: str,
        quantities: tuple[ReportQuantity, ...],
        *,
        granularity_s: float,
        report_back_s: float,
        starts_at: datetime,
        ends_at: datetime | None = None,
        history: bool = False,
        order_id: str | None = None,
    ) -> str: ...

    async def cancel_report(self, order_id: str, *, last_report: bool = False) -> None: ...

    async def ask_to_reregister(self, party_id: str) -> None: ...

    async def cancel_registration(self, party_id: str) -> None: ...


async def ask_party(program: GridProgram, command: IssueCommand, asked: PartyWish, now: datetime) -> str:
    """Do it, and say so in plain words. Raises ``ValueError`` with why not, ``QueueFull``."""
    if not isinstance(program, AsksParties):
        raise ValueError(f"{command.connection_id} has no such thing: its protocol asks nothing of single parties")
    if command.kind is IssueKind.END_ORDER:
        return await _end(program, asked)
    party = found_party(asked.party, await program.parties())
    if command.kind is IssueKind.REREGISTER:
        await program.ask_to_reregister(party.party_id)
        return f"{party.name} is asked to register anew when it listens next"
    if command.kind is IssueKind.DEREGISTER:
        await program.cancel_registration(party.party_id)
        if party.party_id not in {one.party_id for one in await program.parties()}:
            return f"{party.name} is registered no more; it may register again"
        return f"{party.name} is told that its registration has ended; it is over once {party.name} has answered"
    resource_id = asked.resource_id or (_only_resource(party) if program.has_offers else "")
    order_id = await program.order_report(
        party.party_id,
        resource_id,
        asked.quantities,
        granularity_s=asked.granularity_s,
        report_back_s=asked.report_back_s,
        starts_at=asked.starts_at or now,
        ends_at=asked.ends_at,
        history=asked.history,
        order_id=asked.order_id,
    )
    of = f" of {resource_id}" if resource_id else ""
    return f"report {order_id} of {', '.join(asked.quantities)}{of} is ordered from {party.name}"


def found_party(name: str, parties: Sequence[Party]) -> Party:
    """The registered party of that id or name. Raises ``ValueError`` that names the nearest."""
    found = [party for party in parties if party.party_id == name] or [party for party in parties if party.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"several parties are called {name!r}: {', '.join(party.party_id for party in found)}")
    names = [party.name for party in parties] + [party.party_id for party in parties]
    near = get_close_matches(name, names, cutoff=0.5) or sorted({party.name for party in parties})[:5]
    raise ValueError(f"no party {name!r} is registered: {'there is ' + ', '.join(near) if near else 'nobody is'}")


def _only_resource(party: Party) -> str:
    resources = sorted({offer.resource_id for offer in party.offers})
    if len(resources) == 1:
        return resources[0]
    if not resources:
        raise ValueError(f"{party.name} has offered no reports")
    raise ValueError(f"{party.name} reports of {', '.join(resources)}: choose with --resource")


async def _end(program: AsksParties, asked: PartyWish) -> str:
    placed = {order.order.order_id: order for order in await program.orders()}
    if asked.order_id not in placed:
        near = get_close_matches(asked.order_id, placed, cutoff=0.5)
        raise ValueError(
            f"no report {asked.order_id!r} was ordered" + (f": there is {', '.join(near)}" if near else "")
        )
    if placed[asked.order_id].ended_at is not None:
        return f"report {asked.order_id} has ended already"
    await program.cancel_report(asked.order_id, last_report=asked.last_report)
    return f"report {asked.order_id} is cancelled" + ("; what is measured comes once more" if asked.last_report else "")
