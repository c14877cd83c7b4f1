"""Parties, their opts and reports: asked of the record, as text; and commands about them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from uuid import uuid4

from gateway.app import parties_to
from gateway.cli.event import given_by, say
from gateway.cli.issue import issue, not_done
from gateway.domain.issuing import IssueCommand, IssueKind, PartyWish
from gateway.services.party_asking import found_party
from gateway.stages import Record
from protocols.grid import OptSchedule, Party
from protocols.grid_report import ReportInterval
from protocols.party_store import PlacedOrder

_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = ("power_w", "baseline_w", "reduction_w", "available_w")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyStanding:
    """One party, and all that stands between it and us. ``waiting`` are names of messages it has not taken yet."""

    party: Party
    orders: tuple[PlacedOrder, ...]
    opts: tuple[OptSchedule, ...]
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldOpt:
    """What a party told by EiOpt."""

    party_id: str
    party: str
    opt: OptSchedule


def give(
    url: str,
    kind: IssueKind,
    connection_id: str,
    wish: PartyWish,
    *,
    by: str | None,
    wait_s: float,
    json_wanted: bool,
) -> None:
    """Give the command and say what became of it. Ends with exit code 1 where it is not done."""
    command = IssueCommand(
        command_id=uuid4().hex,
        at=datetime.now(UTC),
        by=given_by(by, json_wanted=json_wanted),
        kind=kind,
        connection_id=connection_id,
        asked=wish,
    )
    given = issue(url, command, wait_s=wait_s, json_wanted=json_wanted)
    say(given, given.outcome, not_done(given, wait_s), json_wanted=json_wanted)


def parties_of(connection_ids: Sequence[str]) -> Callable[[Record], Awaitable[tuple[Party, ...]]]:
    """Asks who has registered with these VTNs."""

    async def asked(record: Record) -> tuple[Party, ...]:
        return tuple([party for name in connection_ids for party in await parties_to(record, name)])

    return asked


def standing_of(name: str, connection_id: str) -> Callable[[Record], Awaitable[PartyStanding]]:
    """Asks how a party stands. Raises ``ValueError`` that names the nearest where there is none."""

    async def asked(record: Record) -> PartyStanding:
        store = record.parties
        party = found_party(name, await parties_to(record, connection_id))
        return PartyStanding(
            party=party,
            orders=tuple(one for one in await store.placed_orders(connection_id) if one.party_id == party.party_id),
            opts=tuple(opt for party_id, opt in await store.opts(connection_id) if party_id == party.party_id),
            waiting=tuple(one.name for one in await store.queued(connection_id) if one.party_id == party.party_id),
        )

    return asked


def told_opts(connection_id: str) -> Callable[[Record], Awaitable[tuple[ToldOpt, ...]]]:
    """Asks what parties told by EiOpt."""

    async def asked(record: Record) -> tuple[ToldOpt, ...]:
        names = {party.party_id: party.name for party in await parties_to(record, connection_id)}
        return tuple(
            ToldOpt(party_id=party_id, party=names.get(party_id, party_id), opt=opt)
            for party_id, opt in await record.parties.opts(connection_id)
        )

    return asked


def data_of(order_id: str, connection_id: str) -> Callable[[Record], Awaitable[tuple[ReportInterval, ...]]]:
    """Asks for a report's intervals in order of time. Raises ``ValueError`` where no such report was ordered."""

    async def asked(record: Record) -> tuple[ReportInterval, ...]:
        known = [placed.order.order_id for placed in await record.parties.placed_orders(connection_id)]
        if order_id not in known:
            near = get_close_matches(order_id, known, cutoff=0.5)
            hint = f"there is {', '.join(near)}" if near else "see: gridgate vtn report list"
            raise ValueError(f"no report {order_id!r} was ordered by {connection_id}: {hint}")
        reports = await record.parties.received_reports(connection_id, _EVER)
        latest: dict[datetime, ReportInterval] = {}
        for item in (item for _, report in reports if report.order_id == order_id for item in report.intervals):
            latest[item.starts_at] = _with_said(item, latest.get(item.starts_at))
        return tuple(latest[at] for at in sorted(latest))

    return asked


def _with_said(item: ReportInterval, before: ReportInterval | None) -> ReportInterval:
    """An interval with what was said of it before and is not now: in 3.1 each quantity comes in a report of its own."""
    if before is None:
        return item
    kept = {name: getattr(before, name) for name in (*_COLUMNS, "state") if getattr(item, name) is None}
    return replace(item, **kept)


def parties_by_vtn(parties: Sequence[Party], connection_ids: Sequence[str]) -> str:
    """A line a party; under the name of each VTN where there are several."""
    texts = {
        name: parties_text([party for party in parties if party.connection_id == name], name) for name in connection_ids
    }
    return "\n".join(text if len(texts) == 1 else f"{name}:\n{text}" for name, text in texts.items())


def parties_text(parties: Sequence[Party], connection_id: str) -> str:
    """A line a party."""
    lines = [_party(party) for party in parties]
    none = f"nobody has registered with a VTN called {connection_id!r}"
    return "\n".join(lines) or none


def party_text(standing: PartyStanding) -> str:
    """A party in full."""
    offers = [
        f"offers {', '.join(offer.quantities)} of {offer.resource_id}, every {offer.min_sampling_s:g} s at least"
        for offer in standing.party.offers
    ]
    waiting = f"waits for it: {', '.join(standing.waiting)}" if standing.waiting else "nothing waits for it"
    head = parties_text((standing.party,), standing.party.connection_id)
    opts = [_opt(opt) for opt in standing.opts]
    return "\n".join([head, *offers, *([orders_text(standing.orders)] if standing.orders else []), *opts, waiting])


def orders_text(orders: Sequence[PlacedOrder]) -> str:
    """A line a report."""
    return "\n".join(_order(placed) for placed in orders) or "no reports were ordered"


def opts_text(told: Sequence[ToldOpt]) -> str:
    """A line an opt."""
    return "\n".join(f"{one.party}  {_opt(one.opt)}" for one in told) or "no party has told of an opt"


def data_text(intervals: Sequence[ReportInterval], separator: str) -> str:
    """A header and a line an interval; nothing stands where a quantity was not said."""
    head = ("starts_at", "duration_s", *_COLUMNS, "online", "overridden", "preliminary")
    return "\n".join(separator.join(cells) for cells in (head, *(_cells(item) for item in intervals)))


def _party(party: Party) -> str:
    since = f"since {_instant(party.registered_at)}" if party.registration_id else "left"
    said = f"  targets {party.detail}" if party.registration_id == party.party_id and party.detail else ""
    return f"{party.party_id}  {party.name}  {since}  {f'push to {party.address}' if party.address else 'pull'}{said}"


def _cells(item: ReportInterval) -> tuple[str, ...]:
    figures = ["" if (value := getattr(item, name)) is None else f"{value:.1f}" for name in _COLUMNS]
    states = ("", "") if item.state is None else (_yes(item.state.online), _yes(item.state.overridden))
    return (_instant(item.starts_at), f"{item.duration_s:g}", *figures, *states, _yes(item.preliminary))


def _order(placed: PlacedOrder) -> str:
    order = placed.order
    ended = "stands" if placed.ended_at is None else f"ended {_instant(placed.ended_at)}"
    what = f"{', '.join(order.quantities)} of {order.resource_id or 'all'}"
    return (
        f"{order.order_id}  {placed.party_id}  {what} in intervals of"
        f" {order.granularity_s:g} s, every {order.report_back_s:g} s: {ended}"
    )


def _opt(opt: OptSchedule) -> str:
    when = ", ".join(f"{_instant(starts_at)} for {length_s:g} s" for starts_at, length_s in opt.periods)
    about = f"event {opt.event_id}" if opt.event_id else when or "for good"
    program = f" (program {opt.program_id})" if opt.program_id else ""
    return f"{opt.opt_id}  {opt.opt} {about}{program}: {opt.reason or 'no reason given'}"


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
