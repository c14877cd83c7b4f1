"""EiRegisterParty, as a VEN goes through it."""

from collections.abc import Callable
from datetime import datetime

from protocols.errors import Rejected
from protocols.grid import PartyStore, Registration
from protocols.openadr2b.codec import Message, name_of
from protocols.openadr2b.conversation import REGISTER, Conversation, check
from protocols.openadr2b.model import CreatedPartyRegistration, CreatePartyRegistration, QueryRegistration

LONGEST_POLL_S = 86_400.0


async def register(
    conversation: Conversation,
    store: PartyStore,
    *,
    ven_name: str,
    default_poll_s: float,
    new_id: Callable[[], str],
    now: datetime,
) -> Registration:
    """Query, create, and keep the registration; the VTN's poll frequency goes before ``default_poll_s``.

    Raises ``Rejected`` where the VTN does not take us, and what ``Conversation.ask`` does.
    """
    offered = await _ask(conversation, QueryRegistration(request_id=new_id()), now)
    created = await _ask(
        conversation,
        CreatePartyRegistration(
            request_id=new_id(),
            profile="2.0b",
            transport="simpleHttp",
            report_only=False,
            xml_signature=False,
            ven_name=ven_name,
            http_pull_model=True,
        ),
        now,
    )
    if not created.ven_id or not created.registration_id:
        raise Rejected("registration refused: we were given no ids", code=created.response.code)
    every = created.poll_every or offered.poll_every
    asked_s = 0.0 if every is None else every.total_seconds()
    registration = Registration(
        connection_id=conversation.connection_id,
        registration_id=created.registration_id,
        party_id=created.ven_id,
        counterparty_id=created.vtn_id,
        poll_s=min(asked_s, LONGEST_POLL_S) if asked_s > 0 else default_poll_s,
        registered_at=now,
    )
    await store.save_registration(registration)
    return registration


async def _ask(conversation: Conversation, message: Message, now: datetime) -> CreatedPartyRegistration:
    heard = (await conversation.ask(REGISTER, message, now)).message
    check(heard, name_of(message), only_our_id=False)
    if not isinstance(heard, CreatedPartyRegistration):
        raise Rejected(f"{name_of(message)} was answered with {name_of(heard)}", code=name_of(heard))
    return heard
