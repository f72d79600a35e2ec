import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.policy import (
    Choices,
    EpsilonGreedy,
    Floor,
    NothingToChooseError,
    Popularity,
    Quota,
    Quotas,
    Schema,
    Temperature,
    TopP,
    sample,
)
from heedful.policy.choices import bounds_of

V = 6
GROUPS = st.lists(
    st.tuples(
        st.sets(st.integers(0, V - 1), min_size=1),
        st.integers(0, 2),  # least
        st.sampled_from([None, 1, 2]),
        st.sampled_from([0.0, 0.7]),
    ),
    min_size=1,
    max_size=3,
)


def quotas_of(groups, places: int, **options) -> Quotas:
    quotas = [
        Quota(np.array(sorted(units)), least if most is None else min(least, most), most, penalty)
        for units, least, most, penalty in groups
    ]
    return Quotas(quotas, V, places=places, **options)


def kept(quotas: Quotas, drawn: tuple[int, ...], *, whole: bool) -> bool:
    """Say in plain Python whether units keep the limits, and if ``whole`` the requirements too."""
    held = [sum(unit in units for unit in drawn) for units in map(set, quotas.sets)]
    bounds = zip(held, quotas.least.tolist(), quotas.most.tolist(), strict=False)
    return all(n <= most and (not whole or n >= least) for n, least, most in bounds)


def completes(quotas: Quotas, drawn: tuple[int, ...], free: set[int], places: int) -> bool:
    """Say by brute force whether some way leads on from ``drawn``."""
    left = free - set(drawn)
    return any(
        kept(quotas, drawn + more, whole=True)
        for n in range(places - len(drawn) + 1)
        for more in itertools.combinations(left, n)
    )


def choices_of(quotas: Quotas, possible: set[int], rows: int = 1) -> Choices:
    free = np.isin(np.arange(V), list(possible))
    plan = quotas.plan(free)
    assert plan is not None
    lines = [[row, unit, 0, 1] for row in range(rows) for unit in possible]
    tallies = tuple(quotas.start(plan) for _ in range(rows))
    return Choices(
        V,
        (rows, 1),
        allowed=torch.tensor(lines),
        restricted=torch.ones(rows, 1, dtype=torch.bool),
        bounds=bounds_of(tallies),
        tallies=tallies,
    )


def units_in(mask: torch.Tensor, row: int = 0) -> set[int]:
    return set(torch.nonzero(mask[row]).flatten().tolist())


@settings(max_examples=300)
@given(
    groups=GROUPS,
    places=st.integers(1, 4),
    free=st.sets(st.integers(0, V - 1), min_size=1),
    seed=st.integers(0, 99),
)
def test_rules_are_kept_and_no_draw_leads_to_a_dead_end(groups, places, free, seed) -> None:
    """Against brute force: feasible at first, then whatever is drawn, to the last place."""
    quotas = quotas_of(groups, places)
    feasible = completes(quotas, (), free, places)
    possible = np.isin(np.arange(V), list(free))
    assert (quotas.plan(possible) is not None) == feasible
    assert (quotas.refusal(possible) is None) == feasible
    if not feasible:
        return
    rng, choices = np.random.default_rng(seed), choices_of(quotas, free)
    drawn: tuple[int, ...] = ()
    while len(drawn) < places:
        found = units_in(choices.mask())
        ways = {
            unit for unit in free - set(drawn) if completes(quotas, (*drawn, unit), free, places)
        }
        assert found <= ways
        assert found == ways or quotas.requires
        if not found:
            break
        drawn = (*drawn, int(rng.choice(sorted(found))))
        choices = choices.without(torch.tensor([drawn[-1]]))
    assert kept(quotas, drawn, whole=True)


@settings(max_examples=100)
@given(groups=GROUPS, places=st.integers(1, 4), seed=st.integers(0, 99))
def test_what_is_lowered(groups, places, seed) -> None:
    quotas = quotas_of([(units, 0, most, by) for units, _, most, by in groups], places)
    rng, choices, drawn = np.random.default_rng(seed), choices_of(quotas, set(range(V))), []
    logits = torch.randn(1, V, dtype=torch.float64)
    while len(drawn) < places and (found := units_in(choices.mask())):
        expected = logits[0].clone()
        for units, _, _, by in groups:
            expected[sorted(units)] -= by * sum(unit in units for unit in drawn)
        got = choices.apply(logits)[0]
        torch.testing.assert_close(got[sorted(found)], expected[sorted(found)])
        assert {u for u in range(V) if got[u] > -torch.inf} == found
        drawn.append(int(rng.choice(sorted(found))))
        choices = choices.without(torch.tensor([drawn[-1]]))


def test_only_what_is_required_is_possible_once_the_places_run_out() -> None:
    quotas = quotas_of([({0, 1}, 2, None, 0.0)], 3)
    choices = choices_of(quotas, set(range(V)))
    assert units_in(choices.mask()) == set(range(V))
    other = choices.without(torch.tensor([4]))
    assert units_in(other.mask()) == {0, 1}
    served = choices.without(torch.tensor([0]))
    assert units_in(served.mask()) == {1, 2, 3, 4, 5}


def test_a_unit_of_two_groups_serves_both() -> None:
    quotas = quotas_of([({0, 1}, 1, None, 0.0), ({1, 2}, 1, None, 0.0)], 1)
    assert units_in(choices_of(quotas, set(range(V))).mask()) == {1}


def test_a_decision_does_not_end_before_it_holds_what_is_required() -> None:
    end = V - 1
    quotas = quotas_of([({0}, 2, None, 0.0)], 4, repeat=True, end=end)
    tallies = (quotas.start(quotas.plan(np.ones(V, bool))),)
    again = torch.ones(1, dtype=torch.bool)
    choices = Choices(V, (1, 1), repeat=again, end=end, bounds=bounds_of(tallies), tallies=tallies)
    for unit, expected in ((1, set(range(end))), (0, set(range(end))), (3, set(range(end)))):
        assert units_in(choices.mask()) == expected
        choices = choices.without(torch.tensor([unit]))
    assert units_in(choices.mask()) == {0}
    enough = choices.without(torch.tensor([0]))
    assert units_in(enough.mask()) == set(range(V))


@pytest.mark.parametrize(
    ("groups", "places", "message"),
    [
        ([Quota(np.array([0, 1]), 2, name="require.0")], 1, "require.0: requires 2 units of"),
        ([Quota(np.array([0, 5]), 2, name="require.1")], 3, "require.1: requires 2 of its units"),
        (
            [
                Quota(np.array([0, 1]), 1, name="require.0"),
                Quota(np.array([2]), 1, name="require.1"),
                Quota(np.array([0, 1, 2]), 0, 1, name="cap.0"),
            ],
            3,
            "require.0 and require.1: no 3 units meet this under the limits",
        ),
    ],
)  # fmt: skip
def test_why_rules_cannot_be_kept(groups, places, message) -> None:
    quotas = Quotas(groups, V, places=places)
    possible = np.arange(V) != 5
    assert quotas.plan(possible) is None
    assert str(quotas.refusal(possible)).startswith(message)


def test_what_is_required_needs_a_number_of_places() -> None:
    with pytest.raises(ValueError, match="within"):
        Quotas([Quota(np.array([0]), 1)], V)


def popular() -> Popularity:
    policy = Popularity(Schema(V, ()))
    return policy.fit(torch.tensor([900.0, 500.0, 100.0, 50.0, 9.0, 1.0], dtype=torch.float64))


def test_a_slate_is_as_long_as_its_limits_let_it_be() -> None:
    """Row 0 may hold one unit of 0..3; row 1 has no rules, and goes on."""
    quotas = quotas_of([({0, 1, 2, 3, 4, 5}, 0, 2, 0.0)], 4)
    tallies = (quotas.start(()), None)
    choices = Choices(V, (2, 1), bounds=bounds_of(tallies), tallies=tallies)
    policy = popular()
    _, acts = sample(policy, policy.start(2), choices, torch.Generator().manual_seed(0), length=4)
    assert acts.lengths.tolist() == [2, 4]
    assert bool(torch.isfinite(acts.logps).all())
    assert acts.logps[0, 2:].tolist() == [0.0, 0.0]


def test_nothing_possible_at_the_first_place_is_an_error_as_ever() -> None:
    quotas = quotas_of([({0}, 0, 1, 0.0)], 2)
    policy = popular()
    choices = choices_of(quotas, {0})
    barred = choices.without(torch.tensor([0]))
    with pytest.raises(NothingToChooseError, match="row 0"):
        sample(policy, policy.start(1), barred, torch.Generator(), length=2)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda policy: Floor(policy, share=0.5),
        lambda policy: EpsilonGreedy(policy, share=0.5),
        lambda policy: Temperature(policy, temperature=3.0),
        lambda policy: Floor(TopP(policy, p=0.5), share=0.1),
    ],
)
def test_wrappers_explore_only_what_rules_let_them(wrap) -> None:
    groups = [({0, 1}, 0, 1, 0.0), ({4, 5}, 1, None, 0.0), ({2, 3, 4, 5}, 0, None, 1.0)]
    quotas, policy = quotas_of(groups, 3), wrap(popular())
    rows = 2_000
    choices = choices_of(quotas, set(range(V)), rows)
    rng = torch.Generator().manual_seed(0)
    _, acts = sample(policy, policy.start(rows), choices, rng, length=3)
    slates = {tuple(slate) for slate in acts.units.tolist()}
    assert all(kept(quotas, slate, whole=True) for slate in slates)
    assert any(slate[-1] == 5 for slate in slates), "the least popular is explored"


def test_the_likeliest_slate_keeps_the_rules() -> None:
    quotas = quotas_of([({0, 1}, 0, 1, 0.0), ({4, 5}, 1, None, 0.0)], 3)
    policy = popular()
    choices = choices_of(quotas, set(range(V)))
    _, acts = sample(policy, policy.start(1), choices, None, length=3)
    assert acts.units.tolist() == [[0, 2, 4]]
    assert acts.logps[0, 0].exp() == pytest.approx(901 / 1566)
    assert acts.logps[0, 2].exp() == pytest.approx(10 / 12)


def test_rows_keep_their_rules_when_some_are_picked() -> None:
    one, two = quotas_of([({0}, 0, 1, 0.3)], 3), quotas_of([({1, 2}, 0, 1, 0.0)], 3)
    tallies = (one.start(()).after(0), None, two.start(()).after(1))
    choices = Choices(V, (3, 1), bounds=bounds_of(tallies), tallies=tallies)
    picked = choices.select(torch.tensor([2, 0]))
    assert [units_in(picked.mask(), row) for row in range(2)] == [{0, 3, 4, 5}, {1, 2, 3, 4, 5}]
    opened = choices.opened(torch.tensor([True, False, False]))
    assert units_in(opened.mask()) == set(range(V))
    assert units_in(opened.mask(), 2) == {0, 3, 4, 5}
    assert torch.equal(choices.to(torch.device("cpu")).mask(), choices.mask())
