"""What the sites below have reported of an event, read from the record: the inputs of a verification by sites."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from gateway.domain.event import EventRecord, took_part_until
from gateway.domain.fleet import Site
from gateway.domain.measurement import integrate, slices
from gateway.domain.site_verification import SiteBelow, SiteVerificationInputs, site_reports
from gateway.domain.verification import SitePart
from gateway.ledger import Ledger

_MARGIN = timedelta(minutes=1)
"""A reading stands for at most so long after it was taken."""


async def gather_site_inputs(
    ledger: Ledger, site: Site, record: EventRecord, below: Sequence[SiteBelow]
) -> SiteVerificationInputs:
    """As of now. Raises ``ValueError`` for an event that is open ended and not over."""
    return await _gather(ledger, site, record, below, None)


async def gather_stated_inputs(
    ledger: Ledger, site: Site, record: EventRecord, parts: Sequence[SitePart]
) -> SiteVerificationInputs:
    """As of a statement: the sites and the reports that it names, whatever was reported since."""
    below = [
        SiteBelow(party=part.party, connection_id=part.connection_id, party_id=part.party_id, weight_w=part.weight_w)
        for part in parts
    ]
    stated = {(part.connection_id, part.party): frozenset(part.report_ids) for part in parts}
    return await _gather(ledger, site, record, below, stated)


async def _gather(
    ledger: Ledger,
    site: Site,
    record: EventRecord,
    below: Sequence[SiteBelow],
    stated: Mapping[tuple[str, str], Collection[str]] | None,
) -> SiteVerificationInputs:
    event = record.event
    start, end = event.starts_at, took_part_until(record)
    if end is None:
        raise ValueError(f"event {event.event_id} is open ended and not over")
    # Nobody reports an interval before it has begun.
    heard = {name: await ledger.received_reports(name, start) for name in sorted({one.connection_id for one in below})}
    readings = await ledger.readings_between(site.meter_id, start - _MARGIN, end)
    return SiteVerificationInputs(
        connection_id=event.connection_id,
        event_id=event.event_id,
        revision=event.revision,
        event_start=start,
        event_end=end,
        interval_s=site.interval_s,
        sites=tuple(
            site_reports(
                (
                    report
                    for party_id, report in heard[one.connection_id]
                    if party_id == one.party_id
                    and (stated is None or report.report_id in stated[one.connection_id, one.party])
                ),
                site=one,
                start=start,
                end=end,
            )
            for one in sorted(below, key=lambda one: (one.connection_id, one.party))
        ),
        metered=integrate(readings, slices(start, end, site.interval_s)),
    )
