"""Accounts of what jobs went without while something was asked of the site, kept over the life of a gateway."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from gateway.domain.work_account import WorkAccount, asked_anew, brought_up, opened, taken_over
from gateway.ledger import Ledger
from hardware.job import JobView

WRITTEN_EVERY = timedelta(seconds=10)

LEASED = timedelta(minutes=1)
"""A cap or pause whose gateway died is gone by then."""

SAME_STRETCH = timedelta(minutes=10)
"""A gateway that was away for longer takes what is asked now for something new."""

KEPT = timedelta(days=30)
"""A job that nothing was kept back from for so long has its account closed."""


class WorkAccounts:
    """Opened at a job's first curtailment. ``note`` and ``rest`` cost nothing to call again with the same."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._accounts: dict[str, WorkAccount] = {}
        self._noted: Mapping[str, float] | None = None
        self._resting = False
        self._recalled = False
        self._unwritten: set[str] = set()
        self._written_at: datetime | None = None

    async def recall(self, now: datetime) -> None:
        """Take up, once and before anything is noted, what an earlier gateway wrote.

        Raises ``LedgerUnavailable``: call it again then.
        """
        if self._recalled:
            return
        for found in await self._ledger.work_accounts():
            if now - found.at < KEPT:
                self._accounts[found.job_id] = taken_over(found, now, leased=LEASED, same_stretch=SAME_STRETCH)
        self._recalled = True

    def note(self, now: datetime, throughput: Mapping[str, float], jobs: Iterable[JobView]) -> None:
        """From now on jobs have so much of their full work, by job_id; 0 is a pause, whose costs ``jobs`` know."""
        if throughput == self._noted:
            return
        known = {job.job_id: job for job in jobs}
        for job_id, given in throughput.items():
            account = self._accounts.get(job_id) or opened(job_id, now)
            if self._resting:
                account = asked_anew(brought_up(account, now, throughput=1.0))
            elif given == account.throughput and job_id in self._accounts:
                # It runs on as it did: of a large fleet few change at one step.
                continue
            cost_s = 0.0
            if job_id in known:
                account = replace(account, devices=len(known[job_id].device_ids))
            if (given == 0.0) != (account.throughput == 0.0) and job_id in known:
                costs = known[job_id].pause_costs
                cost_s = costs.checkpoint_s if given == 0.0 else costs.resume_s
            self._keep(brought_up(account, now, throughput=given, cost_s=cost_s))
        self._noted, self._resting = dict(throughput), False

    def rest(self, now: datetime) -> None:
        """Nothing is asked of the site from now on."""
        if self._resting:
            return
        for job_id, account in tuple(self._accounts.items()):
            if now - account.at >= KEPT:
                del self._accounts[job_id]
            else:
                self._keep(brought_up(account, now, throughput=1.0))
        self._noted, self._resting = None, True

    def at(self, now: datetime) -> dict[str, WorkAccount]:
        """All accounts, brought up to now."""
        return {
            job_id: brought_up(account, now, throughput=account.throughput)
            for job_id, account in self._accounts.items()
        }

    async def write_down(self, now: datetime) -> None:
        """Write what has changed, every few seconds. Raises ``LedgerUnavailable``; what could not be written stays."""
        due = self._written_at is None or not timedelta(0) <= now - self._written_at < WRITTEN_EVERY
        if not due or not (self._unwritten or self._noted):
            return
        changing = self._unwritten | (self._noted or {}).keys()
        await self._ledger.record_work_accounts(
            [
                brought_up(account, now, throughput=account.throughput)
                for job_id, account in self._accounts.items()
                if job_id in changing
            ]
        )
        self._written_at = now
        self._unwritten.clear()

    def _keep(self, account: WorkAccount) -> None:
        self._accounts[account.job_id] = account
        self._unwritten.add(account.job_id)
