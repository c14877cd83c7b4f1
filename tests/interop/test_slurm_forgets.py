"""A controller that is killed before it saved a suspend or a resume comes back with the job listed as before it.

Its processes stay as they were left: by the real driver, the real keeper of pauses and the whole agent they go on.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hardware.device import Lease, Outcome
from hardware.job import JobAction, JobState, PauseMethod, Verb
from hardware.job_terms import JobTerms, TermsRule
from hardware.journal import Journal
from hardware.pauses import PauseKeeper
from hardware.slurm.command import SlurmCommands
from hardware.slurm.jobs import SlurmJobs
from tests.lab import ROOT, eventually
from tests.slurm_cluster import SlurmCluster

TICKS = "while true; do echo tick; sleep 0.02; done"
RANKS = "srun --output=%j-%t.out sh -c 'while true; do echo tick; sleep 0.02; done'"
BOUND_S = 30.0
"""No job is left suspended for longer once its scheduler is back."""


@pytest.fixture
def cluster(slurm: SlurmCluster) -> Iterator[SlurmCluster]:
    yield slurm
    slurm.tidy()


class Desk:
    """The keeper of pauses over a real cluster, with one running job of the cluster's."""

    def __init__(self, cluster: SlurmCluster, folder: Path, *, method: str = "suspend", ranks: bool = False) -> None:
        self.cluster = cluster
        options = ("--nodes=2", "--ntasks=2") if ranks else ()
        self.job_id = cluster.submit(RANKS if ranks else TICKS, f"--job-name={method}-job", *options)
        self.files = [f"{self.job_id}-{rank}.out" for rank in (0, 1)] if ranks else [f"{self.job_id}.out"]
        cluster.wait("it writes", lambda: all(cluster.written(file) > 0 for file in self.files))
        self.journal = Journal(folder / "journal")
        self.journal.open()
        self.method = method
        self.sequence = 0
        self.keeper = self.opened()

    def opened(self) -> PauseKeeper:
        """A new one, that knows what the journal says."""
        terms = JobTerms(tier="flex2", min_throughput=0.75, max_pause_s=600.0, method=PauseMethod(self.method))
        commands = SlurmCommands(conf=self.cluster.conf)
        driver = SlurmJobs(commands, rules=(TermsRule(where={}, terms=terms),), settle_s=10.0, rest_s=0.5)
        return PauseKeeper(driver, self.journal)

    def act(self, verb: Verb) -> tuple[Outcome, JobState | None]:
        self.sequence += 1
        lease = Lease(epoch=1, sequence=self.sequence, duration_s=120.0)
        now_s = time.monotonic()
        action = JobAction(job_id=self.job_id, verb=verb, lease=lease)
        (result,) = self.keeper.act([action], received_s=now_s, now_s=now_s)
        return result.outcome, result.state

    def paused(self) -> bytes:
        """Pause it; what the controller had saved before."""
        self.cluster.wait_until_saved(self.job_id)
        saved = self.cluster.saved()
        assert self.act(Verb.PAUSE) == (Outcome.APPLIED, JobState.PAUSED)
        self.cluster.wait("it is still", self.is_still)
        return saved

    def is_still(self) -> bool:
        before = [self.cluster.written(file) for file in self.files]
        time.sleep(0.25)
        return [self.cluster.written(file) for file in self.files] == before

    def goes_on(self) -> None:
        before = [self.cluster.written(file) for file in self.files]
        self.cluster.wait(
            "it goes on",
            lambda: all(self.cluster.written(file) > size for file, size in zip(self.files, before, strict=True)),
            within_s=BOUND_S,
        )

    def is_listed(self, state: str) -> None:
        self.cluster.wait_for(self.job_id, state)


@pytest.mark.parametrize(
    "ranks", [pytest.param(False, id="script", marks=pytest.mark.soak), pytest.param(True, id="ranks")]
)
def test_forgotten_pause_stays_in_force_and_ends(cluster: SlurmCluster, tmp_path: Path, ranks: bool) -> None:
    desk = Desk(cluster, tmp_path, ranks=ranks)
    saved = desk.paused()
    cluster.restart_controller(saved)
    desk.is_listed("RUNNING")
    assert desk.act(Verb.PAUSE) == (Outcome.APPLIED, JobState.PAUSED)
    assert desk.is_still()
    assert desk.act(Verb.RESUME) == (Outcome.APPLIED, JobState.RUNNING)
    desk.goes_on()
    desk.is_listed("RUNNING")


@pytest.mark.soak
def test_forgotten_pause_ends_with_its_lease(cluster: SlurmCluster, tmp_path: Path) -> None:
    desk = Desk(cluster, tmp_path)
    cluster.restart_controller(desk.paused())
    assert desk.is_still()
    (result,) = desk.keeper.expire(time.monotonic() + 200.0)
    assert (result.outcome, result.state) == (Outcome.APPLIED, JobState.RUNNING)
    desk.goes_on()


@pytest.mark.soak
def test_forgotten_stop_by_signal_is_continued(cluster: SlurmCluster, tmp_path: Path) -> None:
    desk = Desk(cluster, tmp_path, method="signal")
    cluster.restart_controller(desk.paused())
    desk.is_listed("RUNNING")
    assert desk.act(Verb.PAUSE)[0] is Outcome.CONFLICT, "whether somebody else continued it cannot be told"
    desk.goes_on()


def test_forgotten_pause_of_an_agent_that_died_is_ended(cluster: SlurmCluster, tmp_path: Path) -> None:
    desk = Desk(cluster, tmp_path)
    cluster.restart_controller(desk.paused())
    (result,) = desk.opened().recover(time.monotonic())
    assert (result.outcome, result.state) == (Outcome.APPLIED, JobState.RUNNING)
    desk.goes_on()


def test_forgotten_resume_is_done_again(cluster: SlurmCluster, tmp_path: Path) -> None:
    desk = Desk(cluster, tmp_path)
    desk.paused()
    cluster.wait_until_saved(desk.job_id)
    saved = cluster.saved()
    time.sleep(1.0)  # Slurm's stamps are whole seconds.
    assert desk.act(Verb.RESUME)[0] is Outcome.APPLIED
    desk.goes_on()
    cluster.restart_controller(saved)
    desk.is_listed("SUSPENDED")
    eventually("it is listed as running", lambda: looked(desk) == "RUNNING", within_s=BOUND_S)
    desk.goes_on()


def looked(desk: Desk) -> str:
    desk.keeper.expire(time.monotonic())
    return desk.cluster.state(desk.job_id).split()[0]


def suspends(cluster: SlurmCluster) -> int:
    """How often anybody asked the controller to suspend a job."""
    return (cluster.folder / "slurmctld.log").read_text().count("_slurm_rpc_suspend(suspend)")


def test_job_that_somebody_else_resumed_is_not_touched(cluster: SlurmCluster, tmp_path: Path) -> None:
    desk = Desk(cluster, tmp_path)
    desk.paused()
    time.sleep(1.0)
    cluster.say("scontrol", "resume", desk.job_id)
    cluster.wait_until_saved(desk.job_id)
    cluster.restart_controller(cluster.saved())
    before = suspends(cluster)
    with capture_logs() as told:
        assert desk.act(Verb.PAUSE)[0] is Outcome.CONFLICT
        desk.opened().recover(time.monotonic())
    assert [entry for entry in told if entry["event"].startswith("slurm_forgot")] == []
    assert suspends(cluster) == before


@pytest.mark.soak
def test_job_that_somebody_else_suspended_after_our_resume_stays(cluster: SlurmCluster, tmp_path: Path) -> None:
    desk = Desk(cluster, tmp_path)
    desk.paused()
    assert desk.act(Verb.RESUME)[0] is Outcome.APPLIED
    time.sleep(1.0)
    cluster.say("scontrol", "suspend", desk.job_id)
    cluster.wait_until_saved(desk.job_id)
    cluster.restart_controller(cluster.saved())
    for _ in range(3):
        assert looked(desk) == "SUSPENDED"


def test_job_that_works_is_not_touched_where_a_dead_agent_left_a_pause_on_record(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    desk = Desk(cluster, tmp_path)
    cluster.wait_until_saved(desk.job_id)
    desk.journal.commit(paused=frozenset({desk.job_id}))
    cluster.restart_controller(cluster.saved())
    before = suspends(cluster)
    (result,) = desk.opened().recover(time.monotonic())
    assert result.outcome is Outcome.APPLIED
    assert suspends(cluster) == before
    assert not desk.journal.state.paused


AGENT = """
[gateway]
state_dir = "{folder}/state"
[site]
id = "lab-1"
[[hardware]]
kind = "slurm"
slurm_conf = "{conf}"
[[hardware.terms]]
where = {{ name = "suspend-*" }}
tier = "flex2"
max_pause_s = 300
"""


@pytest.mark.parametrize(
    "whom",
    [
        pytest.param("nobody", marks=pytest.mark.soak),
        "worker",
        pytest.param("keeper", marks=pytest.mark.soak),
        pytest.param("both", marks=pytest.mark.soak),
    ],
)
def test_agent_lets_a_job_go_on_whose_controller_was_killed(cluster: SlurmCluster, tmp_path: Path, whom: str) -> None:
    desk = Desk(cluster, tmp_path)
    config = tmp_path / "agent.toml"
    config.write_text(AGENT.format(folder=tmp_path, conf=cluster.conf))
    running = Running(config)
    try:
        running.start()
        cluster.wait_until_saved(desk.job_id)
        saved = cluster.saved()
        assert running.ask("pause", desk.job_id, "--for", "8s") == 0
        cluster.wait("it is still", desk.is_still)
        running.kill(whom)
        cluster.restart_controller(saved)
        if whom in ("keeper", "both"):
            running.start()
        desk.goes_on()
        desk.is_listed("RUNNING")
    finally:
        running.end()


class Running:
    """An agent as a user runs it: keeper and worker."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        with self.config.with_suffix(".log").open("ab") as log:
            self.started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "gateway", "agent", "--config", str(self.config)],
                    cwd=ROOT,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )
            )
        eventually("the agent answers", lambda: self.ask("list") == 0, within_s=60)

    def ask(self, *words: str) -> int:
        """Exit code of a command."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", "job", *words, "--config", str(self.config), "--json"],
            cwd=ROOT,
            capture_output=True,
            check=False,
            timeout=100,
        ).returncode

    def processes(self) -> list[int]:
        """Keeper and worker, by the config file in their command lines."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"agent" in words and os.fsencode(self.config) in words:
                    found.append(int(entry.name))
        return sorted(found)

    def kill(self, whom: str) -> None:
        keeper = self.started[-1].pid
        for pid in self.processes():
            if whom == "both" or (whom == "keeper" and pid == keeper) or (whom == "worker" and pid != keeper):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for one in self.started:
            one.wait()
