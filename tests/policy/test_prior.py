import numpy as np
import pytest
import torch

from heedful.policy import Popularity, Schema, TransitionPrior

SEQUENCES = [np.array([0, 1, 2, 0, 3]), np.array([2, 2, 1]), np.empty(0, np.int64), np.array([3])]


def by_hand(history: list[int]) -> list[float]:
    """The formula of the docstring, pair by pair."""
    n = [sum(int((s == i).sum()) for s in SEQUENCES) for i in range(4)]
    t = np.zeros((4, 4))
    for sequence in SEQUENCES:
        for place, i in enumerate(sequence):
            for gap, j in enumerate(sequence[place + 1 : place + 11], start=1):
                t[i, j] += 1 / gap
    t *= np.array([[max(count, 1) ** -0.5] for count in n])
    scores = np.zeros(4)
    for k, i in enumerate(reversed(history[-10:]), start=1):
        scores += t[i] / k
    return (scores * (np.array(n) + 5.0) ** -0.2).tolist()


@pytest.mark.parametrize("history", [[], [0], [1, 2], [3, 0, 2, 2, 1, 0, 3, 1, 2, 0, 1, 2]])
def test_scores_are_those_of_the_formula(history: list[int]) -> None:
    prior = TransitionPrior(Popularity(Schema(4))).double().fit(SEQUENCES)
    recent = torch.full((1, 10), -1)
    for k, unit in enumerate(reversed(history[-10:])):
        recent[0, k] = unit
    assert prior.score(recent)[0].tolist() == pytest.approx(by_hand(history), abs=1e-12)


def test_nothing_to_count_is_no_preference() -> None:
    prior = TransitionPrior(Popularity(Schema(4))).fit([])
    assert prior.score(torch.zeros(1, 10, dtype=torch.int64)).tolist() == [[0.0] * 4]


def test_a_large_catalogue_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match="set prior = false"):
        TransitionPrior(Popularity(Schema(20_001)))
