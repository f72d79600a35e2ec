from dataclasses import replace

import numpy as np
import pytest

from heedful.record import UNKNOWN, Decision
from heedful.reward import Exchanges, RewardError
from heedful.store import Snapshot
from tests.reward.logs import decision


def reply(number: int, episode: str, asked: str, units: str, turn: int = 0) -> Decision:
    """Return the reply ``units`` to ``asked``; a unit is a word."""
    return Decision(
        id=f"d{number}",
        episode=episode,
        step=turn,
        subject="ada",
        units=tuple(units.split()),
        logps=UNKNOWN,
        policy="p",
        made_at=float(number),
        context={"messages": [{"role": "user", "content": asked}], "turn": turn},
        choices="all",
        vocabulary="v",
    )


def test_a_prompt_is_all_that_was_said_before() -> None:
    log = Snapshot.of(
        [
            reply(1, "a", "why", "be cause"),
            reply(2, "b", "who", "me"),
            reply(3, "a", "really", "yes", turn=1),
        ]
    )
    read = Exchanges.of(log, " ".join)
    assert read.completions == ["be cause", "me", "yes"]
    assert read.prompts == ["why", "who", "user: why\n\nassistant: be cause\n\nuser: really"]
    assert read.openings == ["why", "who", "why"]


def test_pairs_of_one_prompt_are_compared_with_the_ratings_gap_as_margin() -> None:
    log = Snapshot.of(
        [
            reply(1, "a", "why", "so"),
            reply(2, "b", "why", "be cause"),
            reply(3, "c", "who", "me"),
        ]
    )
    read = Exchanges.of(log, " ".join)
    decisions = np.array([[1, 0], [1, 0], [0, 1], [2, 0]])
    ties, gaps = np.array([False, True, False, False]), np.array([0.75, 0.75, -0.75, np.nan])
    pairs, others = read.compared(decisions, ties, gaps)
    assert others == 1
    assert pairs.first == ["be cause", "be cause", "so"]
    assert pairs.second == ["so", "so", "be cause"]
    assert pairs.outcomes.tolist() == [1.0, 0.5, 1.0]
    assert pairs.margins.tolist() == [0.75, 0.0, 0.0]  # none for a tie, none against the ratings
    assert set(pairs.groups) == {"why"}
    none, left = read.compared(np.empty((0, 2), np.int64), np.empty(0, bool), np.empty(0))
    assert (len(none), left) == (0, 0)


def test_replies_with_numbers_are_found_with_their_prompts() -> None:
    log = Snapshot.of([reply(1, "a", "why", "so it is"), reply(2, "b", "who", "me")])
    read = Exchanges.of(log, " ".join)
    rated = read.rated(np.array([1, 0]), np.array([0.0, 1.0]))
    assert (rated.prompts, rated.completions) == (["who", "why"], ["me", "so it is"])
    assert rated.thumbs
    assert rated.groups == ["who", "why"]


def test_decisions_that_answer_nothing_are_refused() -> None:
    with pytest.raises(RewardError, match="no decision has messages"):
        Exchanges.of(Snapshot.of([decision(1, "ada", ["x"])]), " ".join)


def test_plain_text_beside_conversations_answers_nothing_and_is_no_prompt() -> None:
    text = [replace(reply(n, "book", "", f"part {n}"), context={}) for n in (1, 2)]
    read = Exchanges.of(Snapshot.of([*text, reply(3, "a", "why", "so")]), " ".join)
    assert read.prompts == ["", "", "why"]
    assert read.completions == ["part 1", "part 2", "so"]


def test_later_replies_are_left_out_with_the_conversation_they_are_of() -> None:
    """By how it began: two later prompts of one conversation tell of each other."""
    log = Snapshot.of(
        [
            reply(1, "a", "why", "so"),
            reply(2, "b", "why", "so"),
            reply(3, "a", "really", "yes", turn=1),
            reply(4, "b", "really", "no", turn=1),
        ]
    )
    read = Exchanges.of(log, " ".join)
    pairs, others = read.compared(np.array([[2, 3]]), np.array([False]), np.array([np.nan]))
    assert (list(pairs.groups), others) == (["why"], 0)
    assert list(read.rated(np.array([3]), np.array([1.0])).groups) == ["why"]
