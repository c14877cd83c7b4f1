"""``[program.contract]``, as a facility manager writes it."""

from datetime import time

import pytest

from gateway.config import ConfigError, settings_from
from gateway.domain.contract import Direction

CONTRACT = {
    "committed_kw": 25,
    "notice_s": 600,
    "max_duration_s": 14400,
    "calls_per_season": 15,
    "season": {"first": "06-01", "last": "09-30"},
    "window": [{"weekdays": ["mon", "fri"], "begins": "14:00", "ends": "20:00"}],
}


def settings(**changes: object) -> object:
    return settings_from(
        {
            "site": {"id": "lab"},
            "program": [{"id": "peak", "contract": CONTRACT | changes}],
            "hardware": [{"kind": "simulated", "hosts": 1, "devices_per_host": 2, "seed": 1}],
        },
        source="test",
    )


def test_a_contract_comes_in_watts_and_with_its_windows():
    contract = settings().programs()["peak"].contract
    assert (contract.committed_w, contract.direction, contract.calls_per_season) == (25_000.0, Direction.REDUCE, 15)
    (window,) = contract.windows
    assert (window.weekdays, window.from_time, window.to_time) == ({0, 4}, time(14), time(20))
    assert (contract.season.first, contract.season.last) == ((6, 1), (9, 30))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"season": {"first": "06-31", "last": "09-30"}}, "no day of the year"),
        ({"min_duration_s": 20000}, "no longer than max_duration_s"),
        ({"comitted_kw": 3}, "committed_kw"),
        ({"window": [{"weekdays": ["monday"]}]}, "weekdays"),
    ],
)
def test_what_cannot_be_is_told(changes, words):
    with pytest.raises(ConfigError, match=words):
        settings(**changes)
