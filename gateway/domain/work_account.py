"""What was kept back from a job so far: tiers bind over an event and over the job, however often it is planned anew."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkAccount:
    """What one job went without, in seconds of its full work; brought up to ``at``, and at ``throughput`` since.

    ``lost_s`` is counted from ``since``, when we first curtailed the job, and ``asked_lost_s`` from ``asked_since``:
    from there on something has been asked of the site without a break. ``devices`` is how many the job was on when it
    was last curtailed, ``None`` where nobody noted it.
    """

    job_id: str
    since: datetime
    asked_since: datetime
    at: datetime
    throughput: float = 1.0
    lost_s: float = 0.0
    asked_lost_s: float = 0.0
    devices: int | None = None

    @property
    def given_fraction(self) -> float:
        """The mean throughput since the first curtailment, 1.0 where no time has passed."""
        elapsed_s = (self.at - self.since).total_seconds()
        return 1.0 if elapsed_s <= 0.0 else max(0.0, 1.0 - self.lost_s / elapsed_s)

    @property
    def asked_s(self) -> float:
        """How long something has been asked."""
        return max(0.0, (self.at - self.asked_since).total_seconds())

    @property
    def asked_given_s(self) -> float:
        """What it had meanwhile, in seconds of its full work; negative where pauses cost more than there was."""
        return self.asked_s - self.asked_lost_s


def opened(job_id: str, at: datetime) -> WorkAccount:
    """The account of a job that nothing was kept back from yet."""
    return WorkAccount(job_id=job_id, since=at, asked_since=at, at=at)


def brought_up(account: WorkAccount, at: datetime, *, throughput: float, cost_s: float = 0.0) -> WorkAccount:
    """The account at a later instant, from which on the job has ``throughput``; ``cost_s`` is lost at once.

    An instant before its own (a clock that was set back) adds nothing.
    """
    gone_s = max(0.0, (at - account.at).total_seconds())
    less_s = gone_s * (1.0 - account.throughput) + cost_s
    return replace(
        account,
        at=max(at, account.at),
        throughput=throughput,
        lost_s=account.lost_s + less_s,
        asked_lost_s=account.asked_lost_s + less_s,
    )


def taken_over(account: WorkAccount, at: datetime, *, leased: timedelta, same_stretch: timedelta) -> WorkAccount:
    """The account as the next gateway takes it up, which does not know what was given in between.

    For as long as a lease lasts the job is taken to have had no more than before; then leases ended. After a break of
    ``same_stretch`` what is asked now is asked anew.
    """
    until = brought_up(account, min(at, account.at + leased), throughput=1.0)
    now = brought_up(until, at, throughput=1.0)
    return now if at - account.at < same_stretch else asked_anew(now)


def asked_anew(account: WorkAccount) -> WorkAccount:
    """The account where a new stretch of asking begins."""
    return replace(account, asked_since=account.at, asked_lost_s=0.0)
