"""How a VTN says no: each message has its own kind of answer, and names the venID where that kind has one."""

from collections.abc import Callable

from protocols.openadr2b import model, model_report
from protocols.openadr2b.codec import Message

_KINDS: dict[type, Callable[..., Message]] = {
    model.CancelPartyRegistration: model.CanceledPartyRegistration,
    model_report.RegisterReport: model_report.RegisteredReport,
    model_report.CreateReport: model_report.CreatedReport,
    model_report.UpdateReport: model_report.UpdatedReport,
    model_report.CancelReport: model_report.CanceledReport,
}
"""Those that have a venID. An oadrRequestEvent is refused by an oadrResponse: an empty list would cancel all events."""


def request_id_of(message: Message) -> str:
    """The id to answer with: the message's own, or that of the answer it carries."""
    own = getattr(message, "request_id", None)
    if isinstance(own, str):
        return own
    response = getattr(message, "response", None)
    return response.request_id if isinstance(response, model.EiResponse) else ""


def refusal(message: Message, vtn_id: str, code: str, description: str, *, ven_id: str | None = None) -> Message:
    """The answer that refuses a message."""
    response = model.EiResponse(code=code, description=description, request_id=request_id_of(message))
    ven_id = ven_id or getattr(message, "ven_id", None)
    if isinstance(message, model.QueryRegistration | model.CreatePartyRegistration):
        profiles = (model.Profile(name="2.0b", transports=("simpleHttp",)),)
        return model.CreatedPartyRegistration(response=response, vtn_id=vtn_id, profiles=profiles)
    if isinstance(message, model.CreateOpt):
        return model.CreatedOpt(response=response, opt_id=message.opt_id)
    if isinstance(message, model.CancelOpt):
        return model.CanceledOpt(response=response, opt_id=message.opt_id)
    kind = _KINDS.get(type(message))
    if kind is not None:
        return kind(response=response, ven_id=ven_id)
    return model.Response(response=response, ven_id=ven_id)
