import math
import re
from pathlib import Path

import numpy as np
import pytest

from heedful.reward import (
    Moments,
    Normalised,
    RewardError,
    TextReward,
    Total,
    scored,
    text_reward,
)

PROMPTS, REPLIES = ["a", "b", "c"], ["x", "yy", "zzz"]


def length(prompts, completions, **columns):
    return [float(len(text)) for text in completions]


def half_silent(prompts, completions, **columns):
    return [None if prompt == "b" else 100.0 * len(prompt) for prompt in prompts]


def of_a_column(prompts, completions, *, stars, **columns):
    return stars


def nothing(prompts, completions, **columns):
    return [None] * len(prompts)


def test_a_function_is_a_text_reward_and_none_is_not_scored() -> None:
    assert isinstance(length, TextReward)
    assert scored(length, PROMPTS, REPLIES).tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(scored(half_silent, PROMPTS, REPLIES)).tolist() == [False, True, False]
    assert scored(of_a_column, PROMPTS, REPLIES, stars=[1, 2, 3]).tolist() == [1.0, 2.0, 3.0]
    assert scored(length, [], []).tolist() == []
    found = text_reward("tests.reward.test_text:length")
    assert scored(found, ["p"], ["four"]).tolist() == [4.0]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "much", object()])
def test_what_is_no_number_is_refused_with_function_and_row(wrong: object) -> None:
    def broken(prompts, completions, **columns):
        return [1.0, wrong, 2.0]

    with pytest.raises(RewardError, match=r"test_text:broken gave .* for row 1; give a finite"):
        scored(broken, PROMPTS, REPLIES)


@pytest.mark.parametrize(
    ("returned", "message"),
    [([1.0], "returned 1 numbers for 3 completions"), (None, "returned NoneType")],
)
def test_what_is_no_list_of_as_many_is_refused(returned: object, message: str) -> None:
    def broken(prompts, completions, **columns):
        return returned

    with pytest.raises(RewardError, match=message):
        scored(broken, PROMPTS, REPLIES)


def test_columns_of_another_length_and_functions_that_are_none_are_refused() -> None:
    with pytest.raises(RewardError, match="completions: 2 rows for 3 prompts"):
        scored(length, PROMPTS, REPLIES[:2])
    with pytest.raises(RewardError, match="stars: 1 rows for 3 prompts"):
        scored(of_a_column, PROMPTS, REPLIES, stars=[1])
    with pytest.raises(RewardError, match=r"reward function 'tests\.reward\.test_text:absent'"):
        text_reward("tests.reward.test_text:absent")


def test_a_normalised_reward_has_mean_0_and_variance_1_on_the_samples() -> None:
    reward = Normalised.on(length, PROMPTS, REPLIES)
    said = scored(reward, PROMPTS, REPLIES)
    assert said.mean() == pytest.approx(0.0)
    assert said.std() == pytest.approx(1.0)
    assert scored(reward, ["p"], ["yy"]).tolist() == pytest.approx([0.0])
    with pytest.raises(RewardError, match="3 of 3 reference samples are scored, all alike"):
        Normalised.on(length, PROMPTS, ["x"] * 3)
    with pytest.raises(RewardError, match="0 of 3"):
        Normalised.on(nothing, PROMPTS, REPLIES)
    with pytest.raises(RewardError, match="cannot be normalised"):
        Moments(0.0, 0.0)


def test_rewards_are_normalised_one_by_one_and_then_summed() -> None:
    prompts = ["a", "b", "cc", "b"]
    replies = ["x", "yy", "zzz", "yyyy"]
    parts = [Normalised.on(one, prompts, replies) for one in (length, half_silent)]
    total = scored(Total(((parts[0], 1.0), (parts[1], 2.0))), prompts, replies)
    one, two = (scored(part, prompts, replies) for part in parts)
    np.testing.assert_allclose(total, one + 2.0 * np.nan_to_num(two))
    assert np.isnan(two).tolist() == [False, True, False, True]
    silent = scored(Total(((half_silent, 1.0), (nothing, 1.0))), prompts, replies)
    assert np.isnan(silent).tolist() == [False, True, False, True]  # not scored, which is not 0


def test_an_error_inside_names_the_reward_that_made_it() -> None:
    def broken(prompts, completions, **columns):
        return [math.nan] * len(prompts)

    fine = Normalised(broken, Moments(0.0, 2.0))
    with pytest.raises(RewardError, match="test_text:broken gave nan for row 0"):
        Total(((length, 1.0), (fine, 1.0)))(PROMPTS, REPLIES)


def test_the_pages_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "concepts" / "rewards.md"
    [example] = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    exec(compile(example, page.name, "exec"), {})
    assert np.isfinite(float(capsys.readouterr().out.strip("[]\n ")))
