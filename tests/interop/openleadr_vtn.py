"""A real openleadr VTN as a process of its own, told what to do over standard input, one JSON object a line.

It says what happened to it over standard output in the same way. It knows only VENs that registered in its own life, so
that starting it anew forgets everybody. With a folder of certificates it demands TLS on both sides, signs, and takes
only what is signed.
"""

import argparse
import asyncio
import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from openleadr import OpenADRServer


def say(what: str, **facts: Any) -> None:
    sys.stdout.write(json.dumps({"what": what, **facts}, default=str) + "\n")
    sys.stdout.flush()


class Utility:
    def __init__(self, port: int, life: str, tls: Path | None) -> None:
        self.life = life
        self.vens: dict[str, dict[str, str]] = {}
        self.server = OpenADRServer(
            vtn_id="Lab-VTN",
            http_port=port,
            requested_poll_freq=timedelta(seconds=1),
            ven_lookup=self.look_up,
            show_fingerprint=False,
            **certificates(tls),
        )
        self.server.add_handler("on_create_party_registration", self.on_registration)
        self.server.add_handler("on_register_report", self.on_register_report)
        self.server.add_handler("on_cancel_party_registration", self.on_cancel)

    def look_up(self, ven_id: str) -> dict[str, str] | None:
        return self.vens.get(ven_id)

    async def on_registration(self, info: dict[str, Any]) -> tuple[str, str]:
        ven_id = f"ven-{self.life}"
        registration_id = f"registration-{self.life}"
        self.vens[ven_id] = {
            "ven_id": ven_id,
            "ven_name": info["ven_name"],
            "registration_id": registration_id,
            "fingerprint": info.get("fingerprint", ""),
        }
        say("registered", ven_id=ven_id, ven_name=info["ven_name"], fingerprint=info.get("fingerprint"))
        return ven_id, registration_id

    async def on_register_report(self, report: dict[str, Any]) -> list[tuple[str, Any, timedelta]]:
        """Every data point is ordered. What a point is of, openleadr says only to a handler of whole reports."""
        return [self.order(point) for point in report["report_descriptions"]]

    def order(self, point: dict[str, Any]) -> tuple[str, Any, timedelta]:
        resource_id = (point.get("report_data_source") or {}).get("resource_id")
        measurement = point.get("measurement") or {"description": "Status", "unit": None, "scale": None}
        say(
            "report offered",
            resource_id=resource_id,
            report_type=point["report_type"],
            measurement=measurement["description"],
            unit=measurement["unit"],
            scale=measurement["scale"],
            min_sampling_s=point["sampling_rate"]["min_period"].total_seconds(),
            max_sampling_s=point["sampling_rate"]["max_period"].total_seconds(),
        )
        heard = partial(self.on_data, resource_id=resource_id, report_type=point["report_type"])
        return point["r_id"], heard, timedelta(seconds=2)

    async def on_data(self, data: list[tuple[datetime, float]], resource_id: str, report_type: str) -> None:
        told = [(at.isoformat(), value) for at, value in data]
        say("report data", resource_id=resource_id, report_type=report_type, data=told)

    async def on_cancel(self, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        ven_id, registration_id = payload["ven_id"], payload["registration_id"]
        say("registration cancelled", ven_id=ven_id, registration_id=registration_id)
        self.vens.pop(ven_id, None)
        # openleadr has its user answer this message itself.
        return "oadrCanceledPartyRegistration", {"ven_id": ven_id, "registration_id": registration_id}

    async def on_answer(self, ven_id: str, event_id: str, opt_type: str) -> None:
        say("answer", ven_id=ven_id, event_id=event_id, opt_type=opt_type)
        # openleadr forgets whom to call after the first answer, so that a change of mind would reach nobody.
        self.server.services["event_service"].event_callbacks[event_id] = (None, self.on_answer)

    def event(self, order: dict[str, Any]) -> None:
        starts_at = datetime.now(UTC) + timedelta(seconds=order["in_s"])
        duration = timedelta(seconds=order["interval_s"])
        self.server.add_event(
            ven_id=order["ven_id"],
            signal_name="SIMPLE",
            signal_type="level",
            intervals=[
                {"dtstart": starts_at + index * duration, "duration": duration, "signal_payload": level}
                for index, level in enumerate(order["levels"])
            ],
            callback=self.on_answer,
            event_id=order["event_id"],
            market_context="http://utility.example/peak",
        )
        say("event added", event_id=order["event_id"], starts_at=starts_at.isoformat())


def certificates(folder: Path | None) -> dict[str, Any]:
    """What makes the server demand certificates and signatures."""
    if folder is None:
        return {}
    certificate, key = str(folder / "vtn.crt"), str(folder / "vtn.key")
    return {
        "cert": certificate,
        "key": key,
        "http_cert": certificate,
        "http_key": key,
        "http_ca_file": str(folder / "ca.crt"),
    }


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--life", required=True)
    parser.add_argument("--tls", type=Path)
    arguments = parser.parse_args()
    logging.getLogger("openleadr").setLevel(logging.ERROR)
    utility = Utility(arguments.port, arguments.life, arguments.tls)
    # The server prints a banner to standard output; what we say must stay lines of JSON.
    output, sys.stdout = sys.stdout, sys.stderr
    await utility.server.run()
    sys.stdout = output
    say("ready")
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        order = json.loads(line)
        if order["do"] == "event":
            utility.event(order)
        elif order["do"] == "cancel":
            utility.server.cancel_event(order["ven_id"], order["event_id"])
            say("event cancelled", event_id=order["event_id"])
    await utility.server.stop()


asyncio.run(main())
