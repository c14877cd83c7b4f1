import numpy as np
import pytest

from gateway.simulation.regulation import regulation_signal
from gateway.simulation.regulation_score import regulation_score


def test_the_signal_uses_its_whole_range_and_is_neutral() -> None:
    signal = regulation_signal(900, step_s=4.0, seed=1)
    assert len(signal) == 900
    assert (min(signal), max(signal)) == (-1.0, 1.0)
    assert abs(sum(signal) / 900) < 0.05


def test_the_same_seed_gives_the_same_signal_and_another_one_another() -> None:
    assert regulation_signal(50, step_s=4.0, seed=1) == regulation_signal(50, step_s=4.0, seed=1)
    assert regulation_signal(50, step_s=4.0, seed=1) != regulation_signal(50, step_s=4.0, seed=2)


def by_second(seed: int = 1) -> list[float]:
    return [value for value in regulation_signal(900, step_s=4.0, seed=seed) for _ in range(4)]


def test_a_signal_followed_to_the_watt_scores_one() -> None:
    score = regulation_score(by_second(), by_second())
    assert score is not None
    assert (score.correlation, score.delay, score.precision) == pytest.approx((1.0, 1.0, 1.0))
    assert score.score == pytest.approx(1.0)


def test_a_response_a_minute_late_loses_a_fifth_of_the_delay_score() -> None:
    signal = by_second()
    score = regulation_score(signal, [0.0] * 60 + signal[:-60])
    assert score is not None
    assert score.delay == pytest.approx(0.8, abs=0.02)
    assert score.correlation > 0.98
    assert score.precision < 0.5


def test_half_a_response_has_half_the_precision() -> None:
    signal = by_second()
    score = regulation_score(signal, (0.5 * np.array(signal)).tolist())
    assert score is not None
    assert (score.correlation, score.precision) == pytest.approx((1.0, 0.5))


def test_the_wrong_direction_scores_little() -> None:
    signal = by_second()
    score = regulation_score(signal, [-value for value in signal])
    assert score is not None
    assert score.score < 0.6


def test_what_is_too_short_has_no_score() -> None:
    assert regulation_score([1.0, -1.0] * 250, [1.0, -1.0] * 250) is None
