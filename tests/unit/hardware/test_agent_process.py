"""What a worker does when its keeper has gone; the processes themselves are in tests/integration/test_keeper.py."""

from types import SimpleNamespace

import pytest

from hardware import agent_process
from hardware.agent_process import _stand_in_for_keeper
from hardware.errors import JournalTaken, JournalUnreadable
from hardware.keeper_link import RemoteJournal


class Desk:
    restored = 0

    async def restore_all(self):
        self.restored += 1


class File:
    def __init__(self, fault):
        self._fault = fault

    def open(self):
        if self._fault is not None:
            raise self._fault


@pytest.mark.parametrize(
    ("fault", "keeper_lives", "restored"),
    [
        (None, False, 1),
        (JournalTaken("in use"), False, 0),
        # Killed, but its calls hang in the kernel: it keeps the file, and can put nothing back.
        (JournalTaken("in use"), True, 1),
        # The worker is another user, who may neither read the file nor end the keeper.
        (JournalUnreadable("permission denied"), True, 1),
        (JournalUnreadable("permission denied"), False, 1),
    ],
)
async def test_limits_go_back_whatever_becomes_of_the_keeper_and_its_journal(
    monkeypatch, fault, keeper_lives, restored
):
    monkeypatch.setattr(agent_process, "TAKE_OVER_S", 0.5)
    link = SimpleNamespace(keeper_lives=keeper_lives, end_keeper=lambda: None)
    desk = Desk()
    await _stand_in_for_keeper(desk, link, RemoteJournal(link), File(fault))
    assert desk.restored == restored
