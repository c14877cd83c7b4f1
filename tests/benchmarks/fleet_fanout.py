"""Prints how long a cap takes from the gateway to its acknowledgement, over NATS with mutual TLS on loopback.

    python -m tests.benchmarks.fleet_fanout [HOSTS ...] [--budget SECONDS]        (1000 and 10000 by default)

Each host is its own TCP connection in other processes, with 8 devices in memory: lease checks, codec and read-back are
the product's. The bare transport (messages of the same size, echoed, nothing decoded) stands beside it. Gateway, NATS
server and all agents share this machine's cores, which a fleet does not: see the share of each. A second run has agents
that make the same checks in the fewest steps: nearer to what gateway, server and transport take by themselves.
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
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from gateway.tls import client_context
from hardware.device import CapCommand, Lease, Outcome
from hardware.fleet import AgentFleet
from hardware.fleet_ca import key_bytes, new_key, signing_request, write_private
from hardware.nats_client import Message
from hardware.nats_connection import NatsConnection
from hardware.nats_link import NatsHosts
from hardware.nats_names import ask_subject
from tests.fleet_agents import DEVICES, SITE
from tests.lab import ROOT
from tests.nats_server import NatsServer

BOUND_MS = 500.0
ROUNDS = 5
PROCESSES = 2
BUDGET_S = 235
"""All of it takes no longer; a machine that is too busy for that gets no figure."""

ECHO = b"echo" + b" " * 400


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
                str(ROOT / "tests/fleet_agents.py"),
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


@contextlib.asynccontextmanager
async def gateway(server: NatsServer, hosts: int, taken: Taken) -> AsyncIterator[AgentFleet]:
    """The product's gateway side, with all hosts described."""
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
    began, before = time.perf_counter(), time.process_time()
    await fleet.refresh()
    took = f"{time.perf_counter() - began:.1f} s, {time.process_time() - before:.2f} s of it the gateway's CPU"
    print(f"{hosts:>6} hosts: all described in {took}")
    if len(fleet.devices()) != hosts * DEVICES:
        raise RuntimeError(f"{len(fleet.devices())} devices are described")
    gc.collect()
    gc.freeze()
    try:
        yield fleet
    finally:
        await fleet.close()


class Capping(NamedTuple):
    """What rounds of caps came to: the p99, and the gateway's own CPU, of the median round, both in milliseconds."""

    p99_ms: float
    gateway_ms: float


async def caps(fleet: AgentFleet, taken: Taken, *, what: str, first: int, nats: int, agents: list[int]) -> Capping:
    """Rounds of caps, each other ones, with sequences from ``first``."""
    rounds = []
    for number in range(first, first + ROUNDS):
        lease = Lease(epoch=1, sequence=number, duration_s=60.0)
        commands = [CapCommand(device_id=key, cap_w=400.0 + number, lease=lease) for key in fleet.devices()]
        before = [time.process_time(), cpu_s([nats]), cpu_s(agents)]
        taken.begin()
        results = await fleet.apply(commands)
        whole_s = time.perf_counter() - taken.began_s
        after = [time.process_time(), cpu_s([nats]), cpu_s(agents)]
        held = sum(one.outcome is Outcome.APPLIED and one.applied_w == 400.0 + number for one in results)
        if held != len(commands) or len(taken.each_ms) * DEVICES != held:
            raise RuntimeError(f"{held} of {len(commands)} caps hold, {len(taken.each_ms)} hosts answered")
        shares = [b - a for a, b in zip(before, after, strict=True)]
        cpu = "gateway {:.2f} s, NATS {:.2f} s, agents {:.2f} s".format(*shares)
        words = f"{taken.in_words()}; all results {whole_s * 1000:.0f} ms; CPU: {cpu}"
        rounds.append((taken.p_ms(0.99), shares[0] * 1000.0, words))
    p99_ms, gateway_ms, words = sorted(rounds)[ROUNDS // 2]
    print(
        f"{len(results) // DEVICES:>6} hosts: caps on {len(results)} devices, {what}, median round of {ROUNDS}: {words}"
    )
    return Capping(p99_ms, gateway_ms)


def kept(hosts: int, what: str, took_ms: float, bare_ms: float) -> bool:
    """Print a figure against the bound; whether it is kept."""
    verdict = "kept" if took_ms < BOUND_MS else "BROKEN"
    times = f"{took_ms / bare_ms:.2f} times the bare transport's p99"
    print(f"{hosts:>6} hosts: {what} {took_ms:.0f} ms, {times}; bound {BOUND_MS:.0f} ms: {verdict}")
    return took_ms < BOUND_MS


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
                taken = Taken()
                assert server.process is not None
                nats = server.process.pid
                async with gateway(server, hosts, taken) as fleet:
                    real = await caps(fleet, taken, what="product agents", first=1, nats=nats, agents=agents)
                    for pid in agents:
                        os.kill(pid, signal.SIGUSR1)
                    quick = await caps(fleet, taken, what="quick agents", first=100, nats=nats, agents=agents)
        finally:
            server.end()
    return all(
        [
            kept(hosts, "p99 with the product's agents on this machine, too,", real.p99_ms, bare_ms),
            kept(hosts, "p99 with quick agents on this machine, too,", quick.p99_ms, bare_ms),
            kept(hosts, "CPU of the gateway in a round", quick.gateway_ms, bare_ms),
        ]
    )


async def main(sizes: list[int]) -> bool:
    print(f"{os.cpu_count()} cores for gateway, NATS server and {PROCESSES} processes of agents together")
    return all([await measure(hosts) for hosts in sizes if room_for(hosts)])


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
        all_kept = asyncio.run(main(asked.hosts))
    except TimeoutError as late:
        sys.exit(str(late))
    sys.exit(0 if all_kept else 1)
