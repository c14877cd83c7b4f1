"""An hour of readings as it was when it was logged."""

from hashlib import sha256

import pytest

from gateway.domain.evidence import canonical_json
from gateway.domain.evidence_log import as_logged

ROWS = [[1, 10.5, None, "good"], [2, 11.0, 7.0, "good"], [3, 12.0, None, "suspect"]]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_hour_that_grew_at_its_end_is_found_as_it_was(count: int) -> None:
    earlier = canonical_json(ROWS[:count])
    assert as_logged(canonical_json(ROWS), sha256(earlier).hexdigest()) == earlier


@pytest.mark.parametrize("logged", [ROWS[1:], [ROWS[0], ROWS[2]], [[1, 10.6, None, "good"]], [*ROWS, ROWS[0]]])
def test_an_hour_that_was_changed_is_not(logged: list[list[object]]) -> None:
    assert as_logged(canonical_json(ROWS), sha256(canonical_json(logged)).hexdigest()) is None
