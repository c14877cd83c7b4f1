"""What the tests of the VTN ask it, as a VEN that they write by hand."""

from datetime import timedelta
from typing import Any

from protocols.grid_report import ReportOffer, ReportQuantity
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.neutral_metadata import write_offers

ALL_QUANTITIES = tuple(ReportQuantity)


async def ask(joined: Any, service: str, message: codec.Message) -> Any:
    """The answer to a message; both are checked against the schema."""
    return codec.decode(await joined.exchange(service, codec.encode(message)))


def register(**more: Any) -> model.CreatePartyRegistration:
    return model.CreatePartyRegistration(
        **{
            "request_id": "r1",
            "profile": "2.0b",
            "transport": "simpleHttp",
            "report_only": False,
            "xml_signature": False,
            "ven_name": "somebody",
            "http_pull_model": True,
            **more,
        }
    )


async def registered(joined: Any, **more: Any) -> str:
    """The venID of a new VEN."""
    answer = await ask(joined, "EiRegisterParty", register(**more))
    assert answer.ven_id, answer
    return str(answer.ven_id)


async def poll(joined: Any, ven_id: str) -> Any:
    return await ask(joined, "OadrPoll", model.Poll(ven_id=ven_id))


async def told(joined: Any, ven_id: str) -> list[tuple[str, int, str]]:
    """Id, revision and status of the events that a poll brings, in their order."""
    answer = await poll(joined, ven_id)
    if not isinstance(answer, model.DistributeEvent):
        return []
    return [
        (item.event.descriptor.event_id, item.event.descriptor.modification_number, item.event.descriptor.status)
        for item in answer.events
    ]


def created(ven_id: str, event_id: str, revision: int = 0, opt: str = "optIn") -> model.CreatedEvent:
    event = model.QualifiedEvent(event_id=event_id, modification_number=revision)
    response = model.EventResponse(code="200", request_id="r", event=event, opt=opt)
    return model.CreatedEvent(
        response=model.EiResponse(code="200", request_id="r"), event_responses=(response,), ven_id=ven_id
    )


async def answer(joined: Any, ven_id: str, event_id: str, revision: int = 0, opt: str = "optIn") -> Any:
    return await ask(joined, "EiEvent", created(ven_id, event_id, revision, opt))


def offers(joined: Any, ven_id: str, resource_id: str = "hall", **more: Any) -> model_report.RegisterReport:
    """Everything that can be reported of a resource."""
    offer = ReportOffer(
        resource_id=resource_id,
        min_sampling_s=1,
        max_sampling_s=3600,
        quantities=ALL_QUANTITIES,
        history_s=86_400.0,
    )
    return model_report.RegisterReport(
        **{"request_id": "r", "reports": write_offers(offer, joined.now), "ven_id": ven_id, **more}
    )


def said(message: Any, ven_id: str, **more: Any) -> Any:
    """The good answer to what a poll brought."""
    response = model.EiResponse(code="200", request_id=message.request_id)
    kind = {
        model_report.CreateReport: model_report.CreatedReport,
        model_report.CancelReport: model_report.CanceledReport,
        model_report.RegisterReport: model_report.RegisteredReport,
        model.CancelPartyRegistration: model.CanceledPartyRegistration,
    }[type(message)]
    return kind(**{"response": response, "ven_id": ven_id, **more})


def data(joined: Any, request: model_report.ReportRequest, r_id: str, *values: Any, **more: Any) -> model_report.Report:
    """A report of values, a minute apart."""
    return model_report.Report(
        **{
            "report_request_id": request.report_request_id,
            "specifier_id": request.specifier.specifier_id,
            "created_at": joined.now,
            "report_id": "report-1",
            "name": "TELEMETRY_USAGE",
            "intervals": tuple(
                model_report.ReportInterval(
                    starts_at=joined.now + timedelta(minutes=index),
                    duration=timedelta(minutes=1),
                    payloads=(model_report.ReportPayload(r_id=r_id, value=value),),
                )
                for index, value in enumerate(values)
            ),
            **more,
        }
    )


async def update(joined: Any, ven_id: str, *reports: model_report.Report) -> Any:
    return await ask(joined, "EiReport", model_report.UpdateReport(request_id="u", reports=reports, ven_id=ven_id))
