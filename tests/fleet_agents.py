"""Simulated node agents over NATS for ``fleet_fanout``: PORT FOLDER FIRST COUNT; each its own TCP connection and TLS.

What is simulated is the client and the device (a number in memory). Leases are enforced by the real ``LimitKeeper``,
messages pass the real codec, every write is read back. A request ``echo`` is sent back as it came.

After SIGUSR1 they are quick: the same checks of lease, range and read-back, in the fewest steps that Python allows, so
that what is left to measure is the gateway, the server and the transport.
"""

import asyncio
import gc
import json
import signal
import sys
from pathlib import Path
from typing import cast

from gateway.tls import client_context
from hardware.agent import boot_s
from hardware.device import CapRange, DeviceView
from hardware.journal import Journal
from hardware.lease import LONGEST_S
from hardware.limits import LimitKeeper
from hardware.nats_names import ask_subject
from hardware.wire import Applied, Apply, Describe, Described, decode_request, encode_reply

SITE = "bench"
DEVICES = 8
RANGE = CapRange(min_w=100.0, default_w=700.0, max_w=700.0)
AT_ONCE = 25


class Memory:
    """The cheapest devices there are."""

    def __init__(self, host_id: str) -> None:
        self.limits_w = {f"GPU-{host_id}-{number}": 700.0 for number in range(DEVICES)}
        self.host_id = host_id

    def devices(self) -> tuple[DeviceView, ...]:
        return tuple(
            DeviceView(device_id=key, host_id=self.host_id, model="memory", cap_range=RANGE, limit_w=limit_w)
            for key, limit_w in self.limits_w.items()
        )

    def limit_w(self, device_id: str) -> float:
        return self.limits_w[device_id]

    def asked_w(self, device_id: str) -> float:
        return self.limits_w[device_id]

    def set_limit_w(self, device_id: str, limit_w: float) -> None:
        self.limits_w[device_id] = limit_w

    def readings(self) -> tuple[()]:
        return ()


class Host(asyncio.Protocol):
    """One agent: just enough of NATS to be asked and to answer."""

    quick = False
    """Of all agents of this process."""

    def __init__(self, host_id: str, up: asyncio.Event) -> None:
        self.memory = Memory(host_id)
        self.journal = Journal(None)
        self.journal.open()
        self.keeper = LimitKeeper(self.memory, self.journal)
        self.up = up
        self.heard = (0, 0)
        self.expires_s = 0.0
        self.subject = ask_subject(SITE, host_id)
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)
        hello = b'CONNECT {"verbose":false,"pedantic":false,"lang":"sim","version":"0","headers":false}\r\n'
        self.transport.write(hello + b"SUB %s 1\r\nPING\r\n" % self.subject.encode())

    def connection_lost(self, exc: Exception | None) -> None:
        sys.stderr.write(f"lost {self.subject}: {exc}\n")

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while True:
            end = self.rest.find(b"\r\n")
            if end < 0:
                return
            line = self.rest[:end]
            if not line.startswith(b"MSG"):
                self.rest = self.rest[end + 2 :]
                if line == b"PING":
                    self.transport.write(b"PONG\r\n")
                elif line == b"PONG":
                    self.up.set()
                elif line.startswith(b"-ERR"):
                    sys.stderr.write(f"{line.decode()}\n")
                continue
            words = line.split(b" ")
            size = int(words[-1])
            if len(self.rest) < end + size + 4:
                return
            body = self.rest[end + 2 : end + 2 + size]
            self.rest = self.rest[end + size + 4 :]
            reply = body if body.startswith(b"echo") else self.answer(body)
            self.transport.write(b"PUB %s %d\r\n%s\r\n" % (words[3], len(reply), reply))

    def answer_quickly(self, line: bytes) -> bytes | None:
        """The answer where every cap is in order and holds, ``None`` where it takes more words."""
        message = json.loads(line)["message"]
        if message["kind"] != "caps":
            return None
        lease, keys, caps_w = message["lease"], message["device_ids"], message["caps_w"]
        heard = (lease["epoch"], lease["sequence"])
        if heard <= self.heard or not 0.0 < lease["duration_s"] <= LONGEST_S or len(set(keys)) != len(caps_w):
            return None
        limits_w = self.memory.limits_w
        if min(caps_w) < RANGE.min_w or max(caps_w) > RANGE.max_w or not limits_w.keys() >= set(keys):
            return None
        self.heard, self.expires_s = heard, boot_s() + lease["duration_s"]
        limits_w.update(zip(keys, caps_w, strict=True))
        if [limits_w[key] for key in keys] != caps_w:
            return None
        return b'{"message":{"kind":"held","caps":%d},"version":1}\n' % len(keys)

    def answer(self, line: bytes) -> bytes:
        quickly = self.answer_quickly(line) if self.quick else None
        if quickly is not None:
            return quickly
        now_s = boot_s()
        request = decode_request(line)
        if isinstance(request, Apply):
            self.keeper.expire(now_s)
            results = self.keeper.apply(request.commands, received_s=now_s, now_s=now_s)
            return encode_reply(Applied(results=results), to=request)
        assert isinstance(request, Describe)
        return encode_reply(
            Described(
                host_id=self.memory.host_id, highest_epoch=self.journal.state.epoch, devices=self.memory.devices()
            )
        )


async def main(port: int, folder: Path, first: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    turn = asyncio.Semaphore(AT_ONCE)

    async def connect(host_id: str) -> None:
        # One certificate for all of a process: NATS tells them apart by nothing but their subscriptions here.
        async with turn:
            up = asyncio.Event()
            await loop.create_connection(
                lambda: Host(host_id, up),
                "127.0.0.1",
                port,
                ssl=context,
                server_hostname="127.0.0.1",
                ssl_handshake_timeout=120,
            )
            await up.wait()

    context = client_context(ca=folder / "ca.pem", certificate=folder / "swarm.pem")
    await asyncio.gather(*(connect(f"h{number}") for number in range(first, first + count)))
    gc.collect()
    gc.freeze()
    loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(Host, "quick", True))
    sys.stdout.write("READY\n")
    sys.stdout.flush()
    # Until the benchmark closes our standard input, or dies.
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
