"""A whole site on loopback, every part a process of its own that can be killed and started again.

A utility's VTN (openleadr), a gateway, a NATS server with mutual TLS, the agent of a GPU host over our own NVML library
whose limits lie in a mapped file, and a real Slurm cluster whose jobs run on those GPUs. The test is the service
manager: what it killed it starts again, as systemd would.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab import ROOT, Gateway, OpenleadrVtn, eventually, free_port, rows
from tests.nats_server import NatsServer, server_program
from tests.nvml_library.control import STATE_VARIABLE, Board
from tests.slurm_cluster import SlurmCluster

HOST = "gpu1"
FOUND_W = 380.0
GPUS = 8
LEASE_S = 6.0
BREAKER_W = 250.0
EVENT_S = 38.0
DEAD_S = 8.0
"""Longer than a lease and the look-out for its end."""

SLACK_S = 6.0
"""What a busy machine may take beyond what is promised."""

PARTS = ("gateway", "keeper", "worker", "nats", "slurm")

GATEWAY = """
[gateway]
database = "sqlite+aiosqlite:///{{folder}}/gridgate.db"
listen = "127.0.0.1:{{port}}"
state_dir = "{{folder}}/state"

[site]
id = "lab-1"
interval_s = 60

# One GPU behind a small breaker: its cap is held, event or not, whoever dies.
[[site.node]]
id = "breaker-7"
kind = "rack"
limit_kw = {breaker_kw}
devices = ["{held}"]

[[connection]]
kind = "openadr2b"
url = "http://127.0.0.1:{{vtn_port}}/OpenADR2/Simple/2.0b"
name = "lab-ven"
poll_s = 1

[[program]]
id = "http://utility.example/peak"
levels = {{{{ 1 = 0.10, 2 = 0.25, 3 = 0.40 }}}}

[[hardware]]
kind = "agents"
servers = ["{nats}"]
enrol_listen = "127.0.0.1:{enrol_port}"
reload = ["{server}", "--signal", "reload={{folder}}/state/nats.pid"]

[[hardware]]
kind = "slurm"
slurm_conf = "{slurm_conf}"
deadline_s = 3

[[hardware.terms]]
where = {{{{ partition = "train" }}}}
tier = "flex3"
curve = "finetune-8b"
max_pause_s = 600
mean_throughput = 0

[[hardware.terms]]
where = {{{{ partition = "serve" }}}}
tier = "flex1"
curve = "inference-8b"

[control]
lease_s = {{lease_s}}
"""

AGENT = """
[gateway]
state_dir = "{folder}/host"
[site]
id = "lab-1"
[agent]
host_id = "{host}"
restore_spread_s = 0
restore_ramp_s = 0
[[hardware]]
kind = "nvml"
"""


class WholeSite:
    """All of it, over one folder."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.folder = folder
        self.board = Board(folder / "gpus", devices=GPUS, manual=False)
        for device in self.board.devices:
            device.limit_w, device.busy = FOUND_W, 1
        self._environment = {"LD_LIBRARY_PATH": str(library.parent), STATE_VARIABLE: str(self.board.path)}
        self.slurm = SlurmCluster()
        self.vtn_port = free_port()
        # The gateway makes the authority of its fleet in its folder of state: the server reads it there.
        self.nats = NatsServer(folder / "state")
        config = GATEWAY.format(
            nats=self.nats.url,
            enrol_port=free_port(),
            server=server_program(),
            slurm_conf=self.slurm.conf,
            breaker_kw=BREAKER_W / 1000.0,
            held=self.board.ids[-1],
        )
        self.gateway = Gateway(folder, vtn_port=self.vtn_port, lease_s=LEASE_S, config=config)
        self.agent_config = folder / "host.toml"
        self.agent_config.write_text(AGENT.format(folder=folder, host=HOST))
        self.agent: subprocess.Popen[bytes] | None = None
        self.vtn: OpenleadrVtn | None = None
        self.jobs: dict[str, str] = {}

    def open(self) -> None:
        """Start everything, enrol the host by its token, queue two jobs, and wait until the gateway knows them."""
        self.slurm.open()
        self.nats.start()
        self.vtn = OpenleadrVtn(self.vtn_port, "0")
        tick = "while true; do date +%s.%N; sleep 0.1; done"
        for name, partition in (("train", "train"), ("serve", "serve")):
            self.jobs[name] = self.slurm.submit(tick, f"--partition={partition}", "-w", HOST, "--gres=gpu:4")
            self.slurm.wait_for(self.jobs[name], "RUNNING")
        self.gateway.start()
        token = self.folder / "enrol.token"
        token.write_text(self.gateway.ask("asset", "enrol", HOST)["token"])
        self.start_agent("--enrol-token-file", str(token))
        self.vtn.wait_for("registered", within_s=30)
        eventually("the gateway knows the host's GPUs and the jobs on them", self.knows_all, within_s=60)

    def close(self) -> None:
        """End whatever is left, by process id."""
        self.gateway.end()
        if self.agent is not None and self.agent.poll() is None:
            worker = self.worker_pid()
            self.agent.kill()
            self.agent.wait()
            if worker is not None:
                _end_once_orphaned(worker)
        self.nats.end()
        if self.vtn is not None:
            self.vtn.end()
        self.slurm.close()

    def start_agent(self, *options: str) -> None:
        """The host's keeper, which starts its worker."""
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", "gateway", "agent", "--config", str(self.agent_config), *options],
                cwd=ROOT,
                env=os.environ | self._environment,
                stdout=log,
                stderr=log,
            )

    def kill(self, part: str) -> None:
        """kill -9 of one part, by its process id."""
        match part:
            case "gateway":
                self.gateway.kill()
            case "keeper":
                assert self.agent is not None
                self.agent.kill()
                self.agent.wait()
            case "worker":
                worker = eventually("there is a worker to kill", self.worker_pid, within_s=20)
                os.kill(worker, signal.SIGKILL)
            case "nats":
                self.nats.kill()
            case _:
                self.slurm.kill_controller()

    def kill_all(self, parts: tuple[str, ...]) -> None:
        """kill -9 of several parts at once: the worker has no time to see that its keeper died, nor the reverse."""
        worker = self.worker_pid()
        if {"keeper", "worker"} <= set(parts):
            assert self.agent is not None
            assert worker is not None
            os.kill(self.agent.pid, signal.SIGKILL)
            os.kill(worker, signal.SIGKILL)
            self.agent.wait()
            parts = tuple(part for part in parts if part not in {"keeper", "worker"})
        for part in parts:
            self.kill(part)

    def start(self, part: str) -> None:
        """What a service manager does; the worker's is its keeper."""
        match part:
            case "gateway":
                self.gateway.start()
            case "keeper":
                self.start_agent()
            case "nats":
                self.nats.start()
            case "slurm":
                self.slurm.start_controller()

    def worker_pid(self) -> int | None:
        """The process of the host's worker: its keeper's child."""
        if self.agent is None:
            return None
        try:
            children = Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None

    def knows_all(self) -> bool:
        """Whether the gateway has eight GPUs present and both jobs running on them."""
        devices = self.devices()
        return (
            len(devices) == GPUS and all(device["state"] != "lost" for device in devices) and len(self.on_jobs()) == 2
        )

    def devices(self) -> list[dict[str, Any]]:
        """The devices as the gateway tells them."""
        now = self.gateway.get("/api/now") or {}
        found: list[dict[str, Any]] = now.get("devices", {}).get("devices", [])
        return found

    def on_jobs(self) -> set[str]:
        """The jobs that the gateway knows to be on devices."""
        return {str(job) for device in self.devices() for job in device.get("jobs", ())}

    def event(self, event_id: str, *, level: int, in_s: float, lasts_s: float) -> None:
        """Have the utility send one, and wait until it is answered."""
        assert self.vtn is not None
        self.vtn.tell(
            do="event", event_id=event_id, ven_id=self.vtn.ven_id, in_s=in_s, interval_s=lasts_s, levels=[level]
        )
        self.vtn.wait_for("answer", within_s=20, event_id=event_id, opt_type="optIn")

    def free_w(self) -> list[float]:
        """The limits of the GPUs that no electrical limit holds."""
        return self.board.limits_w()[:-1]

    def held_w(self) -> float:
        """The limit of the GPU behind the breaker."""
        return self.board.limits_w()[-1]

    def all_capped(self) -> bool:
        """Whether every GPU has a limit under the one found."""
        return all(limit_w < FOUND_W - 0.5 for limit_w in self.board.limits_w())

    def all_put_back(self) -> bool:
        """Whether every GPU that nothing holds has the limit that was found."""
        return all(limit_w == FOUND_W for limit_w in self.free_w())

    def suspended(self) -> list[str]:
        """The jobs that Slurm says are suspended."""
        return [name for name, job_id in self.jobs.items() if self.slurm.state(job_id).startswith("SUSPENDED")]

    def journal(self) -> dict[str, Any]:
        """What the host's agent has on disk."""
        found: dict[str, Any] = json.loads((self.folder / "host/agent.journal").read_text())
        return found

    def said(self) -> str:
        """The ends of the logs, for a test that fails."""
        parts = []
        for name in ("gateway.log", "agent.log"):
            path = self.folder / name
            if path.exists():
                parts.append(f"--- {name}\n" + "\n".join(path.read_text().splitlines()[-40:]))
        parts.append("--- page\n" + json.dumps(self.gateway.get("/health/ready")))
        return "\n".join(parts)


@contextmanager
def whole_site(folder: Path, library: Path) -> Iterator[WholeSite]:
    """The site, running; with the ends of its logs printed where the test fails."""
    site = WholeSite(folder, library)
    try:
        site.open()
        yield site
    except BaseException:
        sys.stdout.write(site.said())
        raise
    finally:
        site.close()


def kill_in_mid_event(site: WholeSite, parts: tuple[str, ...]) -> None:
    """One event in whose middle these parts die, stay dead for longer than a lease, and are started again.

    Limits are back within the lease wherever the gateway cannot renew it, or at once where the keeper died; the GPU
    behind the breaker is never let go; the event goes on as soon as it can; and after it nothing is left behind.
    """
    event_id = f"peak-{'-'.join(parts)}"
    eventually("nothing is left of an earlier event", site.all_put_back, within_s=30)
    site.event(event_id, level=3, in_s=3.0, lasts_s=EVENT_S)
    ends_at = time.monotonic() + 3.0 + EVENT_S
    eventually("every GPU is capped", site.all_capped, within_s=20)
    eventually("the job that may be paused is paused", lambda: site.suspended() == ["train"], within_s=20)
    worker = site.worker_pid()
    with held(site):
        site.kill_all(parts)
        dead_until = time.monotonic() + DEAD_S
        left_alone = {"keeper", "worker"} <= set(parts)
        cut_off = bool({"gateway", "nats", "keeper"} & set(parts)) and not left_alone
        if cut_off:
            eventually("limits are back within the lease", site.all_put_back, within_s=LEASE_S + SLACK_S)
        if parts == ("worker",):
            eventually("another worker serves", lambda: site.worker_pid() not in {None, worker}, within_s=20)
            assert not any(limit_w == FOUND_W for limit_w in site.free_w()), "caps stay while there is no worker"
        if left_alone:
            assert not site.all_put_back(), "nobody is there to put limits back"
        if "gateway" in parts and "slurm" not in parts:
            eventually("the job goes on", lambda: not site.suspended(), within_s=LEASE_S + SLACK_S)
        time.sleep(max(0.0, dead_until - time.monotonic()))
        for part in ("nats", "slurm", "keeper", "gateway"):
            if part in parts:
                site.start(part)
        if time.monotonic() < ends_at - 15.0:
            eventually("the event goes on", site.all_capped, within_s=ends_at - time.monotonic())
        eventually("limits are back", site.all_put_back, within_s=ends_at - time.monotonic() + 10.0 + SLACK_S)
        eventually("no job is suspended", lambda: not site.suspended(), within_s=30.0)
    eventually("the gateway knows them all again", site.knows_all, within_s=30)
    acknowledged = rows(site.folder, f"SELECT * FROM acknowledgement WHERE event_id = '{event_id}'")
    assert len(acknowledged) == 1
    assert site.journal()["limits"].keys() == {site.board.ids[-1]}, "only what the breaker needs is still ours"
    for job_id in site.jobs.values():
        written = site.slurm.output(job_id)
        eventually("every job works", lambda: site.slurm.output(job_id) != written, within_s=20)  # noqa: B023


@contextmanager
def held(site: WholeSite) -> Iterator[None]:
    """See that the GPU behind the breaker stays under its limit, all the time."""
    highest_w = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            highest_w[0] = max(highest_w[0], site.held_w())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    assert highest_w[0] <= BREAKER_W, f"the breaker's GPU was let up to {highest_w[0]:g} W"


def _end_once_orphaned(process_id: int) -> None:
    """A worker whose keeper was killed puts everything back and ends by itself; it is helped along if it does not."""

    def ended() -> bool:
        return not Path(f"/proc/{process_id}").exists()

    try:
        eventually("the orphaned worker ends", ended, within_s=15)
    except AssertionError:
        os.kill(process_id, signal.SIGKILL)
