"""Which objective learns, by the feedback there is."""

from __future__ import annotations

import pytest

from heedful.loop.router import Found, NothingToLearnError, found_in, route
from heedful.record import Kind, Outcome
from heedful.reward import Ratings
from heedful.store import Record
from tests.loop.test_direct import snapshot_of
from tests.loop.thumbed import prefers, reply, said


def test_feedback_is_counted_by_kind() -> None:
    a = reply("a", "ab", ["a", "<end>"], logps=[-1.0, -1.0])
    b, c = (reply(name, "ab", [name, "<end>"]) for name in "bc")
    records: list[Record] = [a, b, c, prefers(a, b), prefers(a, c, Outcome.TIE)]
    records += [said(a, Kind.CLICK, True), said(b, Kind.CLICK, False)]
    records += [said(a, Kind.RATING, 4.0), said(c, Kind.RATING, 1.0)]
    records += [said(b, Kind.DEMONSTRATION, ("a", "<end>")), said(b, Kind.COMMENT, "no")]
    snapshot = snapshot_of(records)
    found = found_in(snapshot, Ratings()(snapshot))
    assert found == Found(logged=1, numbers=2, pairs=2, ties=1, up=1, down=1, edits=1, comments=1)
    assert found.uses() == {"reinforce": 1, "dpo": 4, "ipo": 4, "kto": 2, "regression": 2}
    later = found_in(snapshot, Ratings()(snapshot), after=int(snapshot.feedback.seq[1]))
    assert (later.pairs, later.up, later.down) == (0, 1, 1)
    # Ratings that came late can still be learned from; REINFORCE has seen what they are about.
    assert (later.numbers, later.logged) == (2, 0)
    last = found_in(snapshot, Ratings()(snapshot), after=int(snapshot.feedback.seq[4]))
    assert (last.numbers, last.logged) == (1, 0)


@pytest.mark.parametrize(
    ("found", "objective"),
    [
        (Found(), "reinforce"),
        (Found(logged=10, numbers=10, up=6, down=4), "reinforce"),
        (Found(numbers=10, up=6, down=4), "kto"),
        (Found(numbers=10, up=10), "regression"),
        (Found(logged=5, numbers=5, pairs=20), "dpo"),
        (Found(pairs=20, ties=20, up=1, down=1), "kto"),
    ],
)
def test_auto_takes_what_most_of_it_can_feed(found: Found, objective: str) -> None:
    chosen = route("auto", found)
    assert chosen.objective == objective
    assert f"learns by {objective}, chosen by the log" in chosen.words()


def test_it_can_be_overruled_but_not_against_the_log() -> None:
    found = Found(logged=3, numbers=3, up=3, edits=2)
    assert route("ppo", found).objective == "ppo"
    assert "2 edits are for heedful tune" in route("regression", found).words()
    with pytest.raises(NothingToLearnError) as refused:
        route("kto", found)
    words = str(refused.value)
    assert "thumbs up and thumbs down" in words
    assert "3 liked" in words
    assert '"regression" (3)' in words
    with pytest.raises(NothingToLearnError, match="nothing that anybody said"):
        route("dpo", Found())
