"""A power meter on Modbus TCP.

The only importer of pymodbus. Three of its ways matter here: a refusal by the meter (illegal address, gateway target
away) is an *answer* and not an exception; a connection that ends leaves a request waiting; and it would reconnect and
ask again on its own. So retries and reconnects are off, each reading has one deadline over all of it, and a connection
on which anything went wrong is never used again: a late answer cannot be taken for the next one's.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu import ExceptionResponse

from hardware.device import PowerMeter, PowerReading
from hardware.errors import MeterSilent
from hardware.register_map import Register, RegisterMap, RunningRegister, Table

# It logs each failed attempt; what fails here is told once, by whoever reads the meter.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL + 1)

_REFUSALS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, not done yet",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not respond",
}
"""Exception codes of the Modbus application protocol 1.1b3, section 7."""


class ModbusMeter(PowerMeter):
    """One meter behind one TCP connection, which is made at the first reading and again after any fault.

    ``timeout_s`` covers everything that a reading needs: the turn, the connection, all answers. A reading is stamped
    with ``now()`` when the power's answer came. Nothing is retried but on a connection that had ended meanwhile: the
    next reading is the next try.
    """

    def __init__(
        self,
        *,
        meter_id: str,
        host: str,
        registers: RegisterMap,
        now: Callable[[], datetime],
        port: int = 502,
        unit_id: int = 1,
        timeout_s: float = 0.8,
    ) -> None:
        self._meter_id = meter_id
        self._host = host
        self._port = port
        self._unit_id = unit_id
        self._registers = registers
        self._now = now
        self._timeout_s = timeout_s
        self._energy = RunningRegister(registers.wraps_at)
        self._energy_factor: float | None = None
        self._turn = asyncio.Lock()
        self._client: AsyncModbusTcpClient | None = None
        self._until_end: asyncio.Timeout | None = None

    async def read(self) -> tuple[PowerReading, ...]:
        """One reading. Raises ``MeterSilent``."""
        try:
            async with asyncio.timeout(self._timeout_s), self._turn:
                kept = self._client is not None
                try:
                    return (await self._read(),)
                except ConnectionError:
                    if not kept:
                        raise
                # The meter had ended a connection that was kept since the last reading.
                return (await self._read(),)
        except TimeoutError as cause:
            raise self._silent(f"{self._host}:{self._port} did not answer in {self._timeout_s:g} s") from cause
        except (OSError, ModbusException) as cause:
            raise self._silent(f"{self._host}:{self._port}: {cause}") from cause

    def close(self) -> None:
        """Let go of the connection; a later reading makes a new one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _read(self) -> PowerReading:
        try:
            async with asyncio.timeout(None) as self._until_end:
                return await self._ask()
        except MeterSilent:
            raise  # The meter answered: the connection is good.
        except BaseException as fault:
            # Also when cancelled at the deadline.
            self.close()
            if isinstance(fault, TimeoutError):
                raise ConnectionResetError("ended the connection") from fault
            raise
        finally:
            self._until_end = None

    async def _ask(self) -> PowerReading:
        client = self._client = self._client or await self._connected()
        block = await self._block(client, self._registers.power)
        measured_at = self._now()
        power_w = _watts(self._registers.power, block)
        energy_j = await self._energy_j(client)
        if power_w is None:
            raise self._silent(f"{self._registers.power.name} holds no number")
        return PowerReading(meter_id=self._meter_id, power_w=power_w, measured_at=measured_at, energy_j=energy_j)

    async def _connected(self) -> AsyncModbusTcpClient:
        client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_connect=self._on_connection,
        )
        try:
            if not await client.connect():
                raise ConnectionError("cannot connect")
        except BaseException:
            client.close()
            raise
        return client

    def _on_connection(self, up: bool) -> None:
        """Nobody else would tell a waiting request that its connection has ended."""
        if up:
            return
        if self._until_end is None:
            self._client = None
        elif not self._until_end.expired():
            self._until_end.reschedule(0.0)

    async def _block(self, client: AsyncModbusTcpClient, register: Register) -> Sequence[int]:
        ask = client.read_holding_registers if register.table is Table.HOLDING else client.read_input_registers
        answer = await ask(register.first, count=register.count, device_id=self._unit_id)
        if isinstance(answer, ExceptionResponse):
            code = answer.exception_code
            raise self._silent(f"{register.name}: refused, {_REFUSALS.get(code, 'unknown reason')} ({code})")
        if answer.isError() or len(answer.registers) != register.count:
            raise self._silent(f"{register.name}: {len(answer.registers)} registers came for {register.count}")
        return answer.registers

    async def _energy_j(self, client: AsyncModbusTcpClient) -> float | None:
        register = self._registers.energy
        if register is None:
            return None
        block = await self._block(client, register)
        count, factor = register.number(block), register.factor(block)
        if count is None or factor is None:
            return None
        if factor != self._energy_factor:
            # Other units: what was counted before says nothing about a wrap.
            self._energy, self._energy_factor = RunningRegister(self._registers.wraps_at), factor
        return self._energy.total(count) * factor

    def _silent(self, text: str) -> MeterSilent:
        return MeterSilent(text, device_id=self._meter_id)


def _watts(register: Register, block: Sequence[int]) -> float | None:
    number, factor = register.number(block), register.factor(block)
    return None if number is None or factor is None else number * factor
