"""Asking a VTN what it would register us with: the one question of 2.0b that changes nothing."""

from datetime import datetime

from protocols.errors import Rejected
from protocols.openadr2b.codec import decode, encode, name_of
from protocols.openadr2b.conversation import REGISTER, check
from protocols.openadr2b.exchange import Exchange
from protocols.openadr2b.model import CreatedPartyRegistration, QueryRegistration
from protocols.openadr2b.signature import Signer, Verifier, decode_signed, encode_signed


async def probe(
    exchange: Exchange, request_id: str, now: datetime, *, signer: Signer | None, verifier: Verifier | None
) -> str:
    """Who the VTN says that it is, in plain words.

    Raises what the exchange and the verifier do, ``MessageError`` for an answer that cannot be read, ``Rejected`` for
    one that is an error or something else.
    """
    question = QueryRegistration(request_id=request_id)
    body = encode(question) if signer is None else encode_signed(question, signer, now)
    answer = await exchange(REGISTER, body)
    heard = decode(answer) if verifier is None else (await decode_signed(answer, verifier, now)).message
    check(heard, name_of(question), only_our_id=False)
    if not isinstance(heard, CreatedPartyRegistration):
        raise Rejected(f"{name_of(question)} was answered with {name_of(heard)}", code=name_of(heard))
    every = "" if heard.poll_every is None else f", to be polled every {heard.poll_every.total_seconds():g} s"
    known = f"; it knows us as {heard.ven_id}" if heard.ven_id and heard.registration_id else ""
    return f"the VTN is {heard.vtn_id}{every}{known}"
