from datetime import UTC, datetime

from structlog.testing import capture_logs

from hardware.agent import Agent
from hardware.device import CapCommand, CapResult, DeviceView, Lease, Outcome, PowerReading, Quality
from hardware.effect import IN_A_ROW, SETTLE_S, EffectWatch
from hardware.errors import Condition
from hardware.faults import Faults
from hardware.simulated import SimulatedFleet
from hardware.wire import Applied, Apply, Describe, Described, Read
from hardware.workloads import SimulatedJob

AT = datetime(2026, 7, 1, tzinfo=UTC)


def reading(power_w: float, quality: Quality = Quality.GOOD) -> PowerReading:
    return PowerReading(meter_id="a", power_w=power_w, measured_at=AT, quality=quality)


def watched(*looks: tuple[float, float, float]) -> EffectWatch:
    """Looks of (now_s, cap_w, power_w) at one device."""
    watch = EffectWatch()
    for now_s, cap_w, power_w in looks:
        watch.look([reading(power_w)], {"a": cap_w}, now_s)
    return watch


def test_power_over_a_cap_that_has_stood_long_enough_is_a_fault_told_once() -> None:
    with capture_logs() as lines:
        watch = watched(*((float(second), 200.0, 345.0) for second in range(20)))
    fault = watch.fault("a")
    assert fault is not None
    assert fault.condition is Condition.NOT_IN_FORCE
    assert "reads 200 W" in fault.detail
    assert "345 W" in fault.detail
    assert fault.cure
    assert [line["event"] for line in lines] == ["cap_without_effect"]


def test_first_seconds_after_a_cap_say_nothing() -> None:
    assert watched(*((second, 200.0, 345.0) for second in (0.0, 1.0, SETTLE_S - 0.1))).fault("a") is None


def test_one_reading_over_the_cap_is_chance() -> None:
    looks = [(float(second), 200.0, 205.0) for second in range(10)]
    assert watched(*looks, *((10.0 + one, 200.0, 300.0) for one in range(IN_A_ROW - 1))).fault("a") is None
    assert watched(*looks, *((10.0 + one, 200.0, 300.0) for one in range(IN_A_ROW))).fault("a") is not None


def test_device_on_its_way_down_is_judged_by_the_cap_it_comes_from() -> None:
    falling = [(float(second), 400.0 - 10.0 * second, 390.0 - 10.0 * second) for second in range(20)]
    assert watched(*falling).fault("a") is None


def test_fault_ends_when_the_power_falls_or_the_cap_goes() -> None:
    over = [(float(second), 200.0, 345.0) for second in range(10)]
    assert watched(*over, (11.0, 200.0, 198.0)).fault("a") is None
    watch = watched(*over)
    watch.look([reading(345.0)], {}, 11.0)
    assert watch.fault("a") is None


def test_suspect_reading_proves_nothing() -> None:
    watch = EffectWatch()
    for second in range(20):
        watch.look([reading(345.0, Quality.SUSPECT)], {"a": 200.0}, float(second))
    assert watch.fault("a") is None


def test_agent_does_not_confirm_a_cap_that_its_device_does_not_follow() -> None:
    now_s = [0.0]
    job = SimulatedJob(job_id="train", workload="finetune-8b", tier="flex2", devices=1)
    fleet = SimulatedFleet(
        hosts=1,
        devices_per_host=1,
        seed=1,
        jobs=(job,),
        now=lambda: datetime.fromtimestamp(AT.timestamp() + now_s[0], UTC),
    )
    agent = Agent(host_id="h00", devices=fleet, boot_s=lambda: now_s[0])
    (device,) = fleet.devices()

    def cap() -> CapResult:
        lease = Lease(epoch=1, sequence=int(now_s[0] * 10) + 1, duration_s=60.0)
        reply = agent.handle(Apply(commands=(CapCommand(device_id=device.device_id, cap_w=200.0, lease=lease),)))
        assert isinstance(reply, Applied)
        return reply.results[0]

    def view() -> DeviceView:
        described = agent.handle(Describe())
        assert isinstance(described, Described)
        return described.devices[0]

    def pass_s(seconds: int) -> None:
        for _ in range(seconds):
            now_s[0] += 1.0
            agent.handle(Read())

    fleet.inject(Faults(power_stuck=frozenset({device.device_id})))
    assert cap().outcome is Outcome.APPLIED
    pass_s(12)
    unconfirmed = cap()
    assert unconfirmed.outcome is Outcome.REFUSED
    assert unconfirmed.applied_w is None, "it counts at its worst"
    fault = view().fault
    assert fault is not None
    assert fault.condition is Condition.NOT_IN_FORCE
    fleet.inject(Faults())
    pass_s(5)
    assert view().fault is None
    assert cap().outcome is Outcome.APPLIED
