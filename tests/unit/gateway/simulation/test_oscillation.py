import numpy as np
import pytest

from gateway.simulation.oscillation import oscillation

SECONDS = np.arange(900, dtype=np.float64)
FLAT = np.full(900, 1000.0)


def swing(hz: float, share: float) -> np.ndarray:
    return share * 1000.0 * np.sin(2.0 * np.pi * hz * SECONDS)


@pytest.mark.parametrize("hz", [0.11, 0.2, 0.333, 0.45])
def test_a_swing_is_found_at_its_size_and_frequency(hz: float) -> None:
    found = oscillation(FLAT + swing(hz, 0.01), FLAT, FLAT)
    assert found is not None
    assert found.amplitude_fraction == pytest.approx(0.01, rel=0.2)
    assert found.at_hz == pytest.approx(hz, abs=0.005)
    assert found.twin_fraction == pytest.approx(0.0, abs=1e-9)


def test_a_swing_of_one_window_is_not_thinned_by_the_others() -> None:
    only = np.where((SECONDS >= 300) & (SECONDS < 600), swing(0.2, 0.01), 0.0)
    found = oscillation(FLAT + only, FLAT, FLAT)
    assert found is not None
    assert found.amplitude_fraction == pytest.approx(0.01, rel=0.2)


def test_what_the_load_does_by_itself_and_what_is_slow_are_not_ours() -> None:
    load_w = FLAT + swing(0.2, 0.05)
    found = oscillation(load_w + SECONDS + swing(0.01, 0.05), load_w, FLAT)
    assert found is not None
    assert found.amplitude_fraction < 0.001
    assert found.twin_fraction == pytest.approx(0.05, rel=0.2)


def test_a_step_of_the_target_is_no_swing() -> None:
    target_w = np.where(SECONDS < 400, 1000.0, 800.0)
    found = oscillation(target_w, FLAT, target_w)
    assert found is not None
    assert found.amplitude_fraction == pytest.approx(0.0, abs=1e-9)


def test_a_target_that_never_stands_still_has_no_judgement() -> None:
    assert oscillation(FLAT, FLAT, 1000.0 + SECONDS // 4) is None
