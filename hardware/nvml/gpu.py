"""One GPU: its calls, what became of them, and what is known of it from one call to the next.

Every error is raised as policy.py says, ``from`` the binding's own. A trouble is logged once with its cure, and its end
once. Where the driver has gone ``DriverLost`` is raised and nothing noted: that concerns all GPUs, and driver.py acts.

Calls on one GPU come one after the other; what is known of it may be read by another thread meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pynvml
import structlog

from hardware.device import CapRange, DeviceView, Fault, PowerReading, Quality
from hardware.errors import DeviceLost, HardwareError, MeterSilent, Unsupported, WriteRefused
from hardware.nvml.policy import After, fault, policy_of
from hardware.nvml.reasons import Limiting, limiting
from hardware.nvml.sensors import (
    FIELDS,
    EnergyRegister,
    EnergyWatch,
    PowerSource,
    chosen,
    joules,
    milliwatts,
    power_fields,
    watts,
)
from hardware.nvml.session import Session

log = structlog.get_logger()

DESCRIBE = "read what the device is"
READ_LIMIT = "read the enforced limit"
READ_ASKED = "read the limit that was asked for"
SET_LIMIT = "set the power limit"
READ_POWER = "read the power"
READ_ENERGY = "read the energy counter"
READ_REASONS = "read why the clocks are held down"
READ_SLOT = "read its number on the host"

NOT_ALWAYS_ASKED = frozenset({READ_REASONS, READ_SLOT})
"""Troubles of these do not show on the view: nobody would see when they are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDetails:
    """What is to be known of a GPU beside its view.

    ``mig``: it is divided into instances, which share its one limit. ``source`` is where its power is read, ``None``
    before the first reading. ``can_cap`` is false where it takes no limit, as far as is known. ``energy_resets`` counts
    how often its energy counter began anew; ``energy_difference_fraction`` is how much more its power came to than its
    register in the last minute, as a fraction of the register, ``None`` where there is nothing to say.
    """

    device_id: str
    mig: bool
    source: PowerSource | None
    can_cap: bool
    energy_resets: int
    energy_difference_fraction: float | None = None


class Gpu:
    """A GPU by its UUID. ``lost`` from the call that found it gone to the one that found it back."""

    def __init__(self, device_id: str, session: Session) -> None:
        self.device_id = device_id
        self._session = session
        self._life = 0
        self._lost_by: Fault | None = None
        self._handle: Any = None
        self._described = False
        self._model = ""
        self._mig = False
        self._slot: int | None = None
        self._range: CapRange | None = None
        self._limit_w: float | None = None
        self._source: PowerSource | None = None
        self._register = EnergyRegister()
        self._energy = EnergyWatch(device_id)
        self._slowed_by: tuple[str, ...] = ()
        self._cannot: set[str] = set()
        self._troubles: dict[str, tuple[int, Fault]] = {}

    @property
    def lost(self) -> bool:
        return self._lost_by is not None

    @property
    def fault(self) -> Fault | None:
        """What is wrong with it, ``None`` where nothing is."""
        if self._lost_by is not None:
            return self._lost_by
        troubles = tuple(self._troubles.items())
        return next((trouble for doing, (_, trouble) in troubles if doing not in NOT_ALWAYS_ASKED), None)

    def look(self, handle: Any, life: int) -> None:
        """Take the handle of this life of the session, and read anew what the GPU is and what limit it has."""
        self._live_in(life)
        self._handle = handle
        self._describe()
        if READ_LIMIT in self._cannot:
            self._back()
        else:
            self.limit_w()
        try:
            self._slowed_by = self.limiting().words
        except DeviceLost:
            raise
        except HardwareError:
            self._slowed_by = ()

    def lose(self, cause: HardwareError) -> None:
        """Note that it has gone, and why."""
        if self._lost_by is None:
            log.error("nvml_device_lost", device_id=self.device_id, detail=str(cause))
        self._lost_by = Fault.of(cause)
        self._handle, self._described = None, False

    def view(self, host_id: str, driver_fault: Fault | None) -> DeviceView | None:
        """As last heard of; ``None`` where its limit was never read. Where it takes none, its range is one point."""
        limit_w = self._limit_w
        if limit_w is None:
            return None
        cap_range = self._range
        if cap_range is None or SET_LIMIT in self._cannot:
            cap_range = CapRange(min_w=limit_w, default_w=limit_w, max_w=limit_w)
        return DeviceView(
            device_id=self.device_id,
            host_id=host_id,
            model=f"{self._model} (in MIG mode)" if self._mig else self._model,
            cap_range=cap_range,
            limit_w=limit_w,
            present=self._session.is_open and not self.lost,
            slot=self._slot,
            fault=driver_fault or self.fault,
            slowed_by=self._slowed_by,
        )

    def details(self) -> GpuDetails:
        return GpuDetails(
            device_id=self.device_id,
            mig=self._mig,
            source=self._source,
            can_cap=self._range is not None and SET_LIMIT not in self._cannot,
            energy_resets=self._register.resets,
            energy_difference_fraction=self._energy.difference_fraction,
        )

    def limit_w(self) -> float:
        """The limit in force: the lowest of all limiters, those out of band too."""
        limit_w = self._limit_w = watts(self._ask(READ_LIMIT, pynvml.nvmlDeviceGetEnforcedPowerLimit))
        self._back()
        return limit_w

    def asked_w(self) -> float:
        """The limit that was asked for last, by whoever asked."""
        return watts(self._ask(READ_ASKED, pynvml.nvmlDeviceGetPowerManagementLimit))

    def set_limit_w(self, limit_w: float) -> None:
        self._describe()
        if self._range is None or SET_LIMIT in self._cannot:
            raise Unsupported("it takes no power limit", device_id=self.device_id)
        low_w, high_w = self._range.min_w, self._range.max_w
        # Written so that no comparison holds for a limit that is not a number.
        if not low_w <= limit_w <= high_w:
            raise WriteRefused(f"{limit_w:g} W is not from {low_w:g} to {high_w:g} W", device_id=self.device_id)
        # Not ..._v2: the binding (13.615) returns success from it whatever the library said.
        self._ask(
            SET_LIMIT,
            lambda handle: pynvml.nvmlDeviceSetPowerManagementLimit(handle, milliwatts(limit_w)),
            given=f" to {limit_w:g} W (it takes {low_w:g} to {high_w:g} W)",
            write=True,
        )

    def reading(self, now: Callable[[], datetime]) -> PowerReading:
        """Power, and energy where there is a register of the same scope. No power at all is suspect."""
        power_w = self._power_w()
        at = now()
        reading = PowerReading(
            meter_id=self.device_id,
            power_w=power_w,
            energy_j=self._energy_j(),
            measured_at=at,
            quality=Quality.GOOD if power_w > 0.0 else Quality.SUSPECT,
        )
        self._energy.look(reading)
        return reading

    def limiting(self) -> Limiting:
        """Why its clocks are held down now."""
        try:
            bits = self._ask(READ_REASONS, pynvml.nvmlDeviceGetCurrentClocksEventReasons)
        except Unsupported:
            # Its name before driver 535.
            bits = self._ask(READ_REASONS, pynvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        return limiting(bits)

    def _describe(self) -> None:
        """Read what stays the same for as long as the device is there: name, range, MIG mode."""
        if self._described:
            return
        self._model = self._ask(DESCRIBE, pynvml.nvmlDeviceGetName)
        self._mig = self._in_mig_mode()
        try:
            low, high = self._ask(DESCRIBE, pynvml.nvmlDeviceGetPowerManagementLimitConstraints)
            default = self._ask(DESCRIBE, pynvml.nvmlDeviceGetPowerManagementDefaultLimit)
        except Unsupported:
            self._range = None
        else:
            self._range = CapRange(min_w=watts(low), default_w=watts(default), max_w=watts(high))
        self._slot = self._minor_number()
        self._described = True

    def _minor_number(self) -> int | None:
        try:
            return int(self._ask(READ_SLOT, pynvml.nvmlDeviceGetMinorNumber))
        except DeviceLost:
            raise
        except HardwareError:
            return None

    def _in_mig_mode(self) -> bool:
        try:
            current, _ = self._ask(DESCRIBE, pynvml.nvmlDeviceGetMigMode)
        except Unsupported:
            return False
        return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)

    def _power_w(self) -> float:
        if self._source is None:
            self._source = self._choose_source()
        source = self._source
        if source is PowerSource.POWER_USAGE:
            return watts(self._ask(READ_POWER, pynvml.nvmlDeviceGetPowerUsage))

        def one_field(handle: Any) -> float:
            value = power_fields(handle, (source,))[source]
            if value.status != pynvml.NVML_SUCCESS:
                raise pynvml.NVMLError(value.status)
            return value.power_w

        power_w: float = self._ask(READ_POWER, one_field)
        return power_w

    def _choose_source(self) -> PowerSource:
        try:
            fields = self._ask(READ_POWER, lambda handle: power_fields(handle, FIELDS))
        except Unsupported:
            return PowerSource.POWER_USAGE
        source = chosen(fields)
        if source is None:
            raise MeterSilent("no field of its power can be read at the moment", device_id=self.device_id)
        return source

    def _energy_j(self) -> float | None:
        """The energy register. ``None`` with power of module scope, too: the counter is the GPU's alone."""
        if self._source is None or self._source.is_module or READ_ENERGY in self._cannot:
            return None
        try:
            counter = self._ask(READ_ENERGY, pynvml.nvmlDeviceGetTotalEnergyConsumption)
        except DeviceLost:
            raise
        except HardwareError:
            return None
        resets = self._register.resets
        energy_j = self._register.at(joules(counter))
        if self._register.resets > resets:
            log.warning("nvml_energy_counter_reset", device_id=self.device_id, register_j=energy_j)
        return energy_j

    def _ask(self, doing: str, call: Callable[[Any], Any], *, given: str = "", write: bool = False) -> Any:
        """Make one call on the GPU; an error becomes one of ours, and what follows from it is done."""
        self._live_in(self._session.lives)
        try:
            if self._handle is None:
                self._handle = pynvml.nvmlDeviceGetHandleByUUID(self.device_id)
            answer = call(self._handle)
        except pynvml.NVMLError as cause:
            raised = fault(cause, doing=doing + given, device_id=self.device_id, write=write)
            self._follow(doing, cause.value, raised)
            raise raised from cause
        if self._troubles.pop(doing, None) is not None:
            log.info("nvml_trouble_over", device_id=self.device_id, what=doing)
        return answer

    def _live_in(self, life: int) -> None:
        """With a new session, nothing that the driver said of handle, range and abilities is said any more."""
        if life != self._life:
            self._life = life
            self._handle, self._described = None, False
            self._cannot.clear()

    def _follow(self, doing: str, code: int, raised: HardwareError) -> None:
        after = policy_of(code).after
        if after is After.DRIVER_LOST:
            return
        if after is After.DEVICE_LOST:
            self.lose(raised)
            return
        if after is After.ASK_ANEW:
            self._handle = None
        if isinstance(raised, Unsupported):
            self._cannot.add(doing)
            if doing is not SET_LIMIT:
                return  # Missing sensors and counters are how some devices are made: no trouble.
        if self._troubles.get(doing, (None,))[0] != code:
            log.warning("nvml_trouble", device_id=self.device_id, detail=str(raised))
        self._troubles[doing] = code, Fault.of(raised)

    def _back(self) -> None:
        if self._lost_by is not None:
            self._lost_by = None
            log.info("nvml_device_back", device_id=self.device_id)
