"""``gridgate job`` over a real agent with a real job of this host: pause, show, resume, and deaths meanwhile."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import ROOT, eventually
from tests.process_job import RealJob

CONFIG = """
[gateway]
state_dir = "{folder}/state"

[site]
id = "lab-1"

[[hardware]]
kind = "process"

[[hardware.job]]
id = "train"
process_group_of = "{pid_file}"
command = "*process_job*"
devices = ["gpu-0"]
tier = "flex3"
max_pause_s = 300

[[hardware.job]]
id = "serve"
pid_file = "{pid_file}"
"""


class Host:
    """An agent as a user runs it, on a host that has nothing but jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.job = RealJob(folder / "job", 3)
        self.config = folder / "agent.toml"
        self.config.write_text(CONFIG.format(folder=folder, pid_file=self.job.pid_file))
        self.agent: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", "gateway", "agent", "--config", str(self.config)],
                cwd=ROOT,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        eventually("the agent answers", lambda: self.ask("list")[0] == 0, within_s=60)

    def ask(self, *words: str):
        """Exit code and JSON of a command."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "job", *words, "--config", str(self.config), "--json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    def state(self) -> str | None:
        code, jobs = self.ask("list")
        return jobs["jobs"][0]["state"] if code == 0 else None

    def processes(self) -> list[int]:
        """Keeper and worker, by the config file in their command lines."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"agent" in command.split(b"\0") and os.fsencode(self.config) in command:
                    found.append(int(entry.name))
        return sorted(found)

    def end(self) -> None:
        self.job.end()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        if self.agent is not None:
            self.agent.wait()


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    yield made
    made.end()


def test_pause_is_for_a_while_and_resume_ends_it(host):
    host.start()
    code, (result,) = host.ask("pause", "train", "--for", "2m")
    assert (code, result["outcome"], result["state"]) == (0, "applied", "paused")
    assert host.job.stands()
    code, found = host.ask("show", "train")
    assert (code, found["state"], found["method"], found["max_pause_s"]) == (0, "paused", "signal", 300.0)
    code, (result,) = host.ask("resume", "train")
    assert (code, result["state"]) == (0, "running")
    host.job.goes_on()
    code, (result,) = host.ask("pause", "train", "--for", "1s")
    assert code == 0
    host.job.goes_on(within_s=60)


def test_what_cannot_be_done_is_said_and_shows_in_the_exit_code(host):
    code, said = host.ask("list")
    assert code == 1
    assert "gridgate agent --config" in said["error"]
    host.start()
    code, (result,) = host.ask("pause", "serve")
    assert (code, result["outcome"]) == (1, "refused")
    assert "max_pause_s" in result["detail"]
    code, (result,) = host.ask("hold", "train")
    assert (code, result["outcome"]) == (1, "refused")
    code, (result,) = host.ask("resume", "nobody")
    assert (code, result["outcome"]) == (1, "lost")
    assert host.ask("show", "nobody")[0] == 1
    for span in ("soon", "25h", "0"):
        assert host.ask("pause", "train", "--for", span)[0] == 2
    assert not host.job.stands()


@pytest.mark.parametrize("whom", ["keeper", "worker", pytest.param("both", marks=pytest.mark.soak)])
def test_whoever_of_the_agent_is_killed_no_job_stays_paused(host, whom):
    host.start()
    assert host.ask("pause", "train", "--for", "8s")[0] == 0
    assert host.job.stands()
    keeper = host.agent.pid
    victims = [pid for pid in host.processes() if whom == "both" or (pid == keeper) is (whom == "keeper")]
    assert victims
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    # Nobody starts the agent again: with both gone there is only the guard.
    host.job.goes_on(within_s=100)
