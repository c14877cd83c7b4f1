"""Writes that come after an answer which said that they failed, and a journal that does not take what it is told."""

from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from hardware.device import Outcome
from hardware.errors import CallHangs, JournalUnreadable
from hardware.journal import Journal, PriorLimit
from hardware.limit_terms import RestoreRamp
from hardware.limits import LimitKeeper


class LateKeeper:
    """Puts limits back when the test says so; whoever asks is told meanwhile that the call hangs."""

    def __init__(self, stand):
        self._stand = stand
        self.hangs = True
        self.first = None

    def __call__(self, device_id, limit_w):
        if self.hangs:
            self.first = self.first or (device_id, limit_w)
            raise CallHangs("a call into the driver has not come back", device_id=device_id)
        self._stand.fleet.set_limit_w(device_id, limit_w)

    def comes(self):
        self._stand.fleet.set_limit_w(*self.first)


class Stubborn(Journal):
    """A journal that does not let go of one device's entry, or does not take it, as a keeper may refuse."""

    keeps = refuses = None

    def commit(self, *, epoch=None, limits: Mapping[str, PriorLimit] | None = None, **more):
        known = self.state.limits
        if limits is not None and self.keeps in known.keys() - limits.keys():
            raise JournalUnreadable("it stays", device_id=self.keeps)
        if limits is not None and self.refuses in limits.keys() - known.keys():
            raise JournalUnreadable("it does not come", device_id=self.refuses)
        super().commit(epoch=epoch, limits=limits, **more)


@pytest.fixture
def journal(stand):
    made = Stubborn(stand.journal)
    made.open()
    yield made
    made.close()


def apply(keeper, stand, *commands):
    return keeper.apply(commands, received_s=stand.now_s, now_s=stand.now_s)


@pytest.mark.parametrize("ramp", [RestoreRamp(), RestoreRamp(ramp_s=10.0)])
def test_put_back_that_comes_within_the_next_lease_is_ours_and_capped_again(stand, journal, ramp):
    late = LateKeeper(stand)
    keeper = LimitKeeper(stand.fleet, journal, ramp=ramp, raise_back=late)
    apply(keeper, stand, stand.cap(200.0, duration_s=5.0))
    stand.now_s += 6.0
    keeper.expire(stand.now_s)
    stand.now_s += 5.0
    keeper.expire(stand.now_s)
    apply(keeper, stand, stand.cap(180.0))
    late.comes()
    assert stand.limit_w() > 180.0
    late.hangs = False
    (done,) = apply(keeper, stand, stand.cap(180.0, duration_s=5.0))
    assert (done.outcome, stand.limit_w()) == (Outcome.APPLIED, 180.0)
    stand.now_s += 6.0
    keeper.expire(stand.now_s)
    stand.now_s += 11.0
    keeper.expire(stand.now_s)
    assert stand.limit_w() == 400.0, "and not what came late"
    assert journal.state.limits == {}


def test_entry_that_the_journal_keeps_back_holds_up_no_other_and_is_said_once(stand, journal):
    agent = stand.agent(journal=False)
    agent._limits = LimitKeeper(stand.fleet, journal)
    apply(agent._limits, stand, stand.cap(200.0), stand.cap(200.0, device=1))
    journal.keeps = "h00-d0"
    stand.now_s += 11.0
    with capture_logs() as logs:
        for _ in range(20):
            agent.expire_limits()
    assert [stand.limit_w(0), stand.limit_w(1)] == [400.0, 400.0]
    assert list(journal.state.limits) == ["h00-d0"]
    assert len([line for line in logs if line["event"] == "lease_ended"]) <= 2, "not four lines a second"
    stand.fleet.set_limit_w("h00-d0", 200.0)
    agent.expire_limits()
    assert stand.limit_w() == 400.0, "the write of somebody killed, which came late"
    journal.keeps = None
    agent.expire_limits()
    assert journal.state.limits == {}


def test_device_that_the_journal_does_not_take_keeps_no_other_from_its_cap(stand, journal):
    keeper = LimitKeeper(stand.fleet, journal)
    journal.refuses = "h00-d1"
    done = apply(keeper, stand, stand.cap(200.0), stand.cap(200.0, device=1), stand.cap(200.0, device=2))
    assert [one.outcome for one in done] == [Outcome.APPLIED, Outcome.REFUSED, Outcome.APPLIED]
    assert [stand.limit_w(index) for index in range(3)] == [200.0, 400.0, 200.0]
    assert "it does not come" in done[1].detail
