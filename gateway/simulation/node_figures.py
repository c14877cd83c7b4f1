"""What the nodes of the site's electrical tree drew, against their limits."""

from dataclasses import dataclass

from gateway.simulation.recorder import STEP_S, Recording

FOUND_S = 2.0
"""The first gateway finds the site as it is, over its limits or not: it is judged from so long after the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFigures:
    """One node with a limit.

    ``highest_w`` is the most that it truly drew in any second, overhead included, and ``over_limit_s`` the seconds in
    which that was over the limit. ``most_w`` is the most that it could have drawn in any second, with every device at
    its limit in force and over it by the overshoot.
    """

    node_id: str
    kind: str
    limit_w: float
    highest_w: float
    most_w: float
    over_limit_s: float


def node_figures(recording: Recording) -> tuple[NodeFigures, ...]:
    """The figures of each node, over the whole scenario but its first ``FOUND_S``."""
    judged = recording.time_s >= recording.time_s[:1].sum() + FOUND_S
    drawn_w, most_w = recording.node_w[judged], recording.node_most_w[judged]
    return tuple(
        NodeFigures(
            node_id=node.node_id,
            kind=str(node.kind),
            limit_w=node.limit_w or 0.0,
            highest_w=float(drawn_w[:, index].max(initial=0.0)),
            most_w=float(most_w[:, index].max(initial=0.0)),
            over_limit_s=float((drawn_w[:, index] > (node.limit_w or 0.0)).sum()) * STEP_S,
        )
        for index, node in enumerate(recording.nodes)
    )
