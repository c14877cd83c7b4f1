"""ElaadNL's openadr3-client as business logic and as a VEN, in an environment of its own."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openadr3_client._models.common.interval import Interval
from openadr3_client._models.common.interval_period import IntervalPeriod
from openadr3_client.bl.http_factory import BusinessLogicHttpClientFactory
from openadr3_client.oadr310._vtn.interfaces.filters import PaginationFilter, TargetFilter
from openadr3_client.oadr310.models.event.event import EventUpdate, NewEvent
from openadr3_client.oadr310.models.event.event_payload import EventPayload, EventPayloadType
from openadr3_client.oadr310.models.program.program import NewProgram
from openadr3_client.oadr310.models.report.report import NewReport, ReportResource
from openadr3_client.oadr310.models.report.report_payload import ReportPayload, ReportPayloadType
from openadr3_client.oadr310.models.resource.resource import NewResourceVenRequest
from openadr3_client.oadr310.models.ven.ven import NewVenBlRequest
from openadr3_client.ven.http_factory import VirtualEndNodeHttpClientFactory
from openadr3_client.version import OADRVersion

common = {
    "vtn_base_url": os.environ["VTN_URL"],
    "verify_vtn_tls_certificate": Path(os.environ["CA_FILE"]),
    "version": OADRVersion.OADR_310,
}
# The token's address is found by /auth/server.
bl = BusinessLogicHttpClientFactory.create_http_bl_client(
    client_id="bl", client_secret=os.environ["SECRET_BL"], **common
)
ven = VirtualEndNodeHttpClientFactory.create_http_ven_client(
    client_id="ven", client_secret=os.environ["SECRET_VEN"], scopes=["read_targets", "read_ven_objects"], **common
)
writer = VirtualEndNodeHttpClientFactory.create_http_ven_client(
    client_id="ven", client_secret=os.environ["SECRET_VEN"], **common
)

period = IntervalPeriod(start=datetime.now(UTC), duration=timedelta(hours=1))
program = bl.programs.create_program(NewProgram(program_name="peak", interval_period=period))
granted = bl.vens.create_ven(NewVenBlRequest(ven_name="phx", client_id="ven", targets=("north",)))
event = bl.events.create_event(
    NewEvent(
        program_id=program.id,
        event_name="level two",
        targets=("north", "south"),
        interval_period=period,
        intervals=(Interval(id=0, payloads=(EventPayload(type=EventPayloadType.SIMPLE, values=(2,)),)),),
    )
)
bl.events.update_event_by_id(event.id, EventUpdate(**{**event.model_dump(), "event_name": "changed"}))

page = PaginationFilter(skip=0, limit=10)
unasked = ven.events.get_events(target=None, pagination=page, program_id=program.id)
seen = ven.events.get_events(target=TargetFilter(targets=["north"]), pagination=page, program_id=program.id)
resource = writer.resources.create_resource(NewResourceVenRequest(resource_name="meter", ven_id=granted.id))
report = writer.reports.create_report(
    NewReport(
        event_id=event.id,
        client_name="phx",
        resources=(
            ReportResource(
                resource_name="meter",
                interval_period=period,
                intervals=(Interval(id=0, payloads=(ReportPayload(type=ReportPayloadType.USAGE, values=(12.5,)),)),),
            ),
        ),
    )
)
print(  # noqa: T201
    json.dumps(
        {
            "unasked": [item.event_name for item in unasked],
            "seen": [[item.event_name, item.targets] for item in seen],
            "own vens": [item.ven_name for item in ven.vens.get_vens(None, None, page)],
            "resource": resource.client_id,
            "reports": [item.id == report.id for item in bl.reports.get_reports(page, None, event.id, None)],
            "webhook": bl.notifiers.get_notifiers().webhook,
            "deleted": bl.programs.delete_program_by_id(program.id).program_name,
            "left": len(bl.events.get_events(None, page, None)),
        }
    )
)
