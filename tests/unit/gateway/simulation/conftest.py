"""The small scenario, played once for all."""

import pytest

from gateway.simulation.play import Played
from tests.unit.gateway.simulation.small_scenario import played_with


@pytest.fixture(scope="session")
def small_played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return played_with(tmp_path_factory.mktemp("small"))
