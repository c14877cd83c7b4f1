"""Whatever comes in whatever order, nothing is left held back by us, and what others hold back is left to them.

A machine of gateway, operator, other people, a scheduler that goes away, agents that die at any of its calls, hand-over
of leases, and time. Beside it, the smallest examples of what easily goes wrong.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hardware.device import Lease
from hardware.job import Asker, JobAction, JobState, PauseMethod, Verb
from hardware.journal import Journal
from hardware.pauses import PauseKeeper
from hardware.restraint_end import LONGEST_AGAIN_S
from tests.job_queue import Queue, job

LONGEST_PAUSE_S = 20.0
STEP_S = 0.5
TARGETS = ("a", "b", "q", "n1")


class Killed(BaseException):
    """kill -9 at this very call."""


class Mortal(Queue):
    """A scheduler whose caller can be killed just before or just after any call that changes something."""

    calls_to_live: int | None = None
    all_alive = True

    def live(self):
        if self.calls_to_live is not None:
            self.calls_to_live -= 1
            if self.calls_to_live <= 0:
                self.calls_to_live = None
                raise Killed

    def _answer(self, what):
        super()._answer(what)
        if what not in {"jobs", "nodes"}:
            self.live()

    def _set(self, what, job_id, allowed, state):
        super()._set(what, job_id, allowed, state)
        self.live()


def held_back(queue, target):
    if target == "n1":
        return target in queue.drained
    return queue.found[target].state in {JobState.PAUSED, JobState.HELD}


class Restraints(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.now_s = 1000.0
        self.epoch = 1
        self.sequence = 0
        self.sent = []
        self.theirs = set()
        self.since_s = {}
        terms = {"max_pause_s": LONGEST_PAUSE_S}
        jobs = [
            job("a", **terms),
            job("b", method=PauseMethod.REQUEUE, **terms),
            job("q", JobState.PENDING, **terms),
        ]
        self.queue = Mortal({one.job_id: one for one in jobs})
        self.journal = Journal(None)
        self.keeper = PauseKeeper(self.queue, self.journal)

    def survive(self, call):
        try:
            return call()
        except Killed:
            self.start_again({})
            return None

    def start_again(self, kept):
        self.keeper = PauseKeeper(self.queue, self.journal)
        self.keeper.adopt(kept)
        self.survive(lambda: self.keeper.recover(self.now_s))

    def send(self, actions, *, late_s=0.0):
        received_s = self.now_s - late_s
        self.survive(lambda: self.keeper.act(actions, received_s=received_s, now_s=self.now_s))

    @rule(
        verbs=st.lists(st.sampled_from(list(Verb)), min_size=1, max_size=3),
        which=st.sampled_from(TARGETS),
        asker=st.sampled_from(list(Asker)),
        lasts_s=st.sampled_from([1.0, 15.0, 60.0, 60.0]),
        late_s=st.sampled_from([0.0, 0.0, 2.0]),
        lost=st.sampled_from([False, False, True]),
    )
    def ask(self, verbs, which, asker, lasts_s, late_s, lost):
        actions = []
        for verb in verbs:
            self.sequence += 1
            lease = Lease(epoch=self.epoch, sequence=self.sequence, duration_s=lasts_s)
            actions.append(JobAction(job_id=which, verb=verb, lease=lease, asker=asker, priority=self.sequence))
        self.sent.append(actions)
        if not lost:
            self.send(actions, late_s=late_s)

    @precondition(lambda self: self.sent)
    @rule(back=st.integers(0, 5))
    def deliver_again(self, back):
        self.send(self.sent[max(0, len(self.sent) - 1 - back)])

    @rule()
    def another_gateway(self):
        self.epoch += 1
        self.sequence = 0

    @rule(seconds=st.sampled_from([0.5, 2.0, 8.0, 30.0]))
    def time_passes(self, seconds):
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            self.survive(lambda: self.keeper.expire(self.now_s))

    @rule(which=st.sampled_from(TARGETS))
    def somebody_else_holds_back(self, which):
        ours = self.journal.state.paused | self.journal.state.held | self.journal.state.drained
        if which in ours or held_back(self.queue, which) or self.queue.away:
            return
        if which == "n1":
            self.queue.drained.add(which)
        else:
            runs = self.queue.found[which].state is JobState.RUNNING
            state = JobState.PAUSED if runs else JobState.HELD
            self.queue.found[which] = job(which, state, max_pause_s=LONGEST_PAUSE_S)
        self.theirs.add(which)

    @rule(which=st.sampled_from(TARGETS))
    def somebody_else_lets_go(self, which):
        self.theirs.discard(which)
        if which == "n1":
            self.queue.drained.discard(which)
        elif held_back(self.queue, which):
            self.queue.found[which] = job(which, JobState.RUNNING, max_pause_s=LONGEST_PAUSE_S)

    @rule(which=st.sampled_from(("b", "q")))
    def waiting_job_starts(self, which):
        if self.queue.found[which].state is JobState.PENDING:
            method = self.queue.found[which].method
            self.queue.found[which] = job(which, max_pause_s=LONGEST_PAUSE_S, method=method)

    @rule()
    def scheduler_goes(self):
        self.queue.away = True

    @rule()
    def scheduler_is_back(self):
        self.queue.away = False

    @rule(calls=st.integers(1, 5))
    def doom(self, calls):
        self.queue.calls_to_live = calls

    @rule()
    def kill(self):
        self.start_again({})

    @rule()
    def worker_dies_and_hands_over(self):
        self.start_again(self.keeper.kept_leases())

    @rule()
    def stop_gracefully(self):
        self.survive(lambda: self.keeper.resume_all(self.now_s))

    @invariant()
    def no_pause_is_longer_than_was_tested(self):
        if not hasattr(self, "queue"):
            return
        for target in ("a", "b", "q"):
            ours = target in self.journal.state.paused and self.queue.found[target].state is JobState.PAUSED
            if not ours or self.queue.away:
                self.since_s.pop(target, None)
                continue
            since_s = self.since_s.setdefault(target, self.now_s)
            assert self.now_s - since_s <= LONGEST_PAUSE_S + LONGEST_AGAIN_S + STEP_S

    @invariant()
    def what_others_hold_back_stays(self):
        if hasattr(self, "queue"):
            assert all(held_back(self.queue, target) for target in self.theirs)

    def teardown(self):
        if not hasattr(self, "queue"):
            return
        self.queue.away, self.queue.calls_to_live = False, None
        for _ in range(70):
            self.now_s += 1.0
            self.keeper.expire(self.now_s)
        left = {target for target in TARGETS if held_back(self.queue, target)}
        assert left == self.theirs
        state = self.journal.state
        assert not state.paused | state.held | state.drained
        assert not self.keeper.runs(self.now_s)


Restraints.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRestraints = Restraints.TestCase


def machine():
    made = Restraints()
    made.begin()
    return made


def test_killed_between_the_pause_and_the_answer():
    run = machine()
    run.doom(2)
    run.ask([Verb.PAUSE], "a", Asker.GATEWAY, 60.0, 0.0, lost=False)
    run.teardown()


def test_scheduler_gone_when_the_lease_ends():
    run = machine()
    run.ask([Verb.PAUSE], "a", Asker.GATEWAY, 5.0, 0.0, lost=False)
    run.ask([Verb.HOLD], "q", Asker.OPERATOR, 5.0, 0.0, lost=False)
    run.scheduler_goes()
    run.time_passes(8.0)
    run.kill()
    run.teardown()


def test_leases_handed_over_end_all_the_same():
    run = machine()
    run.ask([Verb.PAUSE], "b", Asker.OPERATOR, 15.0, 0.0, lost=False)
    run.worker_dies_and_hands_over()
    run.time_passes(8.0)
    run.worker_dies_and_hands_over()
    run.teardown()


def test_what_somebody_else_paused_is_not_resumed_by_us():
    run = machine()
    run.somebody_else_holds_back("a")
    for verb in (Verb.PAUSE, Verb.RESUME, Verb.REQUEUE):
        run.ask([verb], "a", Asker.GATEWAY, 5.0, 0.0, lost=False)
        run.what_others_hold_back_stays()
    run.teardown()


def test_pause_that_is_renewed_for_ever_ends_at_its_tested_maximum():
    run = machine()
    for _ in range(8):
        run.ask([Verb.PAUSE], "a", Asker.GATEWAY, 60.0, 0.0, lost=False)
        run.worker_dies_and_hands_over()
        run.time_passes(8.0)
        run.no_pause_is_longer_than_was_tested()
    run.teardown()
