"""A real Slurm cluster on loopback: munge, one controller, two nodes of eight GPUs each, and its REST service if asked.

The GPUs are null devices; everything else is what a site runs. Every daemon is a child of the test and is ended with
all that it started when the cluster closes, however the test went.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.lab import eventually

NODES = ("gpu1", "gpu2")
GPUS = 8
PROGRAMS = {
    name: shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    for name in ("munged", "munge", "slurmctld", "slurmd", "slurmrestd", "scontrol", "squeue", "sbatch", "setpriv")
}
NOBODY = 65534

CONFIG = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
{tokens}SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PriorityType=priority/multifactor
GresTypes=gpu
ReturnToService=2
SlurmdParameters=config_overrides
MessageTimeout=10
KillWait=2
MinJobAge=300
JobRequeue=1
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=DEFAULT CPUs=16 Boards=1 SocketsPerBoard=1 CoresPerSocket=16 RealMemory=4000 Gres=gpu:h100:8 State=UNKNOWN
{nodes}
PartitionName=train Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=serve Nodes=ALL MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no cluster can be started here, in one line; ``None`` where one can."""
    missing = sorted(name for name, path in PROGRAMS.items() if path is None)
    if missing:
        return f"no Slurm on this machine ({', '.join(missing)}): tests/system_packages.sh installs it"
    return None if os.geteuid() == 0 else "a Slurm cluster of our own needs root: it makes device files"


def why_no_rest() -> str | None:
    """Why no REST service can be started here, in one line; ``None`` where one can."""
    if any(Path("/usr").glob("lib*/**/auth_jwt.so")):
        return None
    return "no auth_jwt.so on this machine: install it (Debian: slurm-wlm-jwt-plugin)"


def free_ports(count: int) -> list[int]:
    """Different free ports of loopback."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class SlurmCluster:
    """One cluster in a folder of its own, which other users may enter: munge and the REST service are not root."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.folder.chmod(0o755)
        self.conf = self.folder / "slurm.conf"
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "SLURM_CONF": str(self.conf)}
        controller, rest, *nodes = free_ports(2 + len(NODES))
        self.rest_port = rest
        self._lay_out(controller, nodes)
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def _lay_out(self, controller: int, nodes: Sequence[int]) -> None:
        for name in ("state", "jobs", "munge"):
            (self.folder / name).mkdir()
        # munge demands that nobody else can write where its socket and key are, and that its key is read by it alone.
        (self.folder / "munge").chmod(0o711)
        (self.folder / "jobs").chmod(0o777)
        for name in ("munge/key", "state/jwt.key"):
            (self.folder / name).write_bytes(os.urandom(64))
            (self.folder / name).chmod(0o400)
        for index in range(GPUS):
            os.mknod(self.folder / f"nvidia{index}", 0o666 | 0o020000, os.makedev(1, 3))
        host = socket.gethostname().partition(".")[0]
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            for name, port in zip(NODES, nodes, strict=True)
        ]
        key = f"jwt_key={self.folder}/state/jwt.key"
        tokens = f"AuthAltTypes=auth/jwt\nAuthAltParameters={key}\n" if why_no_rest() is None else ""
        self.conf.write_text(
            CONFIG.format(host=host, folder=self.folder, port=controller, nodes="\n".join(lines), tokens=tokens),
            encoding="ascii",
        )
        (self.folder / "gres.conf").write_text(
            f"AutoDetect=off\nNodeName=gpu[1-2] Name=gpu Type=h100 File={self.folder}/nvidia[0-7]\n", encoding="ascii"
        )
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n", encoding="ascii")

    def open(self) -> None:
        """Start everything but the REST service, and wait until both nodes are idle."""
        munge = self.folder / "munge"
        self._start(
            *("munged", "--foreground", f"--key-file={munge}/key", f"--socket={munge}/socket"),
            *(f"--seed-file={munge}/seed", f"--pid-file={munge}/pid"),
        )
        self.wait("munge answers", lambda: self.ask("munge", "-S", str(munge / "socket"), "-n").returncode == 0)
        self.start_controller()
        for node in NODES:
            self._start("slurmd", "-D", "-N", node, "-f", str(self.conf), name=node)
        self.wait("both nodes are idle", lambda: self.node_states() == dict.fromkeys(NODES, "idle"))

    def close(self) -> None:
        """End every daemon, and what they started."""
        for daemon in self._daemons.values():
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGCONT)
                daemon.kill()
            daemon.wait()
        # Steps and jobs outlive their daemon by design; they are known by this cluster's own settings file.
        deadline = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                _kill(pid)
            time.sleep(0.02)
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[int]:
        """Every process that has this cluster's settings file in its environment."""
        mark = f"SLURM_CONF={self.conf}".encode()
        found = []
        for place in Path("/proc").iterdir():
            if place.name.isdigit():
                try:
                    environment = (place / "environ").read_bytes().split(b"\0")
                except OSError:
                    continue
                if mark in environment:
                    found.append(int(place.name))
        return found

    def _own_pids(self) -> set[int]:
        return {daemon.pid for daemon in self._daemons.values()}

    def start_controller(self) -> None:
        """Start it, from its saved state if there is one, and wait until it answers."""
        self._start("slurmctld", "-D", "-f", str(self.conf))
        self.wait("the controller answers", lambda: self.ask("scontrol", "ping").returncode == 0)

    def kill_controller(self) -> None:
        """As kill -9 does."""
        self._daemons["slurmctld"].kill()
        self._daemons["slurmctld"].wait()

    def saved(self) -> bytes:
        """What the controller has written down of its jobs."""
        return (self.folder / "state" / "job_state").read_bytes()

    def restart_controller(self, saved: bytes) -> None:
        """As kill -9 and a start do, where it had saved this last."""
        self.kill_controller()
        (self.folder / "state" / "job_state").write_bytes(saved)
        self.start_controller()

    def wait_until_saved(self, job_id: str) -> None:
        """Until the controller has written down what it knows of a job; killed before, it would forget it."""
        file, now_s = self.folder / "state" / "job_state", time.time()
        self.say("scontrol", "update", f"JobId={job_id}", "Comment=to be saved")
        self.wait("the state is saved", lambda: file.exists() and file.stat().st_mtime > now_s)

    def freeze_controller(self) -> None:
        """It keeps its port and answers nothing."""
        self._daemons["slurmctld"].send_signal(signal.SIGSTOP)

    def thaw_controller(self) -> None:
        """It goes on."""
        self._daemons["slurmctld"].send_signal(signal.SIGCONT)

    def start_rest(self) -> str:
        """The address of the REST service, which is started at the first call. It refuses to run as root."""
        if "slurmrestd" not in self._daemons:
            self._start(
                *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", str(PROGRAMS["slurmrestd"])),
                *("-a", "rest_auth/jwt", "-s", "openapi/v0.0.38", f"127.0.0.1:{self.rest_port}"),
                name="slurmrestd",
                SLURM_JWT="daemon",
            )
            self.wait("the REST service listens", lambda: _listens(self.rest_port))
        return f"http://127.0.0.1:{self.rest_port}"

    def token(self, lifespan_s: int = 3600, user: str = "root") -> str:
        """A token for the REST service."""
        return self.say("scontrol", "token", f"lifespan={lifespan_s}", f"username={user}").strip().partition("=")[2]

    def script(self, text: str) -> Path:
        """A batch script of this text."""
        file = self.folder / "jobs" / f"{time.monotonic_ns()}.sh"
        file.write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
        return file

    def submit(self, script: str, *options: str) -> str:
        """Queue a batch job; its id. Its folder is ``jobs`` and its output ``ID.out`` in it, unless told otherwise."""
        output = f"--output={self.folder}/jobs/%j.out"
        common = ("--parsable", "--mem=50", f"--chdir={self.folder}/jobs", output)
        return self.say("sbatch", *common, *options, str(self.script(script))).strip()

    def output(self, job_id: str) -> str:
        """What the job has written."""
        return (self.folder / "jobs" / f"{job_id}.out").read_text(encoding="ascii")

    def written(self, name: str) -> int:
        """The size of a file in the jobs' folder, 0 while it is not there."""
        file = self.folder / "jobs" / name
        return file.stat().st_size if file.exists() else 0

    def written_at_s(self, name: str) -> float:
        """When a file in the jobs' folder was last written."""
        return (self.folder / "jobs" / name).stat().st_mtime

    def program(self, name: str) -> str:
        """Where one of Slurm's commands is."""
        place = shutil.which(name)
        assert place is not None
        return place

    def state(self, job_id: str) -> str:
        """The job's state and its reason, as Slurm prints them: ``RUNNING None``."""
        return self.say("squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T %r").strip()

    def node_states(self) -> dict[str, str]:
        """Each node's state as Slurm prints it."""
        return dict(line.split() for line in self.say("sinfo", "-h", "-N", "-o", "%N %t").splitlines())

    def wait_for(self, job_id: str, state: str) -> None:
        """Until Slurm prints a state that begins so."""
        self.wait(f"job {job_id} is {state}", lambda: self.state(job_id).startswith(state))

    def tidy(self) -> None:
        """As it was at first: the controller answers, nothing is in the queue, both nodes are idle."""
        if self._daemons["slurmctld"].poll() is not None:
            self.start_controller()
        self.thaw_controller()
        for node, state in self.node_states().items():
            if state.startswith("dr"):
                self.say("scontrol", "update", f"NodeName={node}", "State=RESUME")
        if ids := self.say("squeue", "-h", "-o", "%A").split():
            self.ask("scancel", *ids)
            # Slurm would look only every other second whether they have ended.
            for pid in self.processes():
                if b"slurmstepd" not in _command_line(pid) and pid not in self._own_pids():
                    _kill(pid)
        self.wait("the queue is empty", lambda: not self.say("squeue", "-h").strip())
        self.wait("both nodes are idle", lambda: self.node_states() == dict.fromkeys(NODES, "idle"))

    def ask(self, *words: str, user: int | None = None) -> "subprocess.CompletedProcess[str]":
        """Run one of Slurm's commands, as another user if asked."""
        return subprocess.run(
            words, env=self.environment, user=user, capture_output=True, text=True, timeout=30, check=False
        )

    def say(self, *words: str) -> str:
        """What a command prints; it has to go well."""
        done = self.ask(*words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def wait(self, what: str, question: Callable[[], bool], within_s: float = 30.0) -> None:
        """Ask often until it holds."""
        eventually(f"{what} (see {self.folder})", question, within_s, every_s=0.03)

    def _start(self, *words: str, name: str = "", **environment: str) -> None:
        program = PROGRAMS[words[0]]
        assert program is not None
        name = name or words[0]
        with (self.folder / f"{name}.printed").open("ab") as printed:
            self._daemons[name] = subprocess.Popen(
                [program, *words[1:]],
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
            )


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
