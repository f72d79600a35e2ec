"""Learning a reward in rounds: play, ask, fit, relabel."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from heedful.domains.games.clips import (
    Agreement,
    Answer,
    Asking,
    FixedHorizon,
    Lesson,
    Plays,
    Teacher,
    learn_reward,
    taught,
)
from heedful.domains.games.clips.rounds import Ask
from heedful.record import Span

ASKING = Asking(questions=60, rounds=3, episodes=4, length=4)


class Line(gymnasium.Env[Any, Any]):
    """Seven places in a row, begun in the middle; every step earns the number of its place."""

    observation_space = gymnasium.spaces.Discrete(7)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place = 3
        return self.place, {}

    def step(self, action: int) -> Any:
        earned = float(self.place)
        self.place = min(6, max(0, self.place + 2 * action - 1))
        return self.place, earned, False, False, {}


def line() -> FixedHorizon:
    return FixedHorizon(Line(), 12)


def wandering(lesson: Lesson, seed: int = 0) -> Any:
    rng = np.random.default_rng((seed, len(lesson.plays)))
    return lambda _: int(rng.integers(2))


def worth(lesson: Lesson) -> np.ndarray:
    """What each place is worth, [7], the mean over both moves."""
    assert lesson.reward is not None
    return lesson.reward(np.eye(14)).reshape(7, 2).mean(1)


def test_what_a_teacher_likes_is_learned_and_so_is_its_opposite() -> None:
    liked = learn_reward(line(), taught(Teacher(), seed=0), wandering, ASKING, seed=0)
    assert np.corrcoef(worth(liked), np.arange(7))[0, 1] > 0.9
    opposed = learn_reward(line(), taught(Teacher(), seed=0, sign=-1.0), wandering, ASKING, seed=0)
    assert np.corrcoef(worth(opposed), np.arange(7))[0, 1] < -0.9


def test_the_same_seed_gives_the_same_lesson() -> None:
    one, same, other = (
        learn_reward(line(), taught(Teacher(mistakes=0.1), seed=1), wandering, ASKING, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one.pairs == same.pairs
    assert one.outcomes == same.outcomes
    assert (worth(one) == worth(same)).all()
    assert one.pairs != other.pairs


def test_all_that_is_asked_counts_and_no_answer_is_dropped() -> None:
    def ask(plays: Plays) -> Ask:
        answers = iter([Answer.LEFT, Answer.UNSURE, Answer.EQUAL] * 20)
        return lambda left, right: next(answers)

    lesson = learn_reward(line(), ask, wandering, ASKING, seed=0)
    assert (len(lesson.pairs), lesson.unsure) == (40, 20)
    assert lesson.outcomes == [1.0, 0.5] * 20
    assert len(lesson.plays) == 12
    compared = lesson.compared()
    assert compared.left.shape == (40, 4, 14)
    left, _ = lesson.pairs[7]
    seen, moves = lesson.plays.clip(left)
    assert (compared.left[7] == lesson.features(seen, moves)).all()


def test_play_is_improved_with_the_newest_model() -> None:
    models = []

    def improve(lesson: Lesson) -> Any:
        models.append(lesson.reward)
        return wandering(lesson)

    learn_reward(line(), taught(Teacher(), seed=0), improve, ASKING, seed=0)
    assert models[:4] == [None] * 4
    assert len({id(model) for model in models}) == 3  # one for each round


def test_the_buffer_is_relabelled_by_the_newest_model() -> None:
    lesson = learn_reward(line(), taught(Teacher(), seed=0), wandering, ASKING, seed=0)
    before = lesson.relabelled()
    assert [len(one) for one in before] == [12] * 12
    assert np.concatenate(before).mean() == pytest.approx(0.0, abs=1e-9)
    assert np.concatenate(before).std() < 1.0 + 1e-9
    one = list(lesson.plays.trajectories.values())[5]
    assert lesson.reward is not None
    assert (before[5] == lesson.reward(lesson.features(one.observations, one.moves))).all()
    lesson.reward = lesson.reward.doubting(1.0)
    assert (np.concatenate(lesson.relabelled()) <= np.concatenate(before)).all()
    with pytest.raises(ValueError, match="no model yet"):
        Lesson(lesson.features).relabelled()


def test_questions_by_disagreement_are_those_the_members_dispute() -> None:
    """All of them random, or few: the spread of what is asked in later rounds tells which."""

    def spread(at_random: float) -> float:
        found = []
        for seed in range(4):
            asking = replace(ASKING, at_random=at_random)
            lesson = learn_reward(line(), taught(Teacher(), seed=0), wandering, asking, seed=seed)
            first = replace(asking, questions=40, rounds=2)
            before = learn_reward(line(), taught(Teacher(), seed=0), wandering, first, seed=seed)
            assert before.reward is not None
            last = lesson.compared().take(np.arange(40, 60))
            assert lesson.pairs[:40] == before.pairs
            found.append(before.reward.prefer(last.left, last.right).std(0).mean())
        return float(np.mean(found))

    assert spread(0.0) > 2 * spread(1.0)


def test_learning_stops_when_answers_are_no_longer_foretold() -> None:
    """Somebody who comes to want the opposite: the model that agreed best is returned."""

    counted: list[int] = []

    def turning(plays: Plays) -> Ask:
        def answer(left: Span, right: Span) -> Answer:
            counted.append(1)
            way = 1.0 if len(counted) <= 150 else -1.0
            rng = np.random.default_rng(0)
            return Teacher()(way * plays.score(left), way * plays.score(right), rng)

        return answer

    asking = replace(ASKING, questions=250, rounds=5, at_random=1.0)
    lesson = learn_reward(line(), turning, wandering, asking, seed=0)
    assert lesson.fell == 3
    assert lesson.agreement[-1] < 0.3 < 0.8 < min(lesson.agreement[:-1])
    assert np.corrcoef(worth(lesson), np.arange(7))[0, 1] > 0.9
    assert len(lesson.pairs) == 200  # what was answered stays


def test_a_fall_is_more_than_chance() -> None:
    guard = Agreement(errors=2.0, fewest=10)
    assert not guard.fell(9, 9)  # too few yet
    assert not guard.fell(9, 11)  # 18 of 20
    assert guard.newest_is_best
    assert not guard.fell(15, 20)
    assert not guard.newest_is_best
    assert guard.fell(9, 20)
    assert not guard.fell(20, 20)
    assert guard.newest_is_best


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"rounds": 0}, "rounds is 0"),
        ({"questions": 2}, "2 questions in 3 rounds"),
        ({"at_random": 1.5}, "at_random is 1.5"),
        ({"length": 0}, "length is 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ASKING, **setting)


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "clips.md").read_text("utf-8")
    [example] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(example, "clips.md", "exec"), {})
    assert re.fullmatch(r"-?\d+\.\d+ [01]\.0", capsys.readouterr().out.strip())
