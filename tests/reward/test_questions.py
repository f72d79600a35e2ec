from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from heedful.contract.clips import Step
from heedful.record import Kind, Span
from heedful.reward.questions import Answer, LoggedQuestions, Question, Questions
from heedful.reward.rewards import RewardError
from heedful.reward.steps import Episodes
from heedful.store import Log
from tests.reward.clips_log import Walks, walked


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return walked(tmp_path, [(f"walk-{k}", 12) for k in range(12)])


def asking(log: Log, **options: object) -> LoggedQuestions:
    given = {"by": "ada", "length": 4, "clock": lambda: 1.0, **options}
    return LoggedQuestions(log, Walks(), **given)  # type: ignore[arg-type]


def places(questions: Questions, span: Span) -> list[int]:
    return [int(str(scene).split()[1].strip(":")) for scene in questions.show(span, text=True)]


def farther(questions: Questions, question: Question) -> Answer:
    """Who likes the right end of the line."""
    left, right = (sum(places(questions, span)) for span in (question.left, question.right))
    return Answer.EQUAL if left == right else Answer.LEFT if left > right else Answer.RIGHT


def test_answers_are_in_the_log_and_what_nobody_could_tell_is_not(log: Log) -> None:
    questions = asking(log)
    given = [Answer.LEFT, Answer.RIGHT, Answer.UNSURE, Answer.EQUAL]
    asked = []
    for answer in given:
        question = questions.next()
        assert question is not None
        asked.append(question)
        questions.answer(question, answer)
    found = Episodes(log.snapshot()).judged()
    assert [(one.left, one.right, one.outcome, one.by) for one in found] == [
        (question.left, question.right, answer.outcome, "ada")
        for question, answer in zip(asked, given, strict=True)
        if answer is not Answer.UNSURE
    ]
    said = log.snapshot().feedback
    assert set(said.kind.tolist()) == {list(Kind).index(Kind.PREFERENCE)}
    assert log.counts().parked == 0


def test_a_person_is_asked_about_a_clip_once_also_tomorrow(log: Log) -> None:
    seen = set()
    for day in range(3):
        questions = asking(log, seed=0, length=10)  # 36 clips
        for _ in range(12 if day < 2 else 40):
            question = questions.next()
            if question is None:
                break
            assert question.left not in seen
            assert question.left != question.right
            seen.add(question.left)
            questions.answer(question, Answer.EQUAL)
    assert len(seen) == 36
    assert asking(log, length=10).next() is None
    assert asking(log, length=10, by="bob").next() is not None


def test_questions_are_where_models_disagree_once_there_are_answers(log: Log) -> None:
    questions, disputed = asking(log), []
    for _ in range(40):
        question = questions.next()
        assert question is not None
        disputed.append(question.disputed)
        questions.answer(question, farther(questions, question))
    assert not any(disputed[:10])
    assert 0.5 < np.mean(disputed[10:]) < 0.95  # the others stay random
    at_random = asking(log, chosen="random", by="bob")
    for _ in range(5):
        question = at_random.next()
        assert question is not None
        assert not question.disputed


def test_the_same_seed_asks_the_same(log: Log) -> None:
    one, same, other = (asking(log, seed=seed).next() for seed in (1, 1, 2))
    assert one == same != other


class Drawn(Walks):
    """Shows where it stands, having been played from the beginning."""

    def show(self, steps: Sequence[Step], start: int, *, text: bool) -> list[str]:
        return [f"{'.' * int(str(step.context['place']))}x" for step in steps[start:]]


def test_a_domain_that_can_show_is_asked_to(log: Log) -> None:
    questions = LoggedQuestions(log, Drawn(), by="ada", length=4)
    span = Span("walk-3", 5, 9)
    steps = Episodes(log.snapshot()).until(span)[5:]
    assert questions.show(span, text=True) == [
        "." * int(str(step.context["place"])) + "x" for step in steps
    ]


def test_a_log_without_clips_is_refused(log: Log) -> None:
    with pytest.raises(RewardError, match="no episode in the log has 13 steps"):
        asking(log, length=13)


def test_an_answer_that_the_log_does_not_take_is_an_error(log: Log) -> None:
    first, second = asking(log), asking(log)
    question = first.next()
    assert question is not None
    first.answer(question, Answer.LEFT)
    with pytest.raises(RewardError, match="earlier one stands"):
        second.answer(question, Answer.RIGHT)
