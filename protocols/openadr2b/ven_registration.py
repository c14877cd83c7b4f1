"""EiRegisterParty, as a VEN goes through it: query, create, register anew under the old ids, and cancel."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from protocols.errors import NotRegistered, Rejected
from protocols.openadr2b.codec import Message, name_of
from protocols.openadr2b.conversation import INVALID_ID, NOT_REGISTERED, REGISTER, Conversation, check, said_well
from protocols.openadr2b.model import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    EiResponse,
    QueryRegistration,
)
from protocols.party_store import PartyStore, Registration

LONGEST_POLL_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How we want to be registered. With ``push_url`` the VTN sends to us there, without it we poll."""

    ven_name: str
    poll_s: float
    push_url: str | None = None


async def register(
    conversation: Conversation,
    store: PartyStore,
    wanted: Wanted,
    *,
    former: Registration | None,
    new_id: Callable[[], str],
    now: datetime,
) -> Registration:
    """Query, create, and keep the registration; the VTN's poll frequency goes before ours.

    Where the VTN asked us to register anew, ``former`` is what we had: it is named, and where that is not taken we
    register as somebody new. Raises ``Rejected`` where the VTN does not take us, and what ``Conversation.ask`` does.
    """
    offered = await _ask(conversation, QueryRegistration(request_id=new_id()), now)
    try:
        created = await _create(conversation, wanted, former, new_id(), now)
    except (Rejected, NotRegistered) as fault:
        unknown = isinstance(fault, NotRegistered) or (isinstance(fault, Rejected) and fault.code == INVALID_ID)
        if former is None or not unknown:
            raise
        created = await _create(conversation, wanted, None, new_id(), now)
    if not created.ven_id or not created.registration_id:
        raise Rejected(
            "registration refused: we were given no ids; have the utility enrol our certificate or name",
            code=created.response.code,
        )
    every = created.poll_every or offered.poll_every
    asked_s = 0.0 if every is None else every.total_seconds()
    registration = Registration(
        connection_id=conversation.connection_id,
        registration_id=created.registration_id,
        party_id=created.ven_id,
        counterparty_id=created.vtn_id,
        poll_s=min(asked_s, LONGEST_POLL_S) if asked_s > 0 else wanted.poll_s,
        registered_at=now,
    )
    await store.save_registration(registration)
    return registration


async def deregister(
    conversation: Conversation, registration: Registration, new_id: Callable[[], str], now: datetime
) -> None:
    """Tell the VTN that our registration ends. That it knows of none is as good.

    Raises ``Rejected`` where it will not have it, and what ``Conversation.ask`` does.
    """
    message = CancelPartyRegistration(
        request_id=new_id(), registration_id=registration.registration_id, ven_id=registration.party_id
    )
    heard = (await conversation.ask(REGISTER, message, now)).message
    try:
        check(heard, name_of(message), only_our_id=False)
    except Rejected as fault:
        if fault.code not in {INVALID_ID, NOT_REGISTERED}:
            raise
    if not isinstance(heard, CanceledPartyRegistration):
        raise Rejected(f"{name_of(message)} was answered with {name_of(heard)}", code=name_of(heard))


async def _create(
    conversation: Conversation, wanted: Wanted, former: Registration | None, request_id: str, now: datetime
) -> CreatedPartyRegistration:
    message = CreatePartyRegistration(
        request_id=request_id,
        registration_id=None if former is None else former.registration_id,
        ven_id=None if former is None else former.party_id,
        profile="2.0b",
        transport="simpleHttp",
        transport_address=wanted.push_url,
        report_only=False,
        xml_signature=conversation.signer is not None,
        ven_name=wanted.ven_name,
        http_pull_model=wanted.push_url is None,
    )
    return await _ask(conversation, message, now)


async def _ask(conversation: Conversation, message: Message, now: datetime) -> CreatedPartyRegistration:
    heard = (await conversation.ask(REGISTER, message, now)).message
    check(heard, name_of(message), only_our_id=False)
    if not isinstance(heard, CreatedPartyRegistration):
        raise Rejected(f"{name_of(message)} was answered with {name_of(heard)}", code=name_of(heard))
    return heard


def is_ours(message: CancelPartyRegistration, registration: Registration) -> bool:
    """Whether a cancellation by the VTN means our registration, and not an earlier one."""
    return message.registration_id == registration.registration_id


def canceled(message: CancelPartyRegistration, registration: Registration) -> CanceledPartyRegistration:
    """The answer to a cancellation by the VTN."""
    response = (
        said_well(message.request_id)
        if is_ours(message, registration)
        else EiResponse(code=INVALID_ID, description="not our registration", request_id=message.request_id)
    )
    return CanceledPartyRegistration(
        response=response, registration_id=message.registration_id, ven_id=registration.party_id
    )
