import numpy as np
import pytest

from heedful.reward.lapsing import Lapsing


def test_a_share_of_random_answers_is_wrong_half_of_the_time() -> None:
    sure = Lapsing(0.2).chances(np.array([-1e6, 0.0, 1e6]))
    assert sure.tolist() == pytest.approx([0.1, 0.5, 0.9])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_slopes_are_the_losses_own(share: float) -> None:
    said = Lapsing(share)
    d = np.linspace(-8, 8, 33)
    for outcome in (0.0, 0.5, 1.0):
        y = np.full(len(d), outcome)
        slope, bend = said.slopes(d, y)
        numeric = (said.losses(d + 1e-5, y) - said.losses(d - 1e-5, y)) / 2e-5
        assert np.allclose(slope, numeric, atol=1e-6)
        assert (bend > 0).all()


def test_without_lapses_the_curvature_is_the_logistics() -> None:
    d = np.array([-3.0, 0.0, 2.0])
    p = 1 / (1 + np.exp(-d))
    slope, bend = Lapsing(0.0).slopes(d, np.array([1.0, 0.5, 0.0]))
    assert np.allclose(slope, p - [1.0, 0.5, 0.0])
    assert np.allclose(bend, p * (1 - p))


def test_leads_beyond_all_numbers_cost_something_finite() -> None:
    for share in (0.0, 0.1):
        lost = Lapsing(share).losses(np.array([1e9, -1e9]), np.array([0.0, 1.0]))
        assert np.isfinite(lost).all()
        assert np.isfinite(Lapsing(share).slopes(np.array([1e9]), np.array([0.0]))).all()


def test_a_share_that_leaves_no_answer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"share is 1\.0"):
        Lapsing(1.0)
