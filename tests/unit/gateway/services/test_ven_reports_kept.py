"""Orders of every quantity, over our VEN, the real record and back, also after a restart."""

from datetime import timedelta

from protocols.grid_report import ReportOffer, ReportQuantity, ResourceState
from protocols.openadr2b import codec, model_report
from protocols.openadr2b.neutral_metadata import points_of
from protocols.openadr2b.neutral_report import read_data, write_order
from protocols.openadr2b.ven import Ven
from tests.unit.gateway.services.rig import CONNECTION_ID, STARTS_AT, Rig
from tests.unit.gateway.services.test_report_quantities import order
from tests.unit.protocols.openadr2b.conftest import REGISTERED, Scripted

OFFER = ReportOffer(
    resource_id="lab-1",
    min_sampling_s=1.0,
    max_sampling_s=3600.0,
    quantities=tuple(ReportQuantity),
    history_s=86_400.0,
)
POINTS = points_of(OFFER)
STATE = ResourceState(online=True, overridden=True, power_w=5.0)


async def test_every_quantity_goes_out_as_it_was_ordered(rig: Rig) -> None:
    scripted = Scripted(rig.parties, lambda _: None)

    def new_ven() -> Ven:
        return Ven(
            connection_id=CONNECTION_ID,
            ven_name="gateway",
            exchange=scripted.exchange,
            store=rig.parties,
            offers=(OFFER,),
            poll_s=5.0,
        )

    quantities = (
        (ReportQuantity.POWER,),
        (ReportQuantity.BASELINE, ReportQuantity.REDUCTION, ReportQuantity.AVAILABLE),
        (ReportQuantity.STATE,),
    )
    await rig.parties.save_registration(REGISTERED)
    asked = [write_order(order(*wanted, order_id=str(index)), POINTS) for index, wanted in enumerate(quantities)]
    scripted.says("OadrPoll", model_report.CreateReport(request_id="r", requests=tuple(asked)))
    scripted.says("EiReport", model_report.RegisteredReport(response=Scripted.NOTHING.response))
    for ven in (new_ven(), new_ven()):
        reporting = rig.reporting(ven, state=lambda: STATE, available_w=lambda: 700.0)
        await rig.run(rig.intake(ven), rig.metering(), reporting, for_s=70)
    sent = [report for message in scripted.sent(model_report.UpdateReport) for report in message.reports]
    read = [
        item
        for report in sent
        for item in read_data(report, connection_id=CONNECTION_ID, granularity_s=10.0, points=POINTS)
    ]
    parts = {
        order_id: [part for item in read if item.order_id == order_id for part in item.intervals]
        for order_id in ("0", "1", "2")
    }
    # Ordered at five seconds: the first interval is the next on the order's grid.
    grid = [10.0 * (index + 1) for index in range(12)]
    starts = {
        order_id: [(part.starts_at - STARTS_AT).total_seconds() for part in found] for order_id, found in parts.items()
    }
    assert starts["0"] == starts["1"] == grid
    # How things stood is not known of the time before a restart that was not reported yet.
    assert starts["2"] == [start for start in grid if start not in {40.0, 50.0}]
    assert all(part.power_w for part in parts["0"])
    assert {part.reduction_w for part in parts["1"]} == {0.0}
    assert {part.available_w for part in parts["1"][:3]} == {700.0}
    assert {part.state for part in parts["2"][:3]} == {STATE}
    assert codec.name_of(scripted.sent(model_report.CreatedReport)[0]) == "oadrCreatedReport"
    assert STARTS_AT + timedelta(seconds=140) == rig.clock.now()
