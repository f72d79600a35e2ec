import pytest

from benchmarks._halving import halve


def test_the_best_are_kept_and_given_eta_times_the_budget():
    asked = []

    def score(configuration, budget):
        asked.append((configuration, budget))
        return configuration * budget

    looks = halve([3.0, 1.0, 4.0, 1.5, 9.0, 2.0], score, budget=2, eta=3)
    first = [(c, 2) for c in (3.0, 1.0, 4.0, 1.5, 9.0, 2.0)]
    assert asked == [*first, (9.0, 6), (4.0, 6), (9.0, 18)]
    assert (looks[-1].place, looks[-1].budget, looks[-1].score) == (4, 18, 162.0)


def test_who_is_only_good_with_a_small_budget_loses():
    scores = {("early", 1): 5.0, ("late", 1): 4.0, ("bad", 1): 0.0, ("worse", 1): -1.0}
    scores |= {("early", 2): 5.0, ("late", 2): 6.0, ("late", 4): 7.0}
    looks = halve(["early", "bad", "late", "worse"], lambda name, n: scores[name, n], budget=1)
    assert [(look.place, look.budget) for look in looks[4:]] == [(0, 2), (2, 2), (2, 4)]


def test_ties_go_to_the_first_and_a_single_one_is_looked_at_once():
    assert halve([1, 2], lambda *_: 0.0, budget=1)[-1].place == 0
    assert len(halve(["only"], lambda *_: 1.0, budget=5)) == 1


def test_minus_infinity_loses_and_nan_is_refused():
    scores = [float("-inf"), 0.0]
    assert halve([0, 1], lambda i, _: scores[i], budget=1)[-1].place == 1
    with pytest.raises(ValueError, match="configuration 1 scores NaN with budget 3"):
        halve([0, 1], lambda i, _: [0.0, float("nan")][i], budget=3)


@pytest.mark.parametrize(("n", "budget", "eta"), [(0, 1, 2), (2, 0, 2), (2, 1, 1)])
def test_what_cannot_be_halved_is_refused(n, budget, eta):
    with pytest.raises(ValueError, match="expected at least"):
        halve(range(n), lambda *_: 0.0, budget=budget, eta=eta)
