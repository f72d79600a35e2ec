from pathlib import Path

import numpy as np
import pytest

from benchmarks._judged_replies import harmless
from heedful.reward import (
    Comparisons,
    Fitted,
    NgramReward,
    Normalised,
    Rated,
    RewardError,
    TextReward,
    left_out_scores,
    scored,
)
from heedful.reward.replies import FEWEST

GOOD = ["thank you", "glad to help", "here is how", "of course"]
BAD = ["go away", "no idea", "stupid question", "who cares"]
FILLER = ["today", "as it is", "my friend", "I would say", "in short", "you know"]


def reply(rng: np.random.Generator, kind: list[str]) -> str:
    return f"{rng.choice(kind)} {' '.join(rng.choice(FILLER, 2))}"


def compared(n: int, seed: int = 0, *, ties: float = 0.0, prompts: int = 1_000) -> Comparisons:
    """Pairs of a friendly and a rude reply in either order; some are called as good."""
    rng = np.random.default_rng(seed)
    flipped = rng.random(n) < 0.5
    good, bad = ([reply(rng, kind) for _ in range(n)] for kind in (GOOD, BAD))
    first = [b if f else g for g, b, f in zip(good, bad, flipped, strict=True)]
    second = [g if f else b for g, b, f in zip(good, bad, flipped, strict=True)]
    outcomes = np.where(rng.random(n) < ties, 0.5, np.where(flipped, 0.0, 1.0))
    return Comparisons.of([f"question {i % prompts}" for i in range(n)], first, second, outcomes)


def rated(n: int, seed: int = 0, *, thumbs: bool) -> Rated:
    rng = np.random.default_rng(seed)
    good = rng.random(n) < 0.5
    replies = [reply(rng, GOOD if g else BAD) for g in good]
    numbers = good * 1.0 if thumbs else np.where(good, rng.integers(4, 6, n), rng.integers(1, 3, n))
    return Rated.of([f"question {i}" for i in range(n)], replies, numbers)


def test_pairs_teach_which_reply_is_better() -> None:
    model, fresh = NgramReward.fit(compared(200)), compared(200, seed=1)
    first, tied, second = model.prefer(fresh.prompts, fresh.first, fresh.second)
    assert ((first > second) == (fresh.outcomes == 1)).mean() > 0.98
    assert not tied.any()
    np.testing.assert_allclose(first + second, 1.0)
    worth = model.read(["q"] * 2, ["thank you", "go away"])
    assert worth.mean[0] > worth.mean[1] + 0.5
    assert worth.spread.tolist() == [0.0, 0.0]
    replies = [*compared(200).first, *compared(200).second]
    seen = model.read(["question"] * 400, replies).mean
    assert seen.mean() == pytest.approx(0.0, abs=0.1)
    assert seen.std() == pytest.approx(1.0, abs=0.1)


def test_the_order_of_a_pair_does_not_matter() -> None:
    pairs = compared(60)
    turned = Comparisons.of(pairs.prompts, pairs.second, pairs.first, 1.0 - pairs.outcomes)
    one, two = (
        NgramReward.fit(judged).read(["q"], ["thank you"]).mean for judged in (pairs, turned)
    )
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_ties_are_expected_as_often_as_they_came() -> None:
    pairs = compared(400, ties=0.3)
    first, tied, second = NgramReward.fit(pairs).prefer(pairs.prompts, pairs.first, pairs.second)
    np.testing.assert_allclose(first + tied + second, 1.0)
    assert tied.mean() == pytest.approx((pairs.outcomes == 0.5).mean(), abs=0.02)


def test_thumbs_become_probabilities_and_ratings_ratings() -> None:
    fresh = rated(200, seed=1, thumbs=True)
    told = NgramReward.fit(rated(200, thumbs=True)).read(fresh.prompts, fresh.completions).mean
    assert 0.0 < told.min() < told.max() < 1.0
    assert (np.abs(told - fresh.numbers) < 0.5).mean() > 0.98
    fresh = rated(200, seed=1, thumbs=False)
    told = NgramReward.fit(rated(200, thumbs=False)).read(fresh.prompts, fresh.completions).mean
    assert 1.0 <= told.min() < told.max() <= 5.0
    assert np.abs(told - fresh.numbers).mean() < 0.8


def test_a_model_is_a_text_reward_like_any_function() -> None:
    model = NgramReward.fit(compared(60), members=3)
    assert isinstance(model, TextReward)
    said = scored(model, ["q", "q"], ["thank you", ""], stars=[1, 2])
    assert np.isfinite(said).all()
    assert scored(model.doubting(1.0), ["q"], ["zymurgy"])[0] < said[0]
    anew = Normalised.on(model, ["q"] * 3, ["thank you", "go away", "today"])
    assert scored(anew, ["q"] * 3, ["thank you", "go away", "today"]).std() == pytest.approx(1.0)


def test_members_disagree_about_words_that_few_prompts_have() -> None:
    pairs = compared(100)
    prompts = [*pairs.prompts, "only here"]
    first, second = [*pairs.first, "zymurgy"], [*pairs.second, "today"]
    judged = Comparisons.of(prompts, first, second, [*pairs.outcomes, 1.0])
    model = NgramReward.fit(judged, members=8, seed=1)
    leads = model.scores(["q"] * 2, ["zymurgy", "thank you"])
    leads -= model.scores(["q"] * 2, ["today", "go away"])
    spread = leads.std(0) / np.abs(leads.mean(0))
    assert spread[0] > 2 * spread[1]


def test_no_pair_is_scored_by_a_model_that_saw_its_group() -> None:
    """Answers that go by the prompt's number alone are worth nothing for other prompts."""
    rng = np.random.default_rng(0)
    prompts = [f"p{i // 2}" for i in range(200)]
    first, second = [f"secret{i // 2} a" for i in range(200)], [f"b{i // 2} c" for i in range(200)]
    luck = np.repeat(rng.integers(0, 2, 100), 2).astype(float)
    judged = Comparisons.of(prompts, first, second, luck)
    right = ((left_out_scores(judged) > 0) == (luck == 1)).mean()
    assert 0.3 < right < 0.7
    lead = np.diff(NgramReward.fit(judged).prefer(prompts, first, second)[::2], axis=0)[0]
    assert ((lead < 0) == (luck == 1)).mean() > 0.9


def test_the_correlation_with_length_stands_beside_a_fit() -> None:
    rng = np.random.default_rng(0)
    long = [" ".join(rng.choice(FILLER, 6)) for _ in range(100)]
    short = [" ".join(rng.choice(FILLER, 2)) for _ in range(100)]
    prompts = [f"q{i}" for i in range(100)]
    assert NgramReward.fit(Comparisons.of(prompts, long, short)).length > 0.8
    assert NgramReward.fit(Comparisons.of(prompts, short, long)).length < -0.8


@pytest.mark.parametrize("judged", [compared(80, ties=0.2), rated(80, thumbs=True)])
def test_the_same_model_comes_back_from_a_folder(
    tmp_path: Path, judged: Comparisons | Rated
) -> None:
    model = NgramReward.fit(judged, members=2)
    Fitted(replies=model).save(tmp_path)
    again = Fitted.load(tmp_path).replies
    assert again is not None
    assert (again.scale, again.judgements, again.length) == (
        model.scale,
        model.judgements,
        model.length,
    )
    prompts, replies = ["q"] * 3, ["thank you", "go away", "naïve Größe 👍"]
    for before, after in zip(
        model.prefer(prompts, replies, replies[::-1]),
        again.prefer(prompts, replies, replies[::-1]),
        strict=True,
    ):
        np.testing.assert_allclose(after, before, atol=1e-5)
    np.testing.assert_allclose(
        again.read(prompts, replies).spread, model.read(prompts, replies).spread, atol=1e-5
    )
    file = tmp_path / "replies.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(RewardError, match="no fitted reward that can be read"):
        Fitted.load(tmp_path)


def test_fitting_twice_is_the_same_to_the_bit() -> None:
    one, two = (NgramReward.fit(compared(50), members=2, seed=3).tensors() for _ in range(2))
    assert one.keys() == two.keys()
    assert all((one[name] == two[name]).all() for name in one)


def test_too_little_and_too_much_alike_is_refused() -> None:
    with pytest.raises(RewardError, match=f"^{FEWEST - 1} comparisons; .* at least {FEWEST}"):
        NgramReward.fit(compared(FEWEST - 1))
    same = Rated.of([f"q{i}" for i in range(30)], ["fine"] * 30, np.ones(30))
    with pytest.raises(RewardError, match="all 30 thumbs are the same, 1"):
        NgramReward.fit(same)


def test_judgements_are_checked() -> None:
    for wrong, message in [
        ({"outcomes": [0.7]}, "0.5 is a tie, nothing else"),
        ({"outcomes": [np.nan]}, "outcomes: row 0 is nan"),
        ({"margins": [-1.0]}, "margins: row 0 is -1"),
        ({"weights": [np.inf]}, "weights: row 0 is inf"),
        ({"groups": ["a", "b"]}, "groups: 2 rows for 1 prompts"),
    ]:
        with pytest.raises(RewardError, match=message):
            Comparisons.of(["p"], ["a"], ["b"], **wrong)
    with pytest.raises(RewardError, match="second: 2 rows for 1 prompts"):
        Comparisons.of(["p"], ["a"], ["b", "c"])
    with pytest.raises(RewardError, match="numbers: row 1 is nan"):
        Rated.of(["p", "p"], ["a", "b"], [1.0, np.nan])
    three = compared(3).take(np.array([2, 0]))
    assert three.prompts == ["question 2", "question 0"]
    assert len(rated(3, thumbs=True).take(np.array([1]))) == 1


@pytest.mark.data
@pytest.mark.slow
def test_people_who_wanted_no_harm_are_foretold_a_little(data: Path) -> None:
    """hh-rlhf, harmless: the longer reply wins 0.458, TF-IDF with length 0.604 to 0.620."""
    pairs = harmless()
    right = (left_out_scores(pairs.judged) > 0) == (pairs.judged.outcomes == 1)
    assert right.mean() > 0.59
