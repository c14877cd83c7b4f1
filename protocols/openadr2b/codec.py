"""From bytes to messages and back, by a direct walk over the tree: order, number and enumerations are enforced here.

What is stricter than the schema set: Green Button feeds are not read, and a signal's interval holds one number. What
is laxer: attributes other than the tree's own and text between elements are passed over, and blanks around a token
or a number are taken off.

Signed payloads are read as they stand: **the signature is not verified here**, so that a signed message proves nothing.
``signature.decode_signed`` takes only what is proven, ``signature.encode_signed`` writes it.
"""

from collections.abc import Mapping

from lxml import etree

from protocols.errors import MalformedMessage, MessageError, UnsupportedMessage
from protocols.openadr2b import codec_event, codec_registration, codec_report, model, model_report
from protocols.openadr2b.codec_parts import ei_response, item_bases, qualified_event, targets
from protocols.openadr2b.names import DS, EI, NSMAP, OADR, PYLD, namespace_of, readable
from protocols.openadr2b.schema import Content, tags
from protocols.xml import Element, line_of, parse

Message = (
    model.QueryRegistration
    | model.CreatePartyRegistration
    | model.CreatedPartyRegistration
    | model.CancelPartyRegistration
    | model.CanceledPartyRegistration
    | model.RequestReregistration
    | model.RequestEvent
    | model.DistributeEvent
    | model.CreatedEvent
    | model.Response
    | model.Poll
    | model.CreateOpt
    | model.CreatedOpt
    | model.CancelOpt
    | model.CanceledOpt
    | model_report.RegisterReport
    | model_report.RegisteredReport
    | model_report.CreateReport
    | model_report.CreatedReport
    | model_report.UpdateReport
    | model_report.UpdatedReport
    | model_report.CancelReport
    | model_report.CanceledReport
)
"""What travels alone, in an oadrPayload."""

Fragment = (
    model.ItemBase
    | model.EiEvent
    | model.EventSignal
    | model.EiResponse
    | model.QualifiedEvent
    | model.Targets
    | model_report.Report
    | model_report.ReportRequest
)
"""Parts that can be read for themselves."""

MESSAGES: Mapping[str, Content] = {**codec_event.MESSAGES, **codec_registration.MESSAGES, **codec_report.MESSAGES}
FRAGMENTS: Mapping[str, Content] = {
    **item_bases,
    EI + "eiEvent": codec_event.ei_event,
    EI + "eiEventSignal": codec_event.event_signal,
    EI + "eiResponse": ei_response,
    EI + "qualifiedEventID": qualified_event,
    EI + "eiTarget": targets,
    OADR + "oadrReport": codec_report.report,
    OADR + "oadrReportRequest": codec_report.report_request,
}

_PAYLOAD = OADR + "oadrPayload"
_SIGNED_OBJECT = OADR + "oadrSignedObject"
_SIGNATURE = DS + "Signature"
_VERSION = EI + "schemaVersion"
_VERSIONS = frozenset({"2.0a", "2.0b"})
_XML = "<?xml version='1.0' encoding='utf-8'?>\n"
_VERSION_ATTRIBUTE = readable(_VERSION)
_OPENED, _CLOSED = tags(_SIGNED_OBJECT)
_DECLARATIONS = {f"<{prefix}:": f' xmlns:{prefix}="{namespace}"' for prefix, namespace in NSMAP.items()}
_ALWAYS_USED = frozenset({"<oadr:", "<ei:"})
_TAGS: dict[type, str] = {}
for _tag in MESSAGES:
    _local = _tag.rpartition("oadr")[2]
    _TAGS[getattr(model, _local, None) or getattr(model_report, _local)] = _tag


def name_of(message: Message) -> str:
    """The protocol's name of a message: ``oadrPoll``."""
    return _TAGS[type(message)].rpartition("}")[2]


def decode(body: bytes) -> Message:
    """The message in a payload, or bare. Raises ``MessageError`` with line and, where it can be read, request id."""
    return decode_element(parse(body))


def decode_element(root: Element) -> Message:
    """As ``decode``, of what is parsed already."""
    element = _inside(root)
    content = MESSAGES.get(element.tag)
    if content is None:
        raise _unsupported(element, "message")
    _check_version(element)
    try:
        message: Message = content.read(element)
    except MessageError as fault:
        fault.request_id = _request_id(element)
        raise
    return message


def decode_any(root: Element) -> tuple[str, Message | Fragment]:
    """The element's name and value, of a payload, a bare message or one of the fragments."""
    content = FRAGMENTS.get(root.tag)
    if content is None:
        message = decode_element(root)
        return name_of(message), message
    fragment: Fragment = content.read(root)
    return root.tag.rpartition("}")[2], fragment


def is_signed(root: Element) -> bool:
    """Whether a payload carries a signature (which nobody has verified here)."""
    return root.tag == _PAYLOAD and len(root) > 0 and root[0].tag == _SIGNATURE


def encode(message: Message) -> bytes:
    """The message in an oadrPayload, UTF-8. Raises ``ValueError`` for what the schema has no room for."""
    tag = _TAGS[type(message)]
    out: list[str] = []
    MESSAGES[tag].write(out, tag, message)
    opening = tags(tag)[0]
    # The message's element is written first: it takes the version that it is of.
    out[0] = f'{opening[:-1]} {_VERSION_ATTRIBUTE}="2.0b">'
    inside = "".join(out)
    used = "".join(declaration for mark, declaration in _DECLARATIONS.items() if mark in inside or mark in _ALWAYS_USED)
    return f"{_XML}<oadr:oadrPayload{used}>{_OPENED}{inside}{_CLOSED}</oadr:oadrPayload>".encode()


def encode_element(message: Message) -> Element:
    """As ``encode``, as a tree."""
    return parse(encode(message))


def serialised(root: Element) -> bytes:
    """A payload as it travels: UTF-8 with an XML declaration."""
    return etree.tostring(root, encoding="utf-8", xml_declaration=True)


def _inside(root: Element) -> Element:
    """The message's element: the root itself, or what a payload holds."""
    if root.tag != _PAYLOAD:
        return root
    held = list(root)
    if held and held[0].tag == _SIGNATURE:
        del held[0]
    if len(held) != 1 or held[0].tag != _SIGNED_OBJECT:
        raise MalformedMessage(
            "oadr:oadrPayload needs, after an optional ds:Signature, one oadr:oadrSignedObject", line=line_of(root)
        )
    if len(held[0]) != 1:
        raise MalformedMessage(
            f"oadr:oadrSignedObject holds {len(held[0])} messages, expected one", line=line_of(held[0])
        )
    return held[0][0]


def _unsupported(element: Element, what: str) -> UnsupportedMessage:
    namespace = namespace_of(element.tag)
    if namespace not in NSMAP.values():
        return UnsupportedMessage(
            f"{element.tag} is in the namespace {namespace or 'of nobody'!r}, not in one of OpenADR 2.0b",
            line=line_of(element),
        )
    return UnsupportedMessage(f"{readable(element.tag)} is no {what} of OpenADR 2.0b", line=line_of(element))


def _check_version(element: Element) -> None:
    version = element.get(_VERSION)
    # 2.0a is let through as the schema does: some stacks write it on 2.0b messages.
    if version is not None and version not in _VERSIONS and not version.startswith("x-"):
        raise UnsupportedMessage(f"schema version {version!r}, expected 2.0b", line=line_of(element))


def _request_id(element: Element) -> str | None:
    """The sender's request id of a message that could not be read whole: the first that is not in an eiResponse."""
    for found in element.iter(PYLD + "requestID"):
        parent = found.getparent()
        if parent is not None and parent.tag != EI + "eiResponse":
            return found.text or ""
    return None
