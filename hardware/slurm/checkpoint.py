"""A checkpoint before a pause: how a job is asked for one, and by what it is seen to be written."""

import time
from dataclasses import dataclass
from pathlib import PurePosixPath

from hardware.slurm.cluster import ASK_AGAIN_S, Cluster
from hardware.slurm.listing import ListedJob
from hardware.slurm.outputs import Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How a job is asked to write a checkpoint before it is suspended.

    ``signal`` goes to its batch script; that the file ``done_file`` (in the job's folder, or an absolute path) was
    written afterwards says that it is done. Whoever has not written it ``within_s`` later is suspended all the same: a
    suspended job loses nothing.
    """

    signal: str = "USR1"
    done_file: str = "checkpoint.done"
    within_s: float = 10.0


def await_checkpoint(
    job: ListedJob, checkpoint: Checkpoint, cluster: Cluster, outputs: Outputs, deadline_s: float
) -> None:
    """Ask for a checkpoint and wait until it is written, or the time for it is over."""
    path = str(PurePosixPath(job.folder, checkpoint.done_file))
    before = outputs.look([path])
    cluster.ask(cluster.way.signal_script, job.job_id, checkpoint.signal, deadline_s)
    until_s = time.monotonic() + checkpoint.within_s
    while outputs.look([path]) == before and time.monotonic() < until_s:
        time.sleep(ASK_AGAIN_S)
