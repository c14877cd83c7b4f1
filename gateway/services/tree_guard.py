"""What the actuator knows of each device's limit, and what the electrical tree makes of it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from gateway.domain.electrical import NodeState, Standing, Verdict, fits, guard, last_heard
from gateway.domain.tree import ElectricalTree, Wiring, wire
from hardware.device import CapResult, DeviceView, Outcome

NEAR_W = 1.0
"""A cap within a watt of where it is to come to is there."""

PATIENCE_S = 60.0
"""A gateway that begins waits so long to hear of what the tree names before anything rises beside it. What is not heard
of by then counts as off: a host that was taken out must not keep the others down for ever."""

_CONFIRMED = frozenset({Outcome.APPLIED, Outcome.CLAMPED})


class _Known(NamedTuple):
    """What a device's last command left: the bounds of its limit, and whether it was confirmed.

    ``most_w`` is ``None`` where the lease may have run out since: it may have been put back.
    """

    least_w: float
    most_w: float | None
    obeys: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What may be written now.

    ``caps_w`` are for devices that are to have a cap, wanted or because a node has no room for all at the top of their
    range; those in ``held`` may not be put back, and hold at the end of their lease. ``urgent`` are to be written
    however little they change. ``rising`` are nodes whose devices wait for room that is not confirmed yet.
    """

    caps_w: Mapping[str, float]
    held: frozenset[str]
    urgent: frozenset[str]
    rising: tuple[NodeState, ...]
    nodes: tuple[NodeState, ...]


class TreeGuard:
    """Keeps what results told of each device, and asks the domain's guard. Without a limit that can bind it is silent.

    A device that this gateway has not written to counts with the most that it may be put back to: somebody's lease may
    be about to end there.
    """

    def __init__(self, tree: ElectricalTree | None) -> None:
        self._tree = tree
        self._known: dict[str, _Known] = {}
        self._wiring: Wiring | None = None
        self._began_at: datetime | None = None
        self._patient = True
        self._heard: Mapping[str, DeviceView] | None = None
        self._binding = False

    @property
    def watches(self) -> bool:
        """Whether any node has a limit."""
        return self._tree is not None and any(node.limit_w is not None for node in self._tree.nodes)

    def allowed(
        self, devices: Mapping[str, DeviceView], caps_w: Mapping[str, float], not_ours: Collection[str], now: datetime
    ) -> Allowed | None:
        """What may be written where these caps are wanted; ``None`` where no limit can bind."""
        self._began_at = self._began_at or now
        patient = now - self._began_at < timedelta(seconds=PATIENCE_S)
        if patient is not self._patient:
            self._patient, self._wiring = patient, None
        wiring = self._wired(devices)
        if wiring is None:
            return None
        wanted_w = np.array([caps_w.get(device_id, np.nan) for device_id in wiring.device_ids])
        standing = self._standing(devices, not_ours)
        return _sorted_out(wiring, standing, guard(wiring, standing, wanted_w), caps_w)

    def take(self, results: Iterable[CapResult]) -> None:
        """Learn from what became of caps."""
        if self._tree is None:
            return
        for result in results:
            self._known[result.device_id] = self._after(result)

    def put_back(self, results: Iterable[CapResult]) -> None:
        """Learn from what became of limits put back: one that is confirmed is nothing of ours any more."""
        if self._tree is None:
            return
        for result in results:
            if result.outcome is Outcome.APPLIED:
                self._known.pop(result.device_id, None)
            else:
                self._known[result.device_id] = self._after(result)

    def forget(self) -> None:
        """Leases may have run out meanwhile: any device may have been put back, or be as low as it was last told."""
        self._known = {key: _Known(known.least_w, None, obeys=True) for key, known in self._known.items()}

    def _after(self, result: CapResult) -> _Known:
        known = self._known.get(result.device_id)
        told_w = result.requested_w if result.applied_w is None else result.applied_w
        if result.outcome in _CONFIRMED:
            # What holds it lower than we asked may let go of it at any time.
            return _Known(told_w, max(told_w, result.requested_w), obeys=True)
        if result.applied_w is None:
            return _Known(told_w if known is None else min(told_w, known.least_w), np.inf, obeys=False)
        return _Known(told_w, max(told_w, result.requested_w), obeys=False)

    def _wired(self, devices: Mapping[str, DeviceView]) -> Wiring | None:
        if self._tree is None:
            return None
        if self._wiring is None or self._heard is not devices or self._wiring.device_ids != tuple(devices):
            hosts = {device_id: view.host_id for device_id, view in devices.items()}
            self._wiring = wire(self._tree, hosts, self._tree.unknown_names(hosts) if self._patient else ())
            self._heard = devices
            self._binding = not fits(self._wiring, last_heard(devices.values()).top_w)
        return self._wiring if self._binding else None

    def _standing(self, devices: Mapping[str, DeviceView], not_ours: Collection[str]) -> Standing:
        heard = last_heard(devices.values())
        most_w = np.where(heard.writable, heard.free_w, heard.top_w)
        least_w, writable, obeys = heard.least_w, heard.writable, heard.obeys
        for index, (device_id, view) in enumerate(devices.items()):
            if not view.present:
                self._known.pop(device_id, None)
            elif device_id in not_ours:
                # Nobody answers us for it meanwhile: what its last command told is old once it is ours to ask again.
                self._known.pop(device_id, None)
                most_w[index] = view.limit_w
                writable[index] = False
            elif device_id in self._known:
                known = self._known[device_id]
                least_w[index] = min(known.least_w, heard.top_w[index])
                if known.most_w is not None:
                    most_w[index] = min(known.most_w, heard.top_w[index])
                obeys[index] = known.obeys
        return Standing(
            floor_w=heard.floor_w,
            free_w=heard.free_w,
            top_w=heard.top_w,
            least_w=np.minimum(least_w, most_w),
            most_w=most_w,
            writable=writable,
            obeys=obeys,
        )


def _sorted_out(wiring: Wiring, standing: Standing, verdict: Verdict, wanted: Collection[str]) -> Allowed:
    """The verdict by device."""
    ids = wiring.device_ids
    lower = verdict.over & (verdict.cap_w < standing.most_w)
    caps_w = {
        device_id: cap_w
        for device_id, cap_w, watched, writable in zip(
            ids, verdict.cap_w.tolist(), verdict.watched.tolist(), standing.writable.tolist(), strict=True
        )
        if writable and (watched or device_id in wanted)
    }
    behind = standing.writable & (verdict.goal_w - verdict.cap_w > NEAR_W)
    above_behind = np.zeros(len(wiring.budget_w), dtype=np.bool_)
    above_behind[wiring.paths[:, behind]] = True
    return Allowed(
        caps_w=caps_w,
        held=frozenset(np.compress(verdict.held, ids).tolist()),
        urgent=frozenset(np.compress(lower, ids).tolist()),
        rising=tuple(node for node, waits in zip(verdict.nodes, above_behind[:-1].tolist(), strict=True) if waits),
        nodes=verdict.nodes,
    )
