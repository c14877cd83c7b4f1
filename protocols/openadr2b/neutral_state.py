"""How a resource stands (x-resourceStatus), between OpenADR 2.0b's terms and the neutral face.

2.0b's words are those of its load control signals: oadrCapacity is a share of the largest import, oadrLevelOffset is 0
in normal operation, so that 1 is curtailed. oadrSetPoint has no unit of its own; ours is in the watts of the data
point's unit, and it is read as watts only where a counterparty's has one.
"""

from dataclasses import replace

from protocols.grid_report import ResourceState
from protocols.openadr2b.model_report import LoadControlState, LoadControlValue, ResourceStatus


def write_state(state: ResourceState) -> ResourceStatus:
    """The status with as much of oadrLoadControlState as is known."""
    power_w, highest_w = state.power_w, state.highest_w
    capacity = set_point = None
    if power_w is not None:
        set_point = LoadControlValue(current=power_w, minimum=state.lowest_w, maximum=highest_w, normal=state.normal_w)
        if highest_w is not None and highest_w > 0:
            capacity = LoadControlValue(
                current=power_w / highest_w,
                minimum=_share(state.lowest_w, highest_w),
                maximum=1.0,
                normal=_share(state.normal_w, highest_w),
            )
    return ResourceStatus(
        online=state.online,
        manual_override=state.overridden,
        load_control=LoadControlState(
            capacity=capacity,
            level_offset=LoadControlValue(
                current=1.0 if state.curtailed else 0.0, minimum=0.0, maximum=1.0, normal=0.0
            ),
            set_point=set_point,
        ),
    )


def _share(part_w: float | None, whole_w: float) -> float | None:
    return None if part_w is None else part_w / whole_w


def read_state(status: ResourceStatus, watts: float | None) -> ResourceState:
    """The neutral state; ``watts`` makes set points watts, ``None`` where they are something else."""
    control = status.load_control or LoadControlState()
    state = ResourceState(
        online=status.online,
        overridden=status.manual_override,
        curtailed=_is_off_normal(control.level_offset) or _is_off_normal(control.percent_offset),
    )
    if control.set_point is None or watts is None:
        return state
    return replace(
        state,
        power_w=control.set_point.current * watts,
        normal_w=_scaled(control.set_point.normal, watts),
        lowest_w=_scaled(control.set_point.minimum, watts),
        highest_w=_scaled(control.set_point.maximum, watts),
    )


def _is_off_normal(offset: LoadControlValue | None) -> bool:
    return offset is not None and offset.current != (offset.normal or 0.0)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
