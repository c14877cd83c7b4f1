"""Accounts of jobs' work over events and over the life of a gateway."""

from datetime import timedelta

import pytest

from gateway.services.work_accounts import WorkAccounts
from hardware.job import JobView, PauseCosts
from tests.unit.gateway.services.rig import STARTS_AT, Rig

JOB = JobView(
    job_id="train-1",
    device_ids=("d0",),
    tier="flex3",
    weight=1.0,
    min_throughput=0.5,
    curve=(),
    pause_costs=PauseCosts(checkpoint_s=30.0, resume_s=60.0),
)


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


async def test_an_account_goes_on_with_the_next_gateway(rig: Rig) -> None:
    first = WorkAccounts(rig.ledger)
    await first.recall(STARTS_AT)
    first.note(STARTS_AT, {"train-1": 0.0, "chat-1": 0.9}, (JOB,))
    await first.write_down(STARTS_AT)
    await first.write_down(STARTS_AT + after(9))
    await first.write_down(STARTS_AT + after(100))
    second = WorkAccounts(rig.ledger)
    await second.recall(STARTS_AT + after(130))
    found = second.at(STARTS_AT + after(130))
    assert {job_id: account.lost_s for job_id, account in found.items()} == pytest.approx(
        {"train-1": 30.0 + 130.0, "chat-1": 13.0}
    )


async def test_a_pause_costs_its_checkpoint_and_its_resume_once(rig: Rig) -> None:
    accounts = WorkAccounts(rig.ledger)
    for second, given in ((0, 1.0), (10, 0.0), (20, 0.0), (30, 0.8), (40, 0.8)):
        accounts.note(STARTS_AT + after(second), {"train-1": given}, (JOB,))
    assert accounts.at(STARTS_AT + after(50))["train-1"].lost_s == pytest.approx(30.0 + 20.0 + 60.0 + 0.2 * 20.0)


async def test_what_is_asked_after_a_rest_is_asked_anew_and_the_life_goes_on(rig: Rig) -> None:
    accounts = WorkAccounts(rig.ledger)
    accounts.note(STARTS_AT, {"chat-1": 0.5}, ())
    for second in (60, 61, 3600):
        accounts.rest(STARTS_AT + after(second))
    accounts.note(STARTS_AT + after(3600), {"chat-1": 0.5}, ())
    found = accounts.at(STARTS_AT + after(3660))["chat-1"]
    assert (found.lost_s, found.asked_lost_s) == (60.0, 30.0)
    assert found.asked_s == 60.0, "the rest between is no part of it"


async def test_only_what_changes_is_written_and_a_job_left_alone_for_long_is_forgotten(rig: Rig) -> None:
    accounts = WorkAccounts(rig.ledger)
    accounts.note(STARTS_AT, {"old": 0.5}, ())
    accounts.rest(STARTS_AT + after(60))
    await accounts.write_down(STARTS_AT + after(60))
    (written,) = await rig.ledger.work_accounts()
    assert written.lost_s == 30.0
    later = WorkAccounts(rig.ledger)
    await later.recall(STARTS_AT + timedelta(days=31))
    assert later.at(STARTS_AT + timedelta(days=31)) == {}
    await later.write_down(STARTS_AT + timedelta(days=31))
    assert await rig.ledger.work_accounts() == (written,)


async def test_an_account_knows_on_how_many_devices_its_job_was(rig: Rig) -> None:
    accounts = WorkAccounts(rig.ledger)
    accounts.note(STARTS_AT, {"train-1": 0.5, "chat-1": 0.5}, (JOB,))
    await accounts.write_down(STARTS_AT)
    assert {one.job_id: one.devices for one in await rig.ledger.work_accounts()} == {"train-1": 1, "chat-1": None}
