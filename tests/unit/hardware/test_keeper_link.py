"""The link between keeper and worker: what is asked, told, and what becomes of it when the other end has gone."""

import json
import math
import socket
import threading
import time

import pytest

from hardware import keeper_link
from hardware.errors import Condition, DeviceLost, HardwareError, JournalUnreadable, WriteRefused
from hardware.journal import Journal, JournalState, PriorLimit, written
from hardware.keeper_link import (
    KeeperLink,
    RemoteJournal,
    fault_from_json,
    fault_to_json,
    leases_from_json,
    leases_to_json,
    limits_from_json,
)
from hardware.lease import KeptLease

PRIOR = PriorLimit(found_w=400.0, written_w=200.0, before_w=400.0)


class Keeper:
    """The keeper's end, which answers what a test says."""

    def __init__(self) -> None:
        self.end, theirs = socket.socketpair()
        self.stopped, self.gone = threading.Event(), threading.Event()
        self.link = KeeperLink(theirs, on_stop=self.stopped.set, on_gone=self.gone.set)
        self.lines = self.end.makefile("rb")
        self.theirs = theirs

    def next(self):
        return json.loads(self.lines.readline())

    def say(self, **message) -> None:
        self.end.sendall(json.dumps(message).encode() + b"\n")

    def answers(self, **answer) -> None:
        """Answer the next thing that is asked, in a thread."""
        threading.Thread(target=lambda: self.say(id=self.next()["id"], **answer), daemon=True).start()

    def dies(self) -> None:
        self.end.shutdown(socket.SHUT_RDWR)
        self.lines.close()
        self.end.close()


@pytest.fixture
def keeper():
    made = Keeper()
    yield made
    if not made.gone.is_set():
        made.dies()
    assert made.gone.wait(1.0)
    made.theirs.close()


def handed(keeper, state=None):
    keeper.answers(
        answer={"journal": written(state or JournalState()).decode(), "boot_id": "b", "limits": {}, "jobs": {}}
    )
    journal = RemoteJournal(keeper.link)
    journal.open()
    return journal


def test_answers_may_come_in_any_order(keeper):
    got = {}
    asking = [
        threading.Thread(target=lambda key=key: got.update({key: keeper.link.ask("put_back", device_id=key)}))
        for key in ("a", "b", "c")
    ]
    for one in asking:
        one.start()
    questions = [keeper.next() for _ in asking]
    for question in reversed(questions):
        keeper.say(id=question["id"], answer=question["device_id"].upper())
    for one in asking:
        one.join(1.0)
    assert got == {"a": "A", "b": "B", "c": "C"}


def test_a_fault_is_raised_as_it_was_met(keeper):
    fault = WriteRefused("no", device_id="d0", condition=Condition.NO_PERMISSION, cure="run it as root")
    keeper.answers(fault=fault_to_json(fault))
    with pytest.raises(WriteRefused) as raised:
        keeper.link.ask("put_back", device_id="d0", limit_w=1.0)
    same = raised.value
    assert (str(same), same.condition, same.cure, same.device_id) == (
        str(fault), Condition.NO_PERMISSION, "run it as root", "d0",
    )  # fmt: skip


def test_faults_keep_their_kind_over_the_link():
    assert type(fault_from_json(fault_to_json(DeviceLost("gone", device_id="d0")))) is DeviceLost
    assert type(fault_from_json(fault_to_json(HardwareError("x")) | {"name": "Exception"})) is HardwareError


def test_who_waits_for_an_answer_is_told_when_the_keeper_dies(keeper):
    threading.Thread(target=lambda: (keeper.next(), keeper.dies()), daemon=True).start()
    with pytest.raises(HardwareError, match="gone"):
        keeper.link.ask("open")
    assert keeper.gone.wait(1.0)
    with pytest.raises(HardwareError, match="gone"):
        keeper.link.ask("open")
    keeper.link.tell("beat", part="jobs")


def test_a_keeper_that_does_not_answer_is_waited_for_so_long_only(keeper, monkeypatch):
    monkeypatch.setattr(keeper_link, "ASK_S", 0.05)
    with pytest.raises(HardwareError, match="did not answer"):
        keeper.link.ask("open")
    keeper.say(id=keeper.next()["id"], answer="too late")
    keeper.answers(answer="in time")
    monkeypatch.undo()
    assert keeper.link.ask("open") == "in time"


def test_stop_and_heard(keeper):
    before_s = keeper.link.heard_s
    time.sleep(0.01)
    keeper.say(tell="heard")
    keeper.say(tell="stop")
    assert keeper.stopped.wait(1.0)
    assert keeper.link.heard_s > before_s


def test_commit_says_what_changed_and_counts_once_it_is_answered(keeper):
    journal = handed(keeper, JournalState(epoch=2, paused=frozenset({"train"})))
    heard = []
    answering = threading.Thread(target=lambda: (heard.append(keeper.next()), keeper.say(id=heard[0]["id"])))
    answering.start()
    journal.commit(epoch=3, limits={"d0": PRIOR}, paused=frozenset({"train"}))
    answering.join(1.0)
    assert heard[0] | {"id": 0} == {"id": 0, "ask": "commit", "epoch": 3, "limits": {"d0": list(PRIOR)}}
    assert journal.state == JournalState(epoch=3, limits={"d0": PRIOR}, paused=frozenset({"train"}), boot_id="b")
    journal.commit(epoch=3, limits={"d0": PRIOR})  # Nothing changes: nobody is asked, and nobody answers.


def test_commit_that_fails_leaves_the_old_state(keeper):
    journal = handed(keeper)
    keeper.answers(fault=fault_to_json(JournalUnreadable("the disk is full")))
    with pytest.raises(JournalUnreadable, match="the disk is full"):
        journal.commit(limits={"d0": PRIOR})
    assert journal.state.limits == {}


def test_nothing_is_committed_before_the_journal_was_handed_over(keeper):
    journal = RemoteJournal(keeper.link)
    with pytest.raises(JournalUnreadable):
        journal.commit(epoch=1)


def test_after_the_keepers_death_the_file_itself(keeper, tmp_path):
    journal = handed(keeper)
    left = Journal(tmp_path / "journal")
    left.open()
    left.commit(limits={"d0": PRIOR})
    left.close()
    keeper.dies()
    journal.take_over(Journal(tmp_path / "journal"))
    assert journal.state.limits == {"d0": PRIOR}
    journal.commit(limits={})
    journal.close()
    assert json.loads((tmp_path / "journal").read_text())["limits"] == {}


def test_leases_are_the_same_on_the_other_side():
    kept = {
        "d0": KeptLease(expires_s=12.5, hold=False, epoch=3, sequence=4),
        "train": KeptLease(expires_s=1.0, hold=True, epoch=3, sequence=5, since_s=0.5),
    }
    assert leases_from_json(json.loads(json.dumps(leases_to_json(kept)))) == kept
    ended = {"d0": KeptLease(-math.inf, hold=False, epoch=0, sequence=0)}
    assert leases_from_json(leases_to_json(ended))["d0"].expires_s == 0.0


@pytest.mark.parametrize("entry", [["x"], [1.0], [math.nan, 1.0, 1.0], None])
def test_limits_that_are_none_are_refused(entry):
    with pytest.raises((ValueError, TypeError)):
        limits_from_json({"d0": entry})


def test_commit_that_went_unanswered_is_said_again_whatever_it_says(monkeypatch):
    """The keeper may have made it all the same, and has what the worker does not know of."""
    asked = []

    class Link:
        answers = False

        def ask(self, what, **content):
            if what == "open":
                return {"journal": written(JournalState()).decode(), "boot_id": "", "limits": {}, "jobs": {}}
            asked.append(content)
            if not self.answers:
                raise HardwareError("the keeper of this agent did not answer")
            return None

    link = Link()
    journal = RemoteJournal(link)
    journal.open()
    with pytest.raises(JournalUnreadable):
        journal.commit(limits={"d0": PriorLimit(400.0, 200.0, 400.0)})
    link.answers = True
    journal.commit(limits={})
    journal.commit(limits={})
    assert asked[1:] == [{"limits": {}}], "said once more, although the worker knows of no limit"
