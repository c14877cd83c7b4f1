"""CPU ms to write and read a signed oadrDistributeEvent of one event: ours beside openleadr's, interleaved in one run.

A round trip builds, signs and writes the message, then parses, verifies and decodes it; openleadr also validates it by
its XSD, which is how it enforces the schema (ours does while it reads). Keys are RSA of 2048 bits, as OpenADR's
certificates have them, and P-256. The smallest of the rounds counts: another process can only make a round slower.

    python tests/benchmarks/openadr2b_signature.py [ROUNDS]
"""

import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from openleadr import messaging, objects

from protocols.openadr2b.certificate import Pinned, fingerprint
from protocols.openadr2b.codec import decode, encode
from protocols.openadr2b.signature import Signer, Verifier, decode_signed, encode_signed
from protocols.replay import MemoryNonces, ReplayWindow
from protocols.xml import parse
from tests.certificates import Identity, authority

AIM = 40


def content() -> dict[str, Any]:
    """An oadrDistributeEvent in openleadr's words."""
    start = datetime(2030, 1, 31, 18, tzinfo=UTC)
    quarter = timedelta(minutes=15)
    event = objects.Event(
        event_descriptor=objects.EventDescriptor(
            event_id="event-1",
            modification_number=0,
            market_context="http://utility.example/dr",
            event_status="far",
            created_date_time=start,
            priority=1,
        ),
        active_period=objects.ActivePeriod(dtstart=start, duration=quarter),
        event_signals=[
            objects.EventSignal(
                intervals=[objects.Interval(dtstart=start, duration=quarter, signal_payload=1.0, uid=0)],
                signal_name="LOAD_CONTROL",
                signal_type="x-loadControlCapacity",
                signal_id="signal-1",
            )
        ],
        targets=[{"ven_id": "ven_001"}],
        response_required="always",
    )
    answer = {"request_id": "request-1", "response_code": 200, "response_description": "OK"}
    return {"request_id": "request-1", "vtn_id": "VTN_A", "response": answer, "events": [event]}


def cpu_ms(work: Callable[[], object], repeats: int) -> float:
    """CPU time of one call, in ms."""
    begin = time.process_time()
    for _ in range(repeats):
        work()
    return 1e3 * (time.process_time() - begin) / repeats


def theirs(party: Identity) -> Callable[[], object]:
    """A round trip of openleadr, as its server and client make it."""
    key, certificate, details = party.key_pem, party.pem, content()
    name = fingerprint(party.der)

    def round_trip() -> object:
        body = messaging.create_message("oadrDistributeEvent", cert=certificate, key=key, **details)
        tree = messaging.validate_xml_schema(body)
        messaging.validate_xml_signature(tree, name)
        return messaging.parse_message(body)

    return round_trip


def ours(party: Identity) -> dict[str, Callable[[], object]]:
    """Our round trip, and its two halves."""
    message = decode(messaging.create_message("oadrDistributeEvent", **content()).encode())
    signer = Signer(key_pem=party.key_pem, certificate_pem=party.pem)
    verifier = Verifier(Pinned(fingerprint(party.der)), ReplayWindow(MemoryNonces(most_per_signer=1_000_000)))
    now = datetime.now(UTC)
    signed, unsigned = encode_signed(message, signer, now), encode(message)

    async def trip() -> object:
        return await decode_signed(encode_signed(message, signer, now), verifier, now)

    def round_trip() -> object:
        # Stepped by hand: the store in memory never waits, and a loop for each call would be measured too.
        steps = trip()
        try:
            steps.send(None)
        except StopIteration as done:
            return done.value
        raise RuntimeError("the store in memory waited")

    return {
        "ours": round_trip,
        "sign": lambda: encode_signed(message, signer, now),
        "verify": lambda: verifier.prove(parse(signed), now),
        "unsigned": lambda: decode(unsigned) and encode(message),
    }


def main(rounds: int) -> None:
    """Measure and print."""
    logging.disable(logging.WARNING)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    root = authority(begins_at=yesterday)
    print("key        ours  openleadr  ratio    sign  verify  unsigned")
    for kind, key in (("RSA-2048", rsa.generate_private_key(65537, 2048)), ("P-256", None)):
        party = root.vouch("party", key=key, begins_at=yesterday)
        contenders = {**ours(party), "openleadr": theirs(party)}
        best = dict.fromkeys(contenders, float("inf"))
        for _ in range(rounds):
            for name, work in contenders.items():
                best[name] = min(best[name], cpu_ms(work, 5 if name == "openleadr" else 40))
        print(
            f"{kind:9} {best['ours']:6.3f} {best['openleadr']:10.2f} {best['openleadr'] / best['ours']:6.1f} "
            f"{best['sign']:7.3f} {best['verify']:7.3f} {best['unsigned']:9.3f}"
        )
    print(f"CPU ms, least of {rounds} rounds; ratio is openleadr's / ours, for RSA the aim is {AIM}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
