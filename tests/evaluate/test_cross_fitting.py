import numpy as np
import pytest
from scipy.optimize import minimize

from heedful.evaluate import dr, expected_under, ips
from heedful.evaluate.cross_fitting import PENALTY, cross_fit

WORTH = np.array([0.1, 0.4, 0.8, 0.2])


def log_of(rng, n, subjects=60):
    """Return who, what they were shown, what is known of them, and whether they clicked."""
    who, action, x = (
        rng.integers(subjects, size=n),
        rng.integers(4, size=n),
        rng.normal(size=(n, 1)),
    )
    clicks = (rng.random(n) < WORTH[action] + 0.05 * x[:, 0]).astype(float)
    return who, action, x, clicks


def test_no_row_and_no_subject_sees_itself():
    """Changing all that a subject clicked changes the q of everybody else and not its own."""
    rng = np.random.default_rng(0)
    who, action, x, clicks = log_of(rng, 600)
    for model in ("ridge", "logistic"):
        before = cross_fit(action, clicks, who, 4, context=x, model=model)
        other = np.where(who == 7, 1 - clicks, clicks)
        after = cross_fit(action, other, who, 4, context=x, model=model)
        fold = before.folds[who == 7][0]
        same = before.folds == fold
        assert (before.logged(action)[same] == after.logged(action)[same]).all()
        assert not (before.logged(action)[~same] == after.logged(action)[~same]).any()
    assert len({(w, f) for w, f in zip(who, before.folds, strict=True)}) == len(set(who))
    assert before.fitted_on.tolist() == [int((before.folds != f).sum()) for f in range(5)]


def test_it_finds_what_the_rewards_were_made_of():
    rng = np.random.default_rng(1)
    who, action, x, clicks = log_of(rng, 20_000)
    for model in ("ridge", "logistic"):
        fitted = cross_fit(action, clicks, who, 4, context=x, model=model)
        for a in range(4):
            assert fitted.logged(action)[action == a].mean() == pytest.approx(WORTH[a], abs=0.02)
        slope = np.polyfit(x[:, 0], fitted.logged(action) - WORTH[action], 1)[0]
        assert slope == pytest.approx(0.05, abs=0.015)


def test_the_policy_s_q_is_the_mean_over_its_choices():
    rng = np.random.default_rng(2)
    who, action, x, clicks = log_of(rng, 500)
    pi = rng.dirichlet(np.ones(4), size=500)
    for model in ("ridge", "logistic"):
        fitted = cross_fit(action, clicks, who, 4, context=x, model=model)
        table = np.stack([fitted.logged(np.full(500, a)) for a in range(4)], axis=1)
        assert fitted.policy(pi) == pytest.approx(expected_under(pi, table), abs=1e-12)


def test_the_logistic_model_is_the_penalised_likelihood_s():
    rng = np.random.default_rng(3)
    who, action, x, clicks = log_of(rng, 400)
    fitted = cross_fit(action, clicks, who, 4, context=x, model="logistic")
    seen = fitted.folds != 2
    features = np.c_[np.eye(4)[action], fitted.context, np.ones(400)][seen]
    shrink = np.r_[np.full(5, PENALTY), 1e-3]

    def loss(b):
        score = features @ b
        fit = np.logaddexp(0, score) - clicks[seen] * score
        return fit.sum() + (shrink * b * b).sum() / 2

    best = minimize(loss, np.zeros(6), method="BFGS").x
    found = np.r_[fitted.of_action[2], fitted.of_context[2], fitted.constants[2]]
    assert found == pytest.approx(best, abs=0.02)
    assert loss(found) == pytest.approx(loss(best), rel=1e-4)


def test_cross_fitted_dr_is_unbiased_and_steadier_than_ips():
    """200 logs of 400 rows, each with a model fitted to it."""
    rng, found, plain = np.random.default_rng(4), [], []
    h, pi = np.array([0.4, 0.3, 0.1, 0.2]), np.array([0.1, 0.2, 0.5, 0.2])
    for _ in range(200):
        action = rng.choice(4, p=h, size=400)
        r = WORTH[action] + rng.normal(size=400) / 5
        fitted = cross_fit(action, r, np.arange(400) % 50, 4)
        log = (np.log(pi)[action], np.log(h)[action], r)
        doubly = dr(*log, fitted.logged(action), fitted.policy(np.tile(pi, (400, 1))))
        found.append(doubly.value)
        plain.append(ips(*log).value)
    assert np.mean(found) == pytest.approx(pi @ WORTH, abs=0.01)
    assert np.std(found) < np.std(plain) / 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"actions": [0, 4, 1]}, r"actions: row 1 \(4\) is no action from 0 to 3"),
        ({"actions": [0]}, "expected"),
        ({"rewards": [0.0, np.nan, 1.0]}, "rewards: row 1 is NaN"),
        ({"rewards": [0.0, 2.0, 1.0], "model": "logistic"}, r"row 1 \(2\) lies outside \[0, 1\]"),
        ({"subjects": [1, 1, 1]}, "all 3 rows fall into one of 5 folds"),
        ({"context": [[1.0], [np.nan], [0.0]]}, "context: row 1 holds NaN"),
        ({"context": [1.0, 2.0, 3.0]}, "context: expected shape"),
        ({"folds": 1}, "folds 1"),
        ({"penalty": 0.0}, "penalty 0"),
    ],
)
def test_bad_input_is_refused(changed, message):
    given = {"actions": [0, 1, 2], "rewards": [0.0, 1.0, 1.0], "subjects": [1, 2, 3]} | changed
    with pytest.raises(ValueError, match=message):
        cross_fit(given.pop("actions"), given.pop("rewards"), given.pop("subjects"), 4, **given)


def test_a_policy_of_another_shape_is_refused():
    fitted = cross_fit([0, 1, 2], [0.0, 1.0, 1.0], [1, 2, 3], 4)
    with pytest.raises(ValueError, match=r"probabilities: expected shape \(3, 4\)"):
        fitted.policy(np.ones((3, 3)) / 3)
