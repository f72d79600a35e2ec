from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from heedful.reward import Fitted, RewardError, TextClassifier
from heedful.reward.classes import PENALTIES, _fitted
from tests.reward.test_likelihood import dense_rows

ASKED = ["where is the station", "how does it work", "what time is it", "who wrote this"]
THANKED = ["thanks a lot", "thank you so much", "that helped, thanks", "cheers, thank you"]
ANGRY = ["this is useless", "stop it, useless thing", "you are wrong again", "wrong and useless"]


def labelled(times: int = 5) -> tuple[list[str], list[str]]:
    texts = [*ASKED, *THANKED, *ANGRY] * times
    return texts, [name for name in ("question", "thanks", "anger") for _ in range(4)] * times


def test_labels_are_read_and_their_probabilities_sum_to_1() -> None:
    reader = TextClassifier.fit(*labelled())
    assert reader.labels == ("anger", "question", "thanks")
    found = reader.probabilities(["Thank you!", "what is this?", "useless!!", ""])
    np.testing.assert_allclose(found.sum(1), 1.0)
    assert found.argmax(1).tolist()[:3] == [2, 1, 0]
    assert found[3].max() < found[0].max()  # what says nothing leaves most in doubt


def test_coefficients_are_those_of_a_general_optimiser() -> None:
    rng = np.random.default_rng(0)
    n, width, labels, penalty = 200, 4, 3, 0.8
    matrix = np.column_stack([rng.normal(size=(n, width)), np.ones(n)])
    truth = (
        matrix[:, :width] @ rng.normal(size=(width, labels)) + rng.gumbel(size=(n, labels))
    ).argmax(1)

    def loss(flat: np.ndarray) -> float:
        b = flat.reshape(labels, width + 1)
        scores = matrix @ b.T
        likelihood = (scores[np.arange(n), truth] - np.log(np.exp(scores).sum(1))).sum()
        return float(
            -likelihood + penalty / 2 * (b[:, :-1] ** 2).sum() + 5e-4 * (b[:, -1] ** 2).sum()
        )

    best = minimize(loss, np.zeros(labels * (width + 1)), method="BFGS")
    found = _fitted(dense_rows(matrix), truth, penalty, np.zeros((labels, width + 1)))
    assert loss(found.ravel()) == pytest.approx(best.fun, rel=1e-3)
    wanted = best.x.reshape(labels, width + 1)
    np.testing.assert_allclose(found[:, :-1], wanted[:, :-1], atol=0.03)


def test_what_was_said_before_tells_as_well() -> None:
    texts = ["yes"] * 60
    before = ["shall I stop", "do you like it", "is it broken"] * 20
    labels = ["stop", "praise", "complaint"] * 20
    owners = [f"c{i}" for i in range(60)]
    reader = TextClassifier.fit(texts, labels, before=before, owners=owners)
    facts = reader.facts("intent", ["yes", "yes"], ["shall I stop", "is it broken"])
    assert [fact["intent"] for fact in facts] == ["stop", "complaint"]
    columns = reader.columns("intent", ["yes"], ["do you like it"])
    assert columns["intent"] == ["praise"]
    assert columns["intent.praise"][0] > columns["intent.stop"][0]
    assert facts[0]["intent_probability"] == pytest.approx(
        reader.columns("intent", ["yes"], ["shall I stop"])["intent.stop"][0], abs=1e-4
    )


def test_the_same_classifier_comes_back_from_a_folder(tmp_path: Path) -> None:
    texts, labels = labelled()
    reader = TextClassifier.fit(texts, [f"{label} é" for label in labels])
    Fitted(classes=reader).save(tmp_path)
    again = Fitted.load(tmp_path).classes
    assert again is not None
    assert (again.labels, again.penalty) == (reader.labels, reader.penalty)
    np.testing.assert_allclose(
        again.probabilities(["thanks"]), reader.probabilities(["thanks"]), atol=1e-6
    )
    assert reader.penalty in PENALTIES


def test_too_little_and_too_much_alike_is_refused() -> None:
    texts, labels = labelled(1)
    with pytest.raises(RewardError, match="12 labelled messages; it takes at least 20"):
        TextClassifier.fit(texts, labels)
    with pytest.raises(RewardError, match="24 messages have 1 different labels"):
        TextClassifier.fit(texts * 2, ["same"] * 24)
