import math

import numpy as np
import pytest

from benchmarks import _text
from benchmarks._ngrams import WittenBell

TEXT = "the king and the queen went to the tower, and the king was in the tower\n" * 4


@pytest.mark.parametrize("order", [1, 2, 5])
@pytest.mark.parametrize("history", ["", "the", "king ", "zzz"])
def test_probabilities_of_all_characters_sum_to_one(order: int, history: str) -> None:
    model = WittenBell(order).fit(TEXT)
    known = set(TEXT)
    total = sum(math.exp(-model.nats(history + character)[-1]) for character in known)
    total += math.exp(-model.nats(history + "?")[-1])  # stands for what was never seen
    assert total == pytest.approx(1.0)


def test_two_characters_by_hand() -> None:
    model = WittenBell(2).fit("aab")
    empty = {"a": (2 + 2 / 3) / 5, "b": (1 + 2 / 3) / 5}  # 3 seen, 2 different, 3 with a stranger
    assert math.exp(-model.nats("a")[0]) == pytest.approx(empty["a"])
    after_a = (1 + 2 * empty["b"]) / (2 + 2)  # a was followed by a and by b
    assert math.exp(-model.nats("ab")[1]) == pytest.approx(after_a)


def test_longer_histories_tell_more() -> None:
    nats = [WittenBell(order).fit(TEXT).nats(TEXT).mean() for order in (1, 2, 4)]
    assert nats == sorted(nats, reverse=True)


def test_stretches_count_by_their_characters() -> None:
    mean, low, high = _text.Scores([10.0, 90.0], [10, 30], 1).per_character()
    assert mean == 2.5
    assert (low, high) == (1.0, 3.0)


def test_a_small_text_goes_through_the_whole_of_it() -> None:
    pytest.importorskip("transformers")
    small = {
        "domain.vocabulary": 280,
        "policy.width": 8,
        "policy.layers": 1,
        "policy.heads": 1,
        "policy.window": 64,
        "pretrain.epochs": 1,
        "pretrain.precision": "float32",
    }
    for network in _text.NETWORKS.values():
        settings = _text.settings_of(network) | small
        found = _text.trained(settings, TEXT * 4, TEXT[:100])
        assert sum(found["characters"]) == 100
        per_character = np.sum(found["nats"]) / 100
        assert 0.5 < per_character < math.log(280)
