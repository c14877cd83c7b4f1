"""Why a device's clocks are held down: by a power limit, or by something that is not our doing.

What falls while the cap does not bite is not to be claimed as ours. Bits: NVML API reference, clocks event reasons.
"""

from dataclasses import dataclass

import pynvml

OTHERS = {
    pynvml.nvmlClocksEventReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "too hot (software)",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "too hot (hardware)",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "power brake of the host",
    pynvml.nvmlClocksThrottleReasonBoardLimit: "limit of the board",
    pynvml.nvmlClocksThrottleReasonReliability: "reliability voltage",
    pynvml.nvmlClocksEventReasonSyncBoost: "held down with its group",
    pynvml.nvmlClocksEventReasonApplicationsClocksSetting: "clocks set by somebody",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limiting:
    """``power_cap``: the enforced power limit bites. ``idle``: there is no work. ``others``: what is not our doing."""

    power_cap: bool
    idle: bool
    others: tuple[str, ...]

    @property
    def ours(self) -> bool:
        """Whether the power limit, and nothing else, holds the device down."""
        return self.power_cap and not self.others

    @property
    def words(self) -> tuple[str, ...]:
        """Everything that holds the device down, in words."""
        return (*(("power limit",) if self.power_cap else ()), *self.others)


def limiting(bits: int) -> Limiting:
    """The reasons that NVML gave, in words; bits that nobody knows are passed over."""
    return Limiting(
        power_cap=bool(bits & pynvml.nvmlClocksEventReasonSwPowerCap),
        idle=bool(bits & pynvml.nvmlClocksEventReasonGpuIdle),
        others=tuple(word for bit, word in OTHERS.items() if bits & bit),
    )
