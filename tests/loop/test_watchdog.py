"""When a policy that learns from itself has collapsed, and when it has not."""

import math

import pytest

from heedful.config import Interact
from heedful.loop.watchdog import Watchdog

FIRST = {
    "score": 1.0,
    "reward_sd": 0.5,
    "kl": 0.0,
    "entropy": 2.0,
    "length": 20.0,
    "unfinished": 0.1,
}


def after(patience: int = 2, **limits: float) -> Watchdog:
    watchdog = Watchdog(Interact(patience=patience).model_copy(update=limits))
    assert watchdog.look(FIRST) == ""
    return watchdog


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kl": 2.1}, "divergence from the reference is 2.10 nats"),
        ({"entropy": 0.019}, "entropy has fallen from 2.000 to 0.0190"),
        ({"score": -0.1}, "reward has fallen from 1.000 to -0.100"),
        ({"unfinished": 0.96}, "96% of the decisions come to no end"),
        ({"length": 1.4}, "shrunk from 20.0 units to 1.4"),
    ],
)
def test_a_collapse_is_told_in_words_once_it_has_lasted(
    change: dict[str, float], words: str
) -> None:
    watchdog = after()
    assert watchdog.look(FIRST | change) == ""
    assert not watchdog.well
    assert words in watchdog.look(FIRST | change)


@pytest.mark.parametrize(
    "change",
    [
        {"kl": 1.9},
        {"entropy": 0.03},
        {"score": 0.1},
        {"unfinished": 0.9},
        {"length": 2.5},
        {"score": math.nan},
        {"reward_sd": math.nan},
    ],
)
def test_what_is_within_its_limits_is_well(change: dict[str, float]) -> None:
    watchdog = after(patience=1)
    assert watchdog.look(FIRST | change) == ""
    assert watchdog.well


def test_one_bad_round_among_good_ones_is_chance() -> None:
    watchdog = after()
    for _ in range(5):
        assert watchdog.look(FIRST | {"kl": 9.0}) == ""
        assert watchdog.look(FIRST) == ""


@pytest.mark.parametrize("change", [{"kl": math.nan}, {"entropy": math.inf}, {"score": -math.inf}])
def test_what_is_no_number_is_a_collapse_at_once(change: dict[str, float]) -> None:
    [(name, value)] = change.items()
    assert after().look(FIRST | change) == f"{name} is {value}"


@pytest.mark.parametrize("limits", [{"kl_limit": 0.0}, {"entropy_floor": 0.0}, {"fall": 0.0}])
def test_a_limit_of_0_is_none(limits: dict[str, float]) -> None:
    changes = {
        "kl_limit": {"kl": 99.0},
        "entropy_floor": {"entropy": 0.0},
        "fall": {"score": -99.0},
    }
    [name] = limits
    watchdog = after(patience=1, **limits)
    assert watchdog.look(FIRST | changes[name]) == ""


def test_it_falls_from_the_best_and_goes_on_after_a_stop() -> None:
    watchdog = after(patience=1)
    watchdog.look(FIRST | {"score": 3.0})
    again = Watchdog(watchdog.section)
    again.restore(watchdog.facts())
    assert "fallen from 3.000" in again.look(FIRST | {"score": 1.5})
