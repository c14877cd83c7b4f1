"""A scenario from beginning to end: played, judged, written down."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

from gateway.simulation.figures import figures
from gateway.simulation.play import play
from gateway.simulation.scenario import Scenario
from gateway.simulation.writing import Written, write

PLAYING_SHARE = 0.95
"""Of the time; the rest is for the optimum and the files."""


async def run_scenario(
    scenario: Scenario, *, seed: int, out: Path, tell: Callable[[float], None] = lambda _: None
) -> Written:
    """Play it with this seed and write what came of it into ``out``. ``tell`` hears how far it is, 0 to 1.

    Raises ``OSError``, and ``HardwareError`` for a fleet that cannot be.
    """
    with tempfile.TemporaryDirectory(prefix="gridgate-simulate-") as folder:
        played = await play(scenario, seed=seed, folder=Path(folder), tell=lambda part: tell(PLAYING_SHARE * part))
    found = await asyncio.to_thread(figures, played)
    return write(out, played, found)
