"""``[[hardware]]`` with devices of this host."""

from typing import Literal

from pydantic import Field

from gateway.config.parts import Section


class SimulatedSettings(Section):
    """``[[hardware]]`` of kind ``simulated``: a fleet, reached through an agent process on a local socket."""

    kind: Literal["simulated"]
    hosts: int = Field(default=4, ge=1, le=4096)
    devices_per_host: int = Field(default=8, ge=1, le=64)
    seed: int = 1


class NvmlSettings(Section):
    """``[[hardware]]`` of kind ``nvml``: the NVIDIA GPUs of this host, found by themselves, behind the same agent."""

    kind: Literal["nvml"]
