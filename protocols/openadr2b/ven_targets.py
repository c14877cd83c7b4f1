"""Whether an event is for us, by the ids that we were told are ours."""

from collections.abc import Collection

from protocols.grid import GridEvent, Target

VEN = "ven"


class VenTargets:
    """What is ours besides our venID: groups, resources, service areas, whatever the utility aims at.

    Of a kind of which no id was declared nothing can be said: the VTN, which sent us the event, is believed. Where a
    declared kind is named it decides, since a VTN that names a resource says with our venID only where that is; else
    our venID does.
    """

    def __init__(self, declared: Collection[Target]) -> None:
        self._ours = frozenset(declared)
        self._kinds = frozenset(target.kind for target in declared)

    def not_ours(self, event: GridEvent, party_ids: Collection[str]) -> str | None:
        """Why the event is not for us, in plain words; ``None`` where it is."""
        judged = [target for target in event.targets if target.kind in self._kinds and target.kind != VEN]
        if judged:
            return None if self._ours.intersection(judged) else _meant_for(judged)
        vens = [target for target in event.targets if target.kind == VEN]
        if not vens or any(target.value in party_ids or target in self._ours for target in vens):
            return None
        return _meant_for(vens)


def _meant_for(targets: Collection[Target]) -> str:
    return "meant for " + ", ".join(sorted(f"{target.kind} {target.value}" for target in targets))
