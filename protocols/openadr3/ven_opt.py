"""That we opt out of an event, or in again, in 3.x's terms.

The definition has no opt. It has operating states, two of which say that a resource is opted out of any event; so an
event whose reportDescriptors ask for OPERATING_STATE is told by a report of its own name, one for each event, which is
replaced when our answer changes. Nothing is said of an event that does not ask.
"""

from collections.abc import Sequence
from datetime import timedelta

from protocols.grid import Opt, OptDecision
from protocols.openadr3 import model
from protocols.openadr3.names import OPERATING_STATE, Version

OPTED_OUT = "RUNNING_OPTED_OUT"
NORMAL = "NORMAL"


def asks_for_state(event: model.Event) -> bool:
    """Whether the event wants to know how our resources stand."""
    return any(item.payload_type == OPERATING_STATE for item in event.report_descriptors)


def opt_name(event_id: str) -> str:
    """The name of the report that says whether we take part in an event."""
    return f"opt-{event_id}"


def write_opt(
    decision: OptDecision, event: model.Event, client_name: str, resource_names: Sequence[str], version: Version
) -> model.Report:
    """The report that says the decision of each resource, as it stood in the second when it was decided."""
    state = OPTED_OUT if decision.opt is Opt.OUT else NORMAL
    interval = model.Interval(
        id=0,
        period=model.IntervalPeriod(start=decision.decided_at, duration=timedelta(seconds=1)),
        payloads=(model.ValuesMap(type=OPERATING_STATE, values=(state,)),),
    )
    return model.Report(
        event_id=decision.event_id,
        program_id=event.program_id if version is Version.V3_0 else None,
        client_name=client_name,
        name=opt_name(decision.event_id),
        payload_descriptors=(model.ReportPayloadDescriptor(payload_type=OPERATING_STATE),),
        resources=tuple(
            model.ReportResource(name=name, intervals=(interval,)) for name in resource_names or (client_name,)
        ),
    )
