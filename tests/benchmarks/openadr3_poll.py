"""How many polls a second our OpenADR 3 VTN answers on one core, by how much it holds. No peer: none could be run here.

Through the whole of the VTN but its sockets: token, object privacy, encoding.
"""

import asyncio
import resource
import tempfile
import time

from gateway.storage.sql_ledger import open_ledger
from tests.openadr3_lab import Lab

POLLS = 300


async def measure(vens: int, events: int, intervals: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_ledger(f"sqlite+aiosqlite:///{folder}/record.db", migrate=True) as ledger:
            lab = Lab(ledger=ledger, definition=None)
            await fill(lab, vens, events, intervals)
            began = time.perf_counter()
            for _ in range(POLLS):
                answer = await lab.raw("ven-a", "GET", "/events", targets=["group-1"])
            took_s = time.perf_counter() - began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{vens:6} vens, {events:5} events of {intervals:3} intervals: {POLLS / took_s:8.0f} polls/s, "
        f"answer {len(answer.body):7} bytes, peak {peak_mib:.0f} MiB"
    )


async def fill(lab: Lab, vens: int, events: int, intervals: int) -> None:
    values = [{"id": number, "payloads": [{"type": "PRICE", "values": [0.17]}]} for number in range(intervals)]
    period = {"start": "2030-01-31T13:00:00Z", "duration": "PT1H"}
    program = await lab.raw("bl", "POST", "/programs", {"programName": "peak"})
    program_id = program.body.decode().split('"id":"')[1].split('"')[0]
    await lab.raw("bl", "POST", "/vens", _ven("ven-a", ["group-1"]))
    for number in range(vens - 1):
        await lab.raw("bl", "POST", "/vens", _ven(f"other-{number}", ["group-2"]))
    for number in range(events):
        # A tenth is for the one who asks.
        targets = ["group-1"] if number % 10 == 0 else ["group-2"]
        body = {"programID": program_id, "targets": targets, "intervalPeriod": period, "intervals": values}
        await lab.raw("bl", "POST", "/events", body)


def _ven(client_id: str, targets: list[str]) -> dict[str, object]:
    return {"objectType": "BL_VEN_REQUEST", "clientID": client_id, "venName": client_id, "targets": targets}


async def main() -> None:
    for vens, events, intervals in ((1, 10, 4), (1000, 100, 4), (1000, 1000, 4), (1000, 100, 24)):
        await measure(vens, events, intervals)


if __name__ == "__main__":
    asyncio.run(main())
