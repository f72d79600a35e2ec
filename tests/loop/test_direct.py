"""From what people said of whole replies to a policy that says what they like."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heedful.config import Reinforce
from heedful.loop.direct import SORT_OF, Direct, _ahead, _Direct, _Paid, learn_directly
from heedful.loop.reference import Reference
from heedful.loop.run import Run
from heedful.loop.told import Told, comparisons, gather, thumbs
from heedful.policy import Policy, Transformer, clone
from heedful.record import Kind, Outcome
from heedful.reward import Ratings
from heedful.store import Record, Snapshot
from tests.loop.test_interact import same
from tests.loop.thumbed import CHOICES, TOY, compared, good, prefers, reply, said, talk

BASE = Reinforce(epochs=8, batch=16, learning_rate=0.01, held_out=0.25)
DIRECT: tuple[Direct, ...] = ("dpo", "ipo", "kto", "regression")


def network(seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    schema = TOY.schema(TOY.vocabulary(Snapshot.of([])))
    return Transformer(schema, width=16, layers=1, heads=2).double().eval()


def snapshot_of(records: list[Record]) -> Snapshot:
    return Snapshot.of(records, choice_sets=[CHOICES])


def told(snapshot: Snapshot, objective: str, **options: Any) -> Told:
    streams = TOY.encode(snapshot, TOY.vocabulary(snapshot))
    settings: dict[str, Any] = {
        "earned": Ratings()(snapshot),
        "ratings": (1.0, 5.0),
        "spared": np.ones(len(streams.slots.unit), bool),
        "held_out": 0.25,
        "seed": 0,
    }
    return gather(snapshot, streams, SORT_OF[objective], **{**settings, **options})


def everything(n: int = 60) -> Snapshot:
    """Return a log in which replies are compared, thumbed and rated."""
    records = compared(talk(0, n))
    made = [record for record in records if hasattr(record, "units")]
    records += [said(d, Kind.CLICK, good(d)) for d in made]  # type: ignore[arg-type]
    records += [said(d, Kind.RATING, 5.0 if good(d) else 2.0) for d in made]  # type: ignore[arg-type]
    return snapshot_of(records)


def learn(
    objective: Direct, folder: Path, section: Reinforce = BASE, n: int = 250, **options: Any
) -> tuple[dict[str, float], Policy]:
    policy = network()
    folder.mkdir(exist_ok=True)
    run = Run(folder, {})
    try:
        metrics = learn_directly(
            policy,
            clone(policy),
            told(everything(n), objective),
            section,
            run,
            objective=objective,
            window=32,
            seed=0,
            **options,
        )
    finally:
        run.close()
    return metrics, policy


@pytest.mark.parametrize("objective", DIRECT)
def test_replies_become_what_people_like(tmp_path: Path, objective: Direct) -> None:
    """Also those in conversations that nothing was learned from."""
    sharper = {"temperature": 0.3, "epochs": 16} if objective == "regression" else {}
    metrics, _ = learn(objective, tmp_path, BASE.model_copy(update=sharper))
    assert metrics["held_out_accuracy"] > 0.8
    assert metrics["held_out_margin"] > 0.0


def test_what_is_told_is_of_the_pass_that_is_left(tmp_path: Path) -> None:
    """The third pass learns too much and is not kept, and neither are its numbers."""
    accuracies = iter([0.5, 0.9, 0.2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Direct, "judged", lambda _: {"accuracy": next(accuracies)})
        metrics, _ = learn("dpo", tmp_path / "3", BASE.model_copy(update={"epochs": 3}), 20)
    assert (metrics["epoch"], metrics["held_out_accuracy"]) == (1.0, 0.9)
    losses = [
        json.loads(line) for line in (tmp_path / "3" / "metrics.jsonl").read_text().splitlines()
    ]
    of_pass = [row["loss"] for row in losses if row["part"] == "reinforce"]
    assert metrics["loss"] == of_pass[1] != of_pass[2]


def test_dpo_shows_both_log_probabilities(tmp_path: Path) -> None:
    """C35: the chosen one may fall as well; whoever watches sees both."""
    metrics, _ = learn("dpo", tmp_path)
    assert metrics["chosen_logps"] > metrics["rejected_logps"]
    assert metrics["accuracy"] > 0.8


def test_the_reference_is_computed_once_for_the_same_rows_and_weights(tmp_path: Path) -> None:
    rows = told(everything(4), "dpo")
    windows = rows.streams.windows(32)
    first = Reference(network(), rows.streams, windows, tmp_path)
    again = Reference(network(), rows.streams, windows, tmp_path)
    assert (first.fresh, again.fresh) == (True, False)
    batch = rows.streams.batch(windows)
    one, other = (known.fill(batch, windows).reference_logps for known in (first, again))
    assert one is not None
    assert other is not None
    assert torch.equal(one, other)
    plain = network().forward(batch, frozenset({"logps"})).logps
    torch.testing.assert_close(one, plain, rtol=0, atol=1e-12)
    fewer = told(everything(3), "dpo")
    rules = tuple(replace(rule, forbidden=np.array([1])) for rule in rows.streams.rules)
    stricter = replace(rows, streams=replace(rows.streams, rules=rules))
    others = [
        (network(), stricter),
        (network(1), rows),
        (network().float(), rows),
        (network(), fewer),
    ]
    for policy, learned in others:
        windows = learned.streams.windows(32)
        assert Reference(policy, learned.streams, windows, tmp_path).fresh, "another key"


@pytest.mark.parametrize("objective", DIRECT)
def test_micro_batches_do_not_change_the_gradient(objective: Direct, tmp_path: Path) -> None:
    found = []
    for rows in (1_000, 8, 4):
        policy = network()
        job = _Direct(
            policy, network(1), told(everything(), objective), BASE, objective, 32, 0, None
        )
        job.optimiser.micro_batch = rows
        batch = next(job.batches(0))
        count = 0.0
        for part in batch.split(rows) if len(batch) > rows else [batch]:
            loss = job.loss(part)
            loss.value.backward()
            count += float(loss.count)
        found.append([p.grad.clone() / count for p in policy.parameters() if p.grad is not None])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


def test_thumbs_up_and_down_weigh_the_same_in_all_and_drift_is_of_the_batch() -> None:
    assert _Paid.of(np.array([1.0, 1.0, 1.0, 0.0])).weights == (2 / 3, 2.0)
    job = _Direct(network(1), network(), told(everything(), "kto"), BASE, "kto", 32, 0, None)
    drifts = []
    for batch in job.batches(0):
        loss = job.loss(batch)
        drifts.append(float(loss.metrics["drift"].detach() / loss.count))
        assert drifts[-1] == pytest.approx(float(job._drift(batch)))
    assert len(set(drifts)) > 1


@pytest.mark.parametrize("objective", DIRECT)
def test_what_is_judged_on_is_not_learned_from(objective: Direct) -> None:
    rows = told(everything(), objective)
    rows = replace(rows, rewards=np.where(rows.held_out, 0.0, rows.rewards))
    job = _Direct(network(), network(), rows, BASE, objective, 32, 0, None)
    assert 0 < len(job.tests) < len(job.train)
    assert not any(rows.held_out[row.stream] for row in job.train)
    assert all(rows.held_out[row.stream] for row in job.tests)
    assert job.paid == _Paid.of(rows.rewards[~rows.held_out]) != _Paid.of(rows.rewards)
    orders = [[batch.units.tolist() for batch in job.batches(epoch)] for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_of_two_that_are_as_good_none_is_ahead() -> None:
    ahead = _ahead(np.array([3.0, 1.0, 0.5]), np.array([0.5, 0.5, 0.0]))
    assert sorted(ahead.tolist()) == [0.5, 2.5]


def test_the_two_of_a_pair_stand_behind_the_same_tokens() -> None:
    rows = told(everything(), "dpo")
    events, offsets = rows.streams.events, rows.streams.offsets
    lengths = np.bincount(rows.streams.slots.stream)
    for pair in range(len(rows) // 2):
        before = []
        for row in (2 * pair, 2 * pair + 1):
            asked = slice(offsets[row], offsets[row + 1] - lengths[row])
            before.append((events.kind[asked].tolist(), events.unit[asked].tolist()))
        assert before[0] == before[1]
        assert len(before[0][0]) == 2
        assert rows.held_out[2 * pair] == rows.held_out[2 * pair + 1]


def test_conversations_that_begin_alike_are_on_the_same_side() -> None:
    snapshot = everything()
    rows = told(snapshot, "kto")
    sides: dict[str, set[bool]] = {}
    for decision, out in zip(rows.decisions.tolist(), rows.held_out.tolist(), strict=True):
        sides.setdefault(snapshot.decisions.contexts[decision], set()).add(out)
    assert all(len(side) == 1 for side in sides.values())
    assert {side for found in sides.values() for side in found} == {True, False}


def test_a_side_is_that_of_how_a_conversation_began() -> None:
    records: list[Record] = []
    for number in range(30):
        talk = {"episode": f"{number}-talk"}
        first = reply(f"{number}-1", "ab", ["a", "<end>"], **talk)  # type: ignore[arg-type]
        asked = [TOY.units[number % 4], TOY.units[number // 4 % 4]]
        later = reply(f"{number}-2", asked, ["a", "<end>"], step=1, **talk)  # type: ignore[arg-type]
        records += [first, later, said(later, Kind.CLICK, number % 2 == 0)]
    assert len(set(told(snapshot_of(records), "kto", held_out=0.5).held_out.tolist())) == 1


def test_what_began_with_nothing_is_on_a_side_of_its_own() -> None:
    texts = [replace(reply(f"text-{n}", "ab", ["a", "<end>"]), context={}) for n in range(40)]
    records: list[Record] = [*texts, *(said(text, Kind.CLICK, True) for text in texts)]
    assert set(told(snapshot_of(records), "kto").held_out.tolist()) == {True, False}


def test_what_cannot_be_learned_from_is_left_out_and_counted() -> None:
    one, other = reply("one", "ab", ["a", "<end>"]), reply("other", "ab", ["b", "<end>"])
    elsewhere = reply("elsewhere", "cd", ["c", "<end>"])
    strange = reply("strange", "ab", ["?", "<end>"])
    vanished = reply("vanished", "ab", ["?"])
    records: list[Record] = [one, other, elsewhere, strange, vanished]
    records += [prefers(one, o) for o in (other, elsewhere, strange, vanished)]
    rows = told(snapshot_of(records), "dpo", held_out=0.0)
    assert len(rows) == 2
    assert rows.left_out == {
        "pairs_of_clips": 0,
        "pairs_of_other_askings": 1,
        "pairs_vanished": 1,
        "pairs_with_unknown_units": 1,
    }
    spared = np.ones(len(rows.streams.slots.unit) + 5, bool)
    streams = TOY.encode(snapshot_of(records), TOY.vocabulary(snapshot_of(records)))
    spared = streams.slots.decision != 0
    rows = told(snapshot_of(records), "dpo", held_out=0.0, spared=spared)
    assert rows.left_out["pairs_held_out"] == 4
    assert len(rows) == 0
    spared = np.arange(len(spared)) != 0
    rows = told(snapshot_of(records), "dpo", held_out=0.0, spared=spared)
    assert rows.left_out["pairs_held_out"] == 4, "one unit that is held out is enough"


def test_the_same_words_after_another_reply_are_another_asking() -> None:
    talks = {
        name: reply(name, "ab", [unit, "<end>"], episode=f"{name}-talk")
        for name, unit in zip("abcd", "aaba", strict=True)
    }
    liked = said(talks["d"], Kind.RATING, 1.0)
    later = {n: reply(n * 2, "cd", ["c", "<end>"], episode=f"{n}-talk", step=1) for n in talks}
    pairs = [prefers(later["a"], later[other]) for other in "bcd"]
    records = [*talks.values(), liked, *later.values(), *pairs]
    rows = told(snapshot_of(records), "dpo", held_out=0.0)
    assert rows.left_out["pairs_of_other_askings"] == 2, "another reply, another answer to it"
    assert rows.decisions.tolist() == [4, 5]


def test_two_replies_within_a_conversation_are_compared_where_it_asked_the_same() -> None:
    one = reply("one", "ab", ["a", "<end>"], episode="talk")
    again = reply("again", "ab", ["b", "<end>"], episode="talk", step=1)
    rows = told(snapshot_of([one, again, prefers(one, again)]), "dpo", held_out=0.0)
    assert (len(rows), rows.left_out) == (2, {"pairs_of_clips": 0})


def test_who_was_preferred_what_is_a_tie_and_what_was_taken_back() -> None:
    a, b, c = (reply(name, "ab", ["a", "<end>"]) for name in "abc")
    back = prefers(b, c)
    records: list[Record] = [a, b, c, prefers(a, b, Outcome.REJECTED), prefers(a, c, Outcome.TIE)]
    records += [back, said(b, Kind.PREFERENCE, None, by="back", retracts=back.id)]
    found = comparisons(snapshot_of(records))
    assert found.decisions.tolist() == [[1, 0], [0, 2]]
    assert found.ties.tolist() == [False, True]
    rows = told(snapshot_of(records), "dpo", held_out=0.0)
    assert rows.rewards.tolist() == [1.0, 0.0, 0.5, 0.5]
    assert rows.pairs is not None
    assert rows.pairs.tolist() == [0, 0, 1, 1]


def test_ratings_beside_a_comparison_say_by_how_much() -> None:
    a, b = (reply(name, "ab", [name, "<end>"]) for name in "ab")
    rated = [said(a, Kind.RATING, 4.0), said(b, Kind.RATING, 2.0)]
    rows = told(snapshot_of([a, b, *rated, prefers(a, b)]), "dpo", held_out=0.0)
    assert rows.rewards.tolist() == [0.75, 0.25]
    rows = told(snapshot_of([a, b, *rated, prefers(b, a)]), "dpo", held_out=0.0)
    assert rows.rewards.tolist() == [1.0, 0.0], "they contradict each other: words count"
    alike = [said(a, Kind.RATING, 4.0), said(b, Kind.RATING, 4.0)]
    rows = told(snapshot_of([a, b, *alike, prefers(b, a)]), "dpo", held_out=0.0)
    assert rows.rewards.tolist() == [1.0, 0.0], "rated alike, and one was preferred: no tie"


def test_a_thumb_is_about_the_whole_reply_and_the_last_one_counts() -> None:
    a, b = reply("a", "ab", ["a", "<end>"]), reply("b", "ab", ["b", "<end>"])
    records: list[Record] = [a, b, said(a, Kind.CLICK, True), said(b, Kind.CLICK, True, unit=0)]
    decided, says = thumbs(snapshot_of([*records, said(a, Kind.CLICK, False, by="other")]))
    assert (decided.tolist(), says.tolist()) == ([0], [0.0])


@pytest.mark.parametrize(
    ("objective", "words"),
    [("dpo", "0 pairs to learn from"), ("kto", "all 3 thumbs say 1")],
)
def test_what_says_nothing_is_refused(objective: Direct, words: str) -> None:
    decisions = [reply(name, "ab", [name, "<end>"]) for name in "abc"]
    records: list[Record] = [*decisions, *(said(d, Kind.CLICK, True) for d in decisions)]
    rows = told(snapshot_of(records), objective, held_out=0.0)
    with pytest.raises(ValueError, match=words):
        _Direct(network(), network(), rows, BASE, objective, 32, 0, None)


def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    section = BASE.model_copy(update={"epochs": 3})
    whole = learn("kto", tmp_path / "whole", section, 40)
    passes = _Direct.pass_over
    with pytest.MonkeyPatch.context() as patch:

        def stop(self: _Direct, epoch: int) -> dict[str, float]:
            if epoch == 2:
                raise KeyboardInterrupt
            return passes(self, epoch)

        patch.setattr(_Direct, "pass_over", stop)
        with pytest.raises(KeyboardInterrupt):
            learn("kto", tmp_path / "again", section, 40)
    again = learn("kto", tmp_path / "again", section, 40)
    assert again[0] == whole[0]
    same(again[1], whole[1])
