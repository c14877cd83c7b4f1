"""The meter against pymodbus' own server on loopback, and against servers that misbehave."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from hardware.device import PowerReading
from hardware.errors import MeterSilent
from hardware.modbus_meter import ModbusMeter
from hardware.register_map import SHIPPED, Kind, Register, RegisterMap, Table, WordOrder

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
PLAIN = RegisterMap(power=Register(address=10, kind=Kind.FLOAT32))
COUNTING = RegisterMap(
    power=Register(address=10, kind=Kind.FLOAT32),
    energy=Register(address=20, kind=Kind.UINT16, scale=3600.0),
)

Streams = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Panel:
    """A real server whose registers a test sets; ``before`` runs at each request, ``sent`` may spoil what goes out."""

    def __init__(self, *, unit_id: int = 1) -> None:
        self.registers = dict.fromkeys(range(10, 60), 0)
        self.refusal: ExcCodes | None = None
        self.delay_s = 0.0
        self.requests = 0
        self.connections = 0
        self.sent: Callable[[bytes], bytes] = bytes
        self._unit_id = unit_id

    def set(self, address: int, layout: str, number: float) -> None:
        raw = struct.pack(f">{layout}", number)
        for offset, word in enumerate(struct.unpack(f">{len(raw) // 2}H", raw)):
            self.registers[address + offset] = word

    async def _on_request(
        self, _function: int, start: int, address: int, count: int, current: list[int], _values: object
    ) -> ExcCodes | None:
        self.requests += 1
        await asyncio.sleep(self.delay_s)
        for at in range(address, address + count):
            current[at - start] = self.registers[at]
        return self.refusal

    def _packet(self, sending: bool, data: bytes) -> bytes:
        return self.sent(data) if sending else data

    def _connected(self, up: bool) -> None:
        self.connections += up

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[int]:
        device = SimDevice(
            id=self._unit_id,
            simdata=[SimData(10, count=50, values=0, datatype=DataType.REGISTERS)],
            action=self._on_request,
        )
        server = ModbusTcpServer(
            device, address=("127.0.0.1", port), trace_packet=self._packet, trace_connect=self._connected
        )
        await server.serve_forever(background=True)
        try:
            yield server.transport.sockets[0].getsockname()[1]
        finally:
            await server.shutdown()


@pytest.fixture
def panel() -> Panel:
    return Panel()


def meter(port: int, registers: RegisterMap = PLAIN, *, timeout_s: float = 0.3, unit_id: int = 1) -> ModbusMeter:
    return ModbusMeter(
        meter_id="main",
        host="127.0.0.1",
        port=port,
        unit_id=unit_id,
        registers=registers,
        now=lambda: NOW,
        timeout_s=timeout_s,
    )


@asynccontextmanager
async def raw_server(handle: Streams) -> AsyncIterator[int]:
    """A server that does what ``handle`` does."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await server.wait_closed()


async def test_a_reading(panel: Panel) -> None:
    panel.set(10, "f", 1234.5)
    async with panel.serving() as port:
        one = meter(port)
        assert await one.read() == (PowerReading(meter_id="main", power_w=1234.5, measured_at=NOW),)
        panel.set(10, "f", -7.25)
        assert (await one.read())[0].power_w == -7.25
        one.close()
    assert panel.connections == 1


async def test_power_and_energy_of_another_unit_with_words_turned(panel: Panel) -> None:
    panel = Panel(unit_id=17)
    panel.set(10, "i", 123_456)
    panel.registers[10], panel.registers[11] = panel.registers[11], panel.registers[10]
    panel.set(20, "Q", 7_000_000)
    registers = RegisterMap(
        power=Register(address=10, kind=Kind.INT32, words=WordOrder.LOW_FIRST, table=Table.INPUT, scale=-0.1),
        energy=Register(address=20, kind=Kind.UINT64, scale=3600.0),
    )
    async with panel.serving() as port:
        one = meter(port, registers, unit_id=17)
        (reading,) = await one.read()
        assert reading.power_w == pytest.approx(-12_345.6)
        assert reading.energy_j == 7_000_000 * 3600.0
        one.close()


async def test_a_sunspec_meter_that_changes_its_range(panel: Panel) -> None:
    one_map = SHIPPED["sunspec-int"].moved(5)
    panel.registers.update({23: 4321, 27: 2, 51: 1, 52: 0, 59: 3})
    async with panel.serving() as port:
        one = meter(port, one_map)
        (reading,) = await one.read()
        assert (reading.power_w, reading.energy_j) == (432_100.0, 65_536_000 * 3600.0)
        panel.registers.update({23: 4321, 27: 0x10000 - 1})
        assert (await one.read())[0].power_w == pytest.approx(432.1)
        panel.registers[27] = 0x8000
        with pytest.raises(MeterSilent, match="holding register 23 holds no number"):
            await one.read()
        one.close()


async def test_an_energy_register_that_changes_its_unit_starts_over() -> None:
    panel = Panel()
    registers = RegisterMap(
        power=Register(address=10, kind=Kind.FLOAT32),
        energy=Register(address=20, kind=Kind.UINT16, exponent_at=21),
    )
    async with panel.serving() as port:
        one = meter(port, registers)
        energies = []
        for count, exponent in ((65_530, 3), (10, 3), (65_530, 2), (4, 2)):
            panel.registers.update({20: count, 21: exponent})
            energies.append((await one.read())[0].energy_j)
        assert energies == [65_530_000.0, 65_546_000.0, 6_553_000.0, 6_554_000.0]
        one.close()


async def test_a_register_that_wraps_runs_on(panel: Panel) -> None:
    async with panel.serving() as port:
        one = meter(port, COUNTING)
        energies = []
        for count in (65_533, 65_534, 2, 0xFFFF, 4, 0):
            panel.registers[20] = count
            energies.append((await one.read())[0].energy_j)
        # 0xFFFF is SunSpec's "not implemented": power is read, energy is not.
        assert energies == [65_533 * 3600.0, 65_534 * 3600.0, 65_538 * 3600.0, None, 65_540 * 3600.0, 0.0]
        one.close()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_a_power_that_is_no_number(panel: Panel, number: float) -> None:
    panel.set(10, "f", number)
    async with panel.serving() as port:
        one = meter(port)
        with pytest.raises(MeterSilent, match="main: holding register 10 holds no number"):
            await one.read()
        one.close()


async def test_an_address_that_the_meter_does_not_have_is_named(panel: Panel) -> None:
    async with panel.serving() as port:
        one = meter(port, RegisterMap(power=Register(address=9_000, kind=Kind.FLOAT32, table=Table.INPUT)))
        with pytest.raises(MeterSilent, match=r"input register 9000: refused, illegal data address \(2\)"):
            await one.read()
        with pytest.raises(MeterSilent, match="illegal data address"):
            await one.read()
        one.close()
    assert panel.connections == 1  # A refusal is an answer: the connection is good.


async def test_a_meter_that_is_busy_and_then_is_not(panel: Panel) -> None:
    panel.set(10, "f", 5.0)
    async with panel.serving() as port:
        one = meter(port)
        panel.refusal = ExcCodes.DEVICE_BUSY
        with pytest.raises(MeterSilent, match="device busy"):
            await one.read()
        panel.refusal = None
        assert (await one.read())[0].power_w == 5.0
        one.close()


async def test_a_server_that_is_away_comes_back(panel: Panel) -> None:
    panel.set(10, "f", 5.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one = meter(port)
    with pytest.raises(MeterSilent, match=f"main: 127.0.0.1:{port}: cannot connect"):
        await one.read()
    async with panel.serving(port):
        assert (await one.read())[0].power_w == 5.0
    with pytest.raises(MeterSilent):
        await one.read()
    async with panel.serving(port):
        assert (await one.read())[0].power_w == 5.0
        one.close()


async def test_a_slow_server_ends_at_the_deadline_and_its_late_answer_is_nobodys(panel: Panel) -> None:
    panel.set(10, "f", 1.0)
    async with panel.serving() as port:
        one = meter(port, timeout_s=0.15)
        panel.delay_s = 0.3
        began = asyncio.get_running_loop().time()
        with pytest.raises(MeterSilent, match=r"did not answer in 0.15 s"):
            await one.read()
        assert asyncio.get_running_loop().time() - began < 0.25
        panel.delay_s = 0.0
        panel.set(10, "f", 2.0)
        assert (await one.read())[0].power_w == 2.0
        await asyncio.sleep(0.25)
        assert (await one.read())[0].power_w == 2.0
        one.close()
    assert panel.connections == 2


async def test_the_deadline_covers_both_registers(panel: Panel) -> None:
    panel.delay_s = 0.12
    async with panel.serving() as port:
        one = meter(port, COUNTING, timeout_s=0.2)
        with pytest.raises(MeterSilent, match="did not answer"):
            await one.read()
        one.close()


async def test_half_an_answer(panel: Panel) -> None:
    panel.set(10, "f", 5.0)
    async with panel.serving() as port:
        one = meter(port, timeout_s=0.15)
        panel.sent = lambda packet: packet[:-2]
        with pytest.raises(MeterSilent, match="did not answer"):
            await one.read()
        panel.sent = bytes
        assert (await one.read())[0].power_w == 5.0
        one.close()


async def test_fewer_registers_than_asked_for(panel: Panel) -> None:
    def shorten(packet: bytes) -> bytes:
        tid, protocol, _, unit, function, _ = struct.unpack(">HHHBBB", packet[:9])
        return struct.pack(">HHHBBB", tid, protocol, 5, unit, function, 2) + packet[9:11]

    async with panel.serving() as port:
        one = meter(port)
        panel.sent = shorten
        with pytest.raises(MeterSilent, match="holding register 10: 1 registers came for 2"):
            await one.read()
        one.close()


async def test_a_connection_that_is_reset_while_a_request_waits() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(12)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with raw_server(reset) as port:
        one = meter(port, timeout_s=1.5)
        began = asyncio.get_running_loop().time()
        with pytest.raises(MeterSilent, match="ended the connection"):
            await one.read()
        assert asyncio.get_running_loop().time() - began < 0.5  # Known at once, not at the deadline.
        one.close()


def answered(request: bytes, power_w: float) -> bytes:
    return struct.pack(">HHHBBBf", int.from_bytes(request[:2], "big"), 0, 7, request[6], request[7], 4, power_w)


async def test_a_server_that_ends_the_connection_after_each_answer() -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answered(await reader.readexactly(12), 42.0))
        await writer.drain()

    async with raw_server(answer_once) as port:
        one = meter(port)
        for _ in range(3):
            # One after the other, so that the second is sent before the end of the connection is known ...
            assert (await one.read())[0].power_w == 42.0
            assert (await one.read())[0].power_w == 42.0
            # ... and once it is.
            await asyncio.sleep(0.01)
        one.close()


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda request: b"\x00" * 300,
        lambda request: b"HTTP/1.1 400 Bad Request\r\n\r\n",
        lambda request: answered(b"\xfe\xed" + request[2:], 1.0),
        lambda request: answered(request[:6] + b"\x63" + request[7:], 1.0),
    ],
    ids=["zeros", "another protocol", "another request's", "another unit's"],
)
async def test_an_answer_that_is_none(spoilt: Callable[[bytes], bytes]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(spoilt(await reader.readexactly(12)))

    async with raw_server(answer) as port:
        one = meter(port, timeout_s=0.15)
        with pytest.raises(MeterSilent):
            await one.read()
        one.close()


async def test_two_readings_at_once_take_turns(panel: Panel) -> None:
    panel.set(10, "f", 5.0)
    panel.delay_s = 0.02
    async with panel.serving() as port:
        one = meter(port)
        first, second = await asyncio.gather(one.read(), one.read())
        assert first == second
        one.close()
    assert (panel.connections, panel.requests) == (1, 2)


async def test_a_reading_that_is_cancelled_leaves_no_connection(panel: Panel) -> None:
    panel.set(10, "f", 5.0)
    async with panel.serving() as port:
        one = meter(port)
        panel.delay_s = 0.2
        task = asyncio.create_task(one.read())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        panel.delay_s = 0.0
        assert (await one.read())[0].power_w == 5.0
        one.close()
    assert panel.connections == 2
