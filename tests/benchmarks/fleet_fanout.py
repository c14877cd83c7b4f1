"""Prints how long a cap takes from the gateway to its acknowledgement, over NATS with mutual TLS on loopback.

    python -m tests.benchmarks.fleet_fanout [HOSTS ...] [--budget SECONDS]        (1000 and 10000 by default)

Each host is its own TCP connection in other processes, with 8 devices in memory: lease checks, codec and read-back are
the product's. The bare transport (the same messages, echoed, nothing decoded) stands beside it. Gateway, NATS server
and all agents share this machine's cores, which a fleet does not: see the share of each.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog

from gateway.tls import client_context
from hardware.device import CapCommand, Lease, Outcome
from hardware.fleet import AgentFleet
from hardware.fleet_ca import key_bytes, new_key, signing_request, write_private
from hardware.nats_client import Message
from hardware.nats_connection import NatsConnection
from hardware.nats_link import NatsHosts
from hardware.nats_names import ask_subject
from tests.benchmarks.fleet_agents import DEVICES, SITE
from tests.lab import ROOT
from tests.nats_server import NatsServer

BOUND_MS = 500.0
ROUNDS = 5
PROCESSES = 2
BUDGET_S = 175
"""All of it takes no longer; a machine that is too busy for that gets no figure."""

ECHO = b"echo" + b" " * 1100


def room_for(hosts: int) -> bool:
    """Raise this process's limit of open files, which its children inherit, as far as it may go."""
    wanted = hosts + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted and (hard == resource.RLIM_INFINITY or hard >= wanted):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft < wanted:
        print(f"{hosts:>6} hosts: left out, needs {wanted} open files and has {hard}: ulimit -n {wanted}")
    return soft >= wanted


def permitted(server: NatsServer) -> None:
    """Let the swarm's one certificate hear and answer for every host: a benchmark has no ten thousand of them."""
    key = new_key()
    now = datetime.now(UTC)
    token = server.enrolment.new_token("swarm", url="https://x", now=now)
    csr = signing_request(key, "swarm")
    certificate = server.enrolment.enrol(host_id="swarm", secret=token.secret, csr_pem=csr, now=now)
    write_private(server.folder / "swarm.pem", key_bytes(key) + certificate)
    users = server.folder / "nats-users.conf"
    users.write_text(users.read_text().replace(".swarm.", ".*."))


@contextlib.contextmanager
def swarm(server: NatsServer, hosts: int) -> Iterator[list[int]]:
    """The agents' processes; yields their process ids, and ends them."""
    each = -(-hosts // PROCESSES)
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "tests/benchmarks/fleet_agents.py"),
                str(server.port),
                str(server.folder),
                str(first),
                str(min(each, hosts - first)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for first in range(0, hosts, each)
    ]
    try:
        began = time.monotonic()
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != b"READY\n":
                raise RuntimeError("the agents did not come up; their complaint is above")
        print(f"{hosts:>6} hosts: all connected {time.monotonic() - began:.1f} s after they began")
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def cpu_s(pids: list[int]) -> float:
    """CPU seconds that these processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Taken:
    """When each host's answer was in, in the round that began last."""

    def __init__(self) -> None:
        self.began_s = 0.0
        self.each_ms: list[float] = []

    def begin(self) -> None:
        self.began_s = time.perf_counter()
        self.each_ms = []

    def note(self, _: object) -> None:
        self.each_ms.append((time.perf_counter() - self.began_s) * 1000.0)

    def p_ms(self, fraction: float) -> float:
        ordered = sorted(self.each_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]

    def in_words(self) -> str:
        return f"p50 {self.p_ms(0.5):.0f} ms, p99 {self.p_ms(0.99):.0f} ms, max {max(self.each_ms):.0f} ms"


async def echo(server: NatsServer, hosts: int) -> float:
    """The bare transport: every host sends back what it gets. Returns the median round's p99 in milliseconds."""
    taken, done, up = Taken(), asyncio.Event(), asyncio.Event()
    prefix = f"gridgate.{SITE}.reply.bare"

    def hear(message: Message) -> None:
        taken.note(message)
        if len(taken.each_ms) == hosts:
            done.set()

    bare = NatsConnection(
        servers=[server.url], name="bare", handlers={f"{prefix}.>": hear}, tls=server.gateway_tls, on_up=up.set
    )
    bare.start()
    await up.wait()
    rounds = []
    for _ in range(ROUNDS):
        done.clear()
        taken.begin()
        for number in range(hosts):
            bare.publish(ask_subject(SITE, f"h{number}"), ECHO, f"{prefix}.h{number}.1")
            if number % 64 == 63:
                await asyncio.sleep(0)
        async with asyncio.timeout(20.0):
            await done.wait()
        rounds.append((taken.p_ms(0.99), taken.in_words()))
    await bare.close()
    p99_ms, words = sorted(rounds)[ROUNDS // 2]
    print(f"{hosts:>6} hosts: bare transport, median round of {ROUNDS}: {words}")
    return p99_ms


async def caps(server: NatsServer, hosts: int, agents: list[int]) -> float:
    """The product's own way. Returns the median round's p99 in milliseconds."""
    taken = Taken()
    names = {f"h{number}": None for number in range(hosts)}
    links = NatsHosts(
        site_id=SITE,
        servers=[server.url],
        enrolled=lambda: names,
        tls=server.gateway_tls,
        timeout_s=20.0,
        answered=taken.note,
    )
    fleet = AgentFleet([], links)
    began = time.perf_counter()
    await fleet.refresh()
    print(f"{hosts:>6} hosts: all described in {time.perf_counter() - began:.1f} s")
    assert len(fleet.devices()) == hosts * DEVICES
    gc.collect()
    gc.freeze()
    assert server.process is not None
    rounds = []
    for number in range(ROUNDS):
        lease = Lease(epoch=1, sequence=number + 1, duration_s=60.0)
        commands = [CapCommand(device_id=key, cap_w=400.0 + number, lease=lease) for key in fleet.devices()]
        before = [time.process_time(), cpu_s([server.process.pid]), cpu_s(agents)]
        taken.begin()
        results = await fleet.apply(commands)
        whole_s = time.perf_counter() - taken.began_s
        after = [time.process_time(), cpu_s([server.process.pid]), cpu_s(agents)]
        held = sum(one.outcome is Outcome.APPLIED and one.applied_w == 400.0 + number for one in results)
        if held != len(commands) or len(taken.each_ms) != hosts:
            raise RuntimeError(f"{held} of {len(commands)} caps hold, {len(taken.each_ms)} hosts of {hosts} answered")
        shares = [b - a for a, b in zip(before, after, strict=True)]
        cpu = "gateway {:.2f} s, NATS {:.2f} s, agents {:.2f} s".format(*shares)
        rounds.append((taken.p_ms(0.99), f"{taken.in_words()}; all results {whole_s * 1000:.0f} ms; CPU: {cpu}"))
    await fleet.close()
    p99_ms, words = sorted(rounds)[ROUNDS // 2]
    print(f"{hosts:>6} hosts: caps on {hosts * DEVICES} devices, median round of {ROUNDS}: {words}")
    return p99_ms


async def measure(hosts: int) -> bool:
    """One fleet of this size; whether the bound is kept."""
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder), site_id=SITE)
        permitted(server)
        try:
            server.start()
            client_context(ca=server.folder / "ca.pem", certificate=server.folder / "swarm.pem")
            with swarm(server, hosts) as agents:
                bare_ms = await echo(server, hosts)
                cap_ms = await caps(server, hosts, agents)
        finally:
            server.end()
    verdict = "kept" if cap_ms < BOUND_MS else "BROKEN"
    print(
        f"{hosts:>6} hosts: p99 {cap_ms:.0f} ms, {cap_ms / bare_ms:.2f} times the bare transport's;"
        f" bound {BOUND_MS:.0f} ms: {verdict}"
    )
    return cap_ms < BOUND_MS


async def main(sizes: list[int]) -> bool:
    print(f"{os.cpu_count()} cores for gateway, NATS server and {PROCESSES} processes of agents together")
    kept = [await measure(hosts) for hosts in sizes if room_for(hosts)]
    return all(kept)


def out_of_time(*_: object) -> None:
    """End with every process that was started."""
    raise TimeoutError("BROKEN: not measured in time, this machine is too busy (--budget SECONDS gives it longer)")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    given = argparse.ArgumentParser()
    given.add_argument("hosts", type=int, nargs="*", default=[1000, 10_000])
    given.add_argument("--budget", type=int, default=BUDGET_S)
    asked = given.parse_args()
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(asked.budget)
    try:
        kept = asyncio.run(main(asked.hosts))
    except TimeoutError as late:
        sys.exit(str(late))
    sys.exit(0 if kept else 1)
