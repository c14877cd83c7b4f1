"""What jobs and nodes there are, as they were seen last, and when they are looked at again."""

from dataclasses import replace

from hardware.device import Fault
from hardware.errors import HardwareError, Unsupported
from hardware.job import JobDriver, NodeView, SchedulerDriver
from hardware.progress import ProgressWatch
from hardware.restraints import Seen, listed

LOOK_S = 1.0
"""So often resumed jobs are looked at while they are watched."""

LOOK_WHILE_HELD_S = 5.0
"""So often jobs are looked at while we hold any back; a driver counts on being called for as long as it does."""

SETTLES_S = 15.0
"""So long after the last restraint jobs are looked at: a scheduler that is killed may forget the last seconds."""

DECLARE = 'declare them as [[hardware]] kind = "process" or "slurm"'


class JobLook:
    """The jobs and nodes of one driver, where there is one. Resumed jobs are watched until they go on."""

    def __init__(self, driver: JobDriver | None) -> None:
        self.driver = driver
        self.progress = ProgressWatch()
        self.seen = Seen()
        self._looked_at_s: float | None = None
        self._settled_at_s: float | None = None

    def look_where_due(self, now_s: float, *, held: bool) -> None:
        """Look while anything is held back or watched, and for a while after; with ``held`` something is."""
        every_s = LOOK_S if self.progress.watches else LOOK_WHILE_HELD_S
        busy = bool(self.progress.watches or held)
        if busy:
            self._settled_at_s = now_s + SETTLES_S
        is_due = self._looked_at_s is None or now_s - self._looked_at_s >= every_s
        if self._settled_at_s is not None and is_due:
            away = self.try_to_look(now_s, nodes=False)
            if not busy and away is None and now_s >= self._settled_at_s:
                self._settled_at_s = None

    def nodes(self) -> tuple[NodeView, ...]:
        """The scheduler's nodes; where it is away, as last heard of. Raises nothing."""
        if not isinstance(self.driver, SchedulerDriver):
            return ()
        try:
            nodes = self.driver.nodes()
        except HardwareError as cause:
            return tuple(replace(node, fault=Fault.of(cause)) for node in self.seen.nodes.values())
        self.seen = replace(self.seen, nodes={node.node_id: node for node in nodes})
        return nodes

    def look(self, now_s: float, *, nodes: bool) -> Seen:
        """List the jobs (and nodes) anew. Raises ``HardwareError``."""
        if self.driver is None:
            raise Unsupported("no jobs are controlled on this host", cure=DECLARE)
        self._looked_at_s = now_s
        found = listed(self.driver, nodes=nodes)
        self.seen = found if nodes else replace(self.seen, jobs=found.jobs)
        self.progress.look(found.jobs, now_s)
        return self.seen

    def try_to_look(self, now_s: float, *, nodes: bool) -> Fault | None:
        """As ``look``; why it is not known what there is now, ``None`` where it is."""
        try:
            self.look(now_s, nodes=nodes)
        except HardwareError as cause:
            return Fault.of(cause)
        return None
