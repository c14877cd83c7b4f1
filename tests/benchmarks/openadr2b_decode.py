"""CPU ms to decode an oadrDistributeEvent of one and of ten events: ours beside openleadr's, interleaved in one run.

Both read the same bytes, which openleadr wrote. Ours enforces order, number and enumerations while it reads; openleadr
does that by its XSD, so that "validate + parse" is what compares. The smallest of the rounds counts: another process
can only make a round slower.

    python tests/benchmarks/openadr2b_decode.py [ROUNDS]
"""

import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from openleadr import objects
from openleadr.messaging import create_message, parse_message, validate_xml_schema

from protocols.openadr2b.codec import decode, encode

AIM = 0.2


def message(events: int) -> bytes:
    """An oadrDistributeEvent as openleadr writes it."""
    start = datetime(2030, 1, 31, 18, tzinfo=UTC)
    text: str = create_message(
        "oadrDistributeEvent",
        request_id="request-1",
        vtn_id="VTN_A",
        response={"request_id": "request-1", "response_code": 200, "response_description": "OK"},
        events=[
            objects.Event(
                event_descriptor=objects.EventDescriptor(
                    event_id=f"event-{index}",
                    modification_number=0,
                    market_context="http://utility.example/dr",
                    event_status="far",
                    created_date_time=start,
                    priority=1,
                ),
                active_period=objects.ActivePeriod(dtstart=start, duration=timedelta(minutes=15)),
                event_signals=[
                    objects.EventSignal(
                        intervals=[
                            objects.Interval(dtstart=start, duration=timedelta(minutes=15), signal_payload=1.0, uid=0)
                        ],
                        signal_name="LOAD_CONTROL",
                        signal_type="x-loadControlCapacity",
                        signal_id=f"signal-{index}",
                    )
                ],
                targets=[{"ven_id": "ven_001"}],
                response_required="always",
            )
            for index in range(events)
        ],
    )
    return text.encode()


def cpu_ms(work: Callable[[], object], repeats: int) -> float:
    """CPU time of one call, in ms."""
    begin = time.process_time()
    for _ in range(repeats):
        work()
    return 1e3 * (time.process_time() - begin) / repeats


def main(rounds: int) -> None:
    """Measure and print."""
    logging.disable(logging.WARNING)
    print("events  bytes     ours    parse val+parse  ratio ratio(parse)  encode")
    for events in (1, 10):
        body = message(events)
        ours_message = decode(body)
        contenders: dict[str, Callable[[], object]] = {
            "ours": lambda body=body: decode(body),
            "parse": lambda body=body: parse_message(body),
            "validate": lambda body=body: validate_xml_schema(body),
            "encode": lambda message=ours_message: encode(message),
        }
        best = dict.fromkeys(contenders, float("inf"))
        for _ in range(rounds):
            for name, work in contenders.items():
                best[name] = min(best[name], cpu_ms(work, 200 // events))
        theirs = best["validate"] + best["parse"]
        print(
            f"{events:6} {len(body):6} {best['ours']:8.3f} {best['parse']:8.3f} {theirs:9.3f} "
            f"{best['ours'] / theirs:6.3f} {best['ours'] / best['parse']:12.3f}  {best['encode']:.3f}"
        )
    print(f"CPU ms a message, least of {rounds} rounds; ratio is ours / theirs, the aim {AIM}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
