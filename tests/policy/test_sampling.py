"""Empirical frequencies against exact sequential conditionals, computed here in plain Python."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from heedful.policy import (
    Choices,
    EpsilonGreedy,
    Events,
    Floor,
    Greedy,
    Mask,
    NothingToChooseError,
    Policy,
    Schema,
    TabularQ,
    Temperature,
    TopP,
    TransitionPrior,
    draw,
    replay,
    sample,
)
from tests.policy.batches import slates_as_batch

SCHEMA = Schema(5)
DRAWS, SLATE = 60_000, 3
Q = torch.randn(6, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
SEQUENCES = [np.array([0, 1, 2, 3]), np.array([4, 1, 0]), np.array([2, 4])]

# A reference: what was drawn so far and what is possible now -> the probability of each unit.
Reference = Callable[[Sequence[int], set[int]], list[float]]


def normalised(weights: list[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


def table(history: Sequence[int], possible: set[int]) -> list[float]:
    row = Q[history[-1] + 1 if history else 0].tolist()
    return normalised([math.exp(q) if unit in possible else 0.0 for unit, q in enumerate(row)])


def floored(inner: Reference, share: float) -> Reference:
    def reference(history: Sequence[int], possible: set[int]) -> list[float]:
        p = inner(history, possible)
        uniform = [float(unit in possible) / len(possible) for unit in range(5)]
        return [(1 - share) * a + share * b for a, b in zip(p, uniform, strict=True)]

    return reference


def heated(inner: Reference, temperature: float) -> Reference:
    return lambda history, possible: normalised(
        [p ** (1 / temperature) for p in inner(history, possible)]
    )


def nucleus(inner: Reference, mass: float) -> Reference:
    def reference(history: Sequence[int], possible: set[int]) -> list[float]:
        p = inner(history, possible)
        kept, reached = set(), 0.0
        for unit in sorted(range(5), key=lambda unit: -p[unit]):
            if reached >= mass:
                break
            kept.add(unit)
            reached += p[unit]
        return normalised([x if unit in kept else 0.0 for unit, x in enumerate(p)])

    return reference


def greedy(inner: Reference) -> Reference:
    def reference(history: Sequence[int], possible: set[int]) -> list[float]:
        p = inner(history, possible)
        return [float(unit == p.index(max(p))) for unit in range(5)]

    return reference


def masked(inner: Reference, forbidden: set[int]) -> Reference:
    return lambda history, possible: normalised(
        [0.0 if unit in forbidden else p for unit, p in enumerate(inner(history, possible))]
    )


def after(inner: Reference, weight: float) -> Reference:
    """p(j) ~ p_inner(j) score_j^weight, with the counts and transitions of SEQUENCES."""
    n = [sum(int((s == unit).sum()) for s in SEQUENCES) for unit in range(5)]

    def transition(i: int, j: int) -> float:
        pairs = (
            1 / gap
            for s in SEQUENCES
            for gap in range(1, 11)
            for a, b in zip(s[:-gap], s[gap:], strict=True)
            if (a, b) == (i, j)
        )
        return sum(pairs) * max(n[i], 1) ** -0.5

    def reference(history: Sequence[int], possible: set[int]) -> list[float]:
        score = [
            sum(transition(i, j) / k for k, i in enumerate(reversed(history), start=1))
            * (n[j] + 5) ** -0.2
            for j in range(5)
        ]
        p = inner(history, possible)
        return normalised([x * (s + 1e-6) ** weight for x, s in zip(p, score, strict=True)])

    return reference


def q_policy() -> Policy:
    policy = TabularQ(SCHEMA, states=6, look="unit").double()
    policy.q.data.copy_(Q)
    return policy


def prior(inner: Policy) -> Policy:
    return TransitionPrior(inner, weight=0.3).double().fit(SEQUENCES)


CASES: dict[str, tuple[Policy, Reference]] = {
    "table": (q_policy(), table),
    "floor": (Floor(q_policy(), share=0.3), floored(table, 0.3)),
    "temperature": (Temperature(q_policy(), temperature=0.6), heated(table, 0.6)),
    "top-p": (TopP(q_policy(), p=0.8), nucleus(table, 0.8)),
    "greedy": (Greedy(q_policy()), greedy(table)),
    "epsilon-greedy": (EpsilonGreedy(q_policy(), share=0.4), floored(greedy(table), 0.4)),
    "mask": (Mask(q_policy(), forbidden=[1]), masked(table, {1})),
    "prior": (prior(q_policy()), after(table, 0.3)),
    "mask around floor": (
        Mask(Floor(q_policy(), share=0.3), forbidden=[0]),
        masked(floored(table, 0.3), {0}),
    ),
    "floor around top-p around temperature": (
        Floor(TopP(Temperature(q_policy(), temperature=1.5), p=0.7), share=0.2),
        floored(nucleus(heated(table, 1.5), 0.7), 0.2),
    ),
    "floor around prior": (Floor(prior(q_policy()), share=0.2), floored(after(table, 0.3), 0.2)),
    "prior around floor": (prior(Floor(q_policy(), share=0.2)), after(floored(table, 0.2), 0.3)),
    "epsilon-greedy around prior": (
        EpsilonGreedy(prior(q_policy()), share=0.5),
        floored(greedy(after(table, 0.3)), 0.5),
    ),
}


def slate_probabilities(reference: Reference, possible: set[int]) -> dict[tuple[int, ...], float]:
    """Return the probability of each ordered slate without replacement."""
    exact = {}
    for slate in itertools.permutations(range(5), SLATE):
        p = 1.0
        for place, unit in enumerate(slate):
            left = possible - set(slate[:place])
            p *= reference(slate[:place], left)[unit] if unit in left and p > 0 else 0.0
        exact[slate] = p
    return exact


def choices_of(rows: int, allowed: list[int] | None, forbidden: list[int]) -> Choices:
    def lines(units: list[int]) -> torch.Tensor:
        every = [(row, unit, 0, 1) for row in range(rows) for unit in units]
        return torch.tensor(every, dtype=torch.int64).reshape(-1, 4)

    return Choices(
        size=5,
        shape=(rows, 1),
        allowed=lines(allowed or []),
        forbidden=lines(forbidden),
        restricted=None if allowed is None else torch.ones(rows, 1, dtype=torch.bool),
        repeat=torch.zeros(rows, dtype=torch.bool),
    )


@pytest.mark.parametrize(
    ("allowed", "forbidden"),
    [(None, []), ([0, 1, 2, 4], []), (None, [2])],
    ids=["all", "allowed", "forbidden"],
)
@pytest.mark.parametrize("case", CASES)
def test_all_60_ordered_slates_are_as_frequent_as_they_should_be(
    case: str, allowed: list[int] | None, forbidden: list[int]
) -> None:
    policy, reference = CASES[case]
    possible = set(range(5) if allowed is None else allowed) - set(forbidden)
    exact = slate_probabilities(reference, possible)
    assert len(exact) == 60
    assert sum(exact.values()) == pytest.approx(1.0)
    choices = choices_of(DRAWS, allowed, forbidden)
    rng = torch.Generator().manual_seed(11)
    _, acts = sample(policy, policy.start(DRAWS), choices, rng, length=SLATE)
    slates = [tuple(slate) for slate in acts.units.tolist()]
    told = acts.logps.sum(1).exp()
    expected = torch.tensor([exact[slate] for slate in slates], dtype=torch.float64)
    torch.testing.assert_close(told, expected, rtol=1e-9, atol=0)
    counts = dict.fromkeys(exact, 0)
    for slate in slates:
        counts[slate] += 1
    assert chi_square_p(counts, exact) > 0.001


def chi_square_p(counts: dict[tuple[int, ...], int], exact: dict[tuple[int, ...], float]) -> float:
    """Pearson's test; slates expected less than five times are counted together."""
    rare = {slate for slate, p in exact.items() if p * DRAWS < 5}
    seen = [counts[s] for s in exact if s not in rare] + [sum(counts[s] for s in rare)]
    due = [exact[s] * DRAWS for s in exact if s not in rare] + [sum(exact[s] for s in rare) * DRAWS]
    assert all(count == 0 for count, d in zip(seen, due, strict=True) if d == 0)
    cells = [(s, d) for s, d in zip(seen, due, strict=True) if d > 0]
    if len(cells) == 1:
        return 1.0
    return float(stats.chisquare([s for s, _ in cells], [d for _, d in cells]).pvalue)


def test_the_chi_square_test_finds_a_wrong_sampler() -> None:
    """Draws of the table's own slates are told from those at a slightly other temperature."""
    exact = slate_probabilities(heated(table, 1.05), set(range(5)))
    rng = torch.Generator().manual_seed(11)
    policy = q_policy()
    _, acts = sample(policy, policy.start(DRAWS), choices_of(DRAWS, None, []), rng, length=SLATE)
    counts = dict.fromkeys(exact, 0)
    for slate in acts.units.tolist():
        counts[tuple(slate)] += 1
    assert chi_square_p(counts, exact) < 0.001


@pytest.mark.parametrize("case", CASES)
def test_replay_gives_the_same_conditionals(case: str) -> None:
    policy, reference = CASES[case]
    rng = torch.Generator().manual_seed(3)
    _, acts = sample(policy, policy.start(50), choices_of(50, None, []), rng, length=SLATE)
    replayed = replay(policy, slates_as_batch(SCHEMA, acts.units)).detach()
    torch.testing.assert_close(replayed, acts.logps, rtol=0, atol=1e-9)
    for slate, logps in zip(acts.units.tolist(), replayed.tolist(), strict=True):
        for place, unit in enumerate(slate):
            left = set(range(5)) - set(slate[:place])
            assert logps[place] == pytest.approx(math.log(reference(slate[:place], left)[unit]))


def test_a_decision_stops_at_its_end_unit() -> None:
    policy = q_policy()
    choices = Choices(5, (400, 1), repeat=torch.ones(400, dtype=torch.bool), end=4)
    state, acts = sample(
        policy, policy.start(400), choices, torch.Generator().manual_seed(0), length=6
    )
    assert set(acts.lengths.tolist()) == {1, 2, 3, 4, 5, 6}
    for units, logps, length in zip(
        acts.units.tolist(), acts.logps.tolist(), acts.lengths.tolist(), strict=True
    ):
        ended = units[:length].index(4) + 1 if 4 in units[:length] else 6
        assert ended == length
        assert units[length:] == [-1] * len(units[length:])
        assert logps[length:] == [0.0] * len(logps[length:])
        assert all(logp < 0 for logp in logps[:length])
    # The state holds every unit but the last of its row.
    before = [
        u[n - 2] + 1 if n > 1 else 0 for u, n in zip(acts.units.tolist(), acts.lengths, strict=True)
    ]
    assert state.row.tolist() == before


def test_a_row_that_has_ended_needs_no_choice_left() -> None:
    """Row 0 may only end; row 1 goes on, and row 0's empty choices are nobody's concern."""
    choices = Choices(
        5,
        (2, 1),
        allowed=torch.tensor([[0, 4, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1], [1, 2, 0, 1]]),
        restricted=torch.ones(2, 1, dtype=torch.bool),
        repeat=torch.zeros(2, dtype=torch.bool),
        end=4,
    )
    policy = q_policy()
    _, acts = sample(policy, policy.start(2), choices, torch.Generator().manual_seed(0), length=3)
    assert acts.lengths.tolist() == [1, 3]
    assert acts.units[0].tolist() == [4, -1, -1]


def test_nothing_to_choose_is_said_with_the_row() -> None:
    policy = q_policy()
    choices = choices_of(3, [0, 1], [])
    with pytest.raises(NothingToChooseError, match="row 0: no unit is possible"):
        sample(policy, policy.start(3), choices, torch.Generator(), length=3)


def test_draws_never_land_on_an_impossible_unit() -> None:
    """Also where rounding pushes the uniform number onto the last edge of the distribution."""
    logits = torch.tensor([[-math.inf, 0.0, -60.0, -math.inf, -math.inf]]).expand(10_000, -1)
    units, logps = draw(logits, torch.Generator().manual_seed(0))
    assert set(units.tolist()) <= {1, 2}
    assert bool(torch.isfinite(logps).all())
    assert logps.dtype == torch.float64


def test_the_same_seed_draws_the_same() -> None:
    policy = q_policy()
    drawn = [
        sample(
            policy,
            policy.start(9),
            choices_of(9, None, []),
            torch.Generator().manual_seed(5),
            length=3,
        )[1]
        for _ in range(2)
    ]
    assert torch.equal(drawn[0].units, drawn[1].units)
    assert torch.equal(drawn[0].logps, drawn[1].logps)


def test_sampling_does_not_touch_the_state_it_was_given() -> None:
    policy = q_policy()
    state = policy.start(4)
    policy.step(state, Events.of_units(torch.tensor([0, 1, 2, 3])), choices_of(4, None, []))
    sample(policy, state, choices_of(4, None, []), torch.Generator(), length=3)
    assert state.row.tolist() == [0, 0, 0, 0]


def test_every_unit_of_a_decision_is_chosen_at_the_moment_of_asking() -> None:
    """A policy is told when it is asked, and when what was drawn before in the slate was drawn."""
    heard = []

    class Listens(TabularQ):
        def step(self, state, events, choices):
            heard.append((events.time[:, 0].tolist(), choices.now[:, 0].tolist()))
            return super().step(state, events, choices)

    policy = Listens(SCHEMA, states=6, look="unit")
    now = torch.tensor([[7.0], [math.nan]], dtype=torch.float64)
    choices = replace(choices_of(2, None, []), now=now)
    sample(policy, policy.start(2), choices, torch.Generator().manual_seed(0), length=3)
    told = [7.0, math.nan]
    expected = [([math.nan] * 2, told), (told, told), (told, told)]  # nothing is pending at first
    np.testing.assert_equal(heard, expected)
