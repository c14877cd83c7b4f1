"""What each of Slurm's own errors means for us: a fault of our own tree and its cure in words.

    Slurm says                                       raised           condition
    Unable to contact slurm controller               SchedulerLost    no driver
    Could not establish a configuration source       SchedulerLost    no driver
    Protocol authentication error, munge             SchedulerLost    no driver
    Incompatible versions, Zero Bytes                SchedulerLost    version mismatch
    Access/permission denied, Invalid user id        WriteRefused     no permission
    Invalid job id, already completing or completed  WriteRefused     lost
    Invalid node name                                WriteRefused     lost
    Job is pending execution                         Unsupported      not supported
    presently disabled, individual component         Unsupported      not supported
    anything else                                    WriteRefused     failed

Texts: ``slurm_errno.c`` of Slurm 22.05. ``Unexpected message received`` is what it says of an unknown job, when its own
time for an answer is over, and by REST of a user who may not: it tells nothing, and falls under the last.
"""

from typing import NamedTuple

from hardware.device import Fault
from hardware.errors import Condition, HardwareError, SchedulerLost, Unsupported, WriteRefused

TEXT_LIMIT = 300
"""Characters of Slurm's own text that a fault carries."""

NOT_RUNNING = "start slurmctld, or mend the network to its host (scontrol ping); paused jobs go on once it answers"


class _Meaning(NamedTuple):
    says: str
    kind: type[HardwareError]
    condition: Condition
    cure: str


_MUNGE = "start munged on this host, with the cluster's key and its clock in step with the controller's"
_MISMATCH = (
    "install the Slurm commands of the controller's version here: a client may be older by two releases, never newer"
)
_MAY_NOT = (
    "run this as root or SlurmUser, or give its user Slurm's role of operator "
    "(sacctmgr modify user NAME set adminlevel=operator)"
)
_ENDED = "it has ended meanwhile: nothing is left to do"

_NODE_MEANINGS = (
    (
        Condition.LOST,
        frozenset({"DOWN", "ERROR"}),
        "start slurmd there and read its log; scontrol update NodeName={node} State=RESUME has it back",
    ),
    (
        Condition.SILENT,
        frozenset({"NOT_RESPONDING"}),
        "start slurmd on {node}, or mend the network to it: till then its jobs can be neither paused nor resumed",
    ),
    (
        Condition.FAILED,
        frozenset({"FAIL", "FAILING"}),
        "repair {node}; scontrol update NodeName={node} State=RESUME has it back",
    ),
)

_MEANINGS = (
    _Meaning("unable to contact slurm controller", SchedulerLost, Condition.NO_DRIVER, NOT_RUNNING),
    _Meaning(
        "could not establish a configuration source",
        SchedulerLost,
        Condition.NO_DRIVER,
        "name the cluster's slurm.conf in the settings",
    ),
    _Meaning("protocol authentication error", SchedulerLost, Condition.NO_DRIVER, _MUNGE),
    _Meaning("munge", SchedulerLost, Condition.NO_DRIVER, _MUNGE),
    _Meaning("incompatible versions", SchedulerLost, Condition.VERSION_MISMATCH, _MISMATCH),
    _Meaning("incompatible slurm plugin", SchedulerLost, Condition.VERSION_MISMATCH, _MISMATCH),
    _Meaning("zero bytes were transmitted", SchedulerLost, Condition.VERSION_MISMATCH, _MISMATCH),
    _Meaning("access/permission denied", WriteRefused, Condition.NO_PERMISSION, _MAY_NOT),
    _Meaning("invalid user id", WriteRefused, Condition.NO_PERMISSION, _MAY_NOT),
    _Meaning("invalid job id", WriteRefused, Condition.LOST, _ENDED),
    _Meaning("already completing or completed", WriteRefused, Condition.LOST, _ENDED),
    _Meaning("invalid node name", WriteRefused, Condition.LOST, "name a node that sinfo lists"),
    _Meaning("job is pending execution", Unsupported, Condition.NOT_SUPPORTED, "hold it instead"),
    _Meaning(
        "presently disabled",
        Unsupported,
        Condition.NOT_SUPPORTED,
        "submit such jobs with --requeue (JobRequeue=1 in slurm.conf makes it the default)",
    ),
    _Meaning("individual component", Unsupported, Condition.NOT_SUPPORTED, "name the whole job by its first number"),
)


def fault(text: str, *, doing: str) -> HardwareError:
    """What Slurm said, as an error of our own tree with its cure; to be raised."""
    said = " ".join(text.split())
    lower = said.lower()
    for meaning in _MEANINGS:
        if meaning.says in lower:
            return meaning.kind(_words(doing, said), condition=meaning.condition, cure=meaning.cure)
    return WriteRefused(
        _words(doing, said),
        cure="see the log of slurmctld, and whether the user of this agent has Slurm's role of operator",
    )


def node_fault(node_id: str, words: frozenset[str], reason: str) -> Fault | None:
    """What is wrong with a node of this state, ``None`` where nothing is."""
    for condition, meant, cure in _NODE_MEANINGS:
        found = words & meant
        if found:
            state = ", ".join(sorted(found)).lower().replace("_", " ")
            detail = f"Slurm has it as {state}" + (f": {reason[:TEXT_LIMIT]}" if reason else "")
            return Fault(condition=condition, detail=detail, cure=cure.format(node=node_id))
    return None


def _words(doing: str, said: str) -> str:
    return f"cannot {doing}: Slurm says {said[:TEXT_LIMIT]!r}"
