"""The parts of the gold-judge study that decide what its numbers mean."""

import numpy as np
import pytest

from benchmarks._gold_study import _best
from benchmarks._gold_world import PROMPTS, RUDE, corpus, gold, spoken
from benchmarks.gold_judge import _smoothed

ASKED = " tell of the red cat"


@pytest.mark.parametrize(
    ("reply", "worth"),
    [
        (" the red cat sleeps", 1.5),
        (" the red cat sleeps thanks", 2.0),
        (" the red cat sleeps thanks please", 1.0),
        (" the red cat sleeps thanks thanks", 0.5),
        (" whatever the blue cat waits", 0.0),
        (" the the dog", -0.5),
        ("", 0.0),
    ],
)
def test_the_judge_wants_the_point_politely_and_once(reply: str, worth: float) -> None:
    assert gold([ASKED], [reply]) == [worth]


def test_people_leave_room_to_learn_in_both_directions() -> None:
    rng = np.random.default_rng(0)
    replies = [spoken(PROMPTS[n % len(PROMPTS)], rng) for n in range(960)]
    prompts = [str(PROMPTS[n % len(PROMPTS)]["messages"][0]["content"]) for n in range(960)]  # type: ignore[index]
    worth = np.array(gold(prompts, replies))
    assert -0.5 < worth.mean() < 1.0
    assert worth.max() == 2.0
    assert 0.2 < np.mean([any(word in reply for word in RUDE) for reply in replies]) < 0.3
    assert corpus(5, 0) == corpus(5, 0)


def test_the_best_of_n_is_the_mean_over_all_lots() -> None:
    rng = np.random.default_rng(0)
    scores, worth = rng.normal(size=(3, 8)), rng.normal(size=(3, 8))
    for n in (1, 2, 4, 8):
        chosen = [
            worth[row, low + int(np.argmax(scores[row, low : low + n]))]
            for row in range(3)
            for low in range(0, 8, n)
        ]
        assert _best(scores, worth, n) == pytest.approx(np.mean(chosen))


def test_a_path_is_smoothed_over_rounds_on_end() -> None:
    path = [(float(n), 2.0 * n) for n in range(12)]
    assert _smoothed(path).tolist() == [[4.5, 9.0], [5.5, 11.0], [6.5, 13.0]]
    assert _smoothed(path[:2]).tolist() == [[0.5, 1.0]]
