import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heedful.objectives import generalised_advantages, n_step, v_trace


def advantages(rewards, values, discounts, *, lam: float, bootstrap: bool = True) -> np.ndarray:
    """Return the estimates for rows of T rewards and T + 1 values, the last one a bootstrap's."""
    rewards, values, discounts = (
        np.atleast_2d(np.asarray(x, float)) for x in (rewards, values, discounts)
    )
    nothing = np.zeros((len(rewards), 1))
    boot = np.zeros(values.shape, bool)
    boot[:, -1] = bootstrap
    slots = np.ones(values.shape, bool)
    slots[:, -1] = bootstrap
    found = generalised_advantages(
        torch.tensor(np.hstack([rewards, nothing])),
        torch.tensor(values),
        torch.tensor(np.hstack([discounts, nothing])),
        torch.tensor(slots),
        torch.tensor(boot),
        lam=lam,
    ).numpy()
    assert (found[:, -1] == 0).all()
    return found[:, :-1]


@pytest.fixture
def cases(data: Path) -> dict:
    return json.loads((data / "reference-cases" / "cases.json").read_text())


@pytest.mark.data
@pytest.mark.parametrize("lam", ["1.0", "0.7", "0.4"])
def test_advantages_of_rlax(cases: dict, lam: str) -> None:
    case = cases["gae_truncated_rlax"]
    found = advantages(case["r_t"], case["v_t"], case["discount_t"], lam=float(lam))
    np.testing.assert_allclose(found, case["expected"][lam], atol=case["atol"])


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "lam"), [("lambda_returns_rlax", 0.75), ("discounted_returns_rlax", 1.0)]
)
def test_returns_of_rlax(cases: dict, name: str, lam: float) -> None:
    """A lambda-return is the advantage plus the value; its v_t is the value of the next state."""
    case = cases[name]
    assert case.get("lambda_", 1.0) == lam
    values = np.hstack([np.full((2, 1), 7.0), case["v_t"]])
    found = advantages(case["r_t"], values, case["discount_t"], lam=lam) + values[:, :-1]
    np.testing.assert_allclose(found, case["expected"], rtol=case["rtol"])


@pytest.mark.data
def test_n_step_returns_of_rlax_as_long_as_the_row_are_returns(cases: dict) -> None:
    case = cases["n_step_rlax"]
    values = np.hstack([np.zeros((2, 1)), case["v_t"]])
    found = advantages(case["r_t"], values, case["discount_t"], lam=1.0) + values[:, :-1]
    np.testing.assert_allclose(found, case["expected"]["5"], rtol=case["rtol"])


@pytest.mark.data
def test_returns_of_tianshou(cases: dict) -> None:
    case = cases["gae_returns_tianshou"]
    discounts = case["gamma"] * (1.0 - np.array(case["terminated"]))
    values = np.array([0.0, *case["v_next"]])
    found = advantages(case["rew"], values, discounts, lam=case["lambda_"]) + values[:-1]
    np.testing.assert_allclose(found[0], case["expected"], rtol=1e-5)
    case = cases["discounted_returns_tianshou"]
    discounts = case["gamma"] * (1.0 - np.array(case["terminated"]))
    found = advantages(case["rew"], np.zeros(8), discounts, lam=1.0)
    np.testing.assert_allclose(found[0], case["expected"], rtol=1e-6)


numbers = st.floats(-3, 3)


@given(
    rows=st.lists(
        st.tuples(numbers, numbers, st.sampled_from([0.0, 0.5, 0.9, 1.0])), min_size=1, max_size=8
    ),
    last=numbers,
    lam=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    bootstrap=st.booleans(),
)
def test_advantages_are_the_sum_of_the_definition(rows, last, lam, bootstrap) -> None:
    """A_t = sum_k (prod of d lambda up to k) delta_k; without a bootstrap what follows is 0."""
    rewards, values, discounts = (list(column) for column in zip(*rows, strict=True))
    chain = [*values, last]
    found = advantages(rewards, chain, discounts, lam=lam, bootstrap=bootstrap)[0]
    following = [*values[1:], last if bootstrap else 0.0]
    for t in range(len(rows)):
        total, factor = 0.0, 1.0
        for k in range(t, len(rows)):
            total += factor * (rewards[k] + discounts[k] * following[k] - values[k])
            factor *= discounts[k] * lam
        assert found[t] == pytest.approx(total, abs=1e-9)


def test_terminated_cut_off_and_followed_by_another_episode() -> None:
    """One row: a game that terminated, one that was cut off (bootstrap 10), one that runs on."""
    rewards = [[1.0, 2.0, 3.0, 0.0, 4.0, 0.0]]
    discounts = [[0.5, 0.0, 0.5, 0.0, 0.5, 0.0]]
    values = [[0.0, 0.0, 0.0, 10.0, 0.0, 20.0]]
    boot = [[False, False, False, True, False, True]]
    found = generalised_advantages(
        *(torch.tensor(x) for x in (rewards, values, discounts)),
        torch.ones(1, 6, dtype=torch.bool),
        torch.tensor(boot),
        lam=1.0,
    )
    assert found[0].tolist() == [2.0, 2.0, 8.0, 0.0, 14.0, 0.0]


def test_a_slate_shares_its_return_without_discount() -> None:
    """Inside a decision the discount is 1: a unit is credited with what the slate still earns."""
    found = advantages([0.0, 1.0, 1.0], [0.0] * 4, [1.0, 1.0, 0.0], lam=1.0, bootstrap=False)
    assert found[0].tolist() == [2.0, 2.0, 1.0]


@pytest.mark.data
@pytest.mark.parametrize("n", [3, 5])
def test_n_step_returns_of_rlax(cases: dict, n: int) -> None:
    case = cases["n_step_rlax"]
    rewards, discounts, values = laid(case["r_t"], case["discount_t"], case["v_t"])
    slots, boot = slots_of(rewards)
    found = n_step(rewards, discounts, slots, boot, n=n).returns(values)[:, :-1]
    np.testing.assert_allclose(found, case["expected"][str(n)], rtol=case["rtol"])


@pytest.mark.data
def test_v_trace_of_rlax(cases: dict) -> None:
    case = cases["vtrace_rlax"]
    chosen = torch.tensor(case["actions"])[..., None]
    target, behaviour = (
        torch.log_softmax(torch.tensor(case[name], dtype=torch.float64), -1).gather(-1, chosen)
        for name in ("target_logits", "behavior_logits")
    )
    log_ratios = torch.nn.functional.pad((target - behaviour)[..., 0], (0, 1))
    rewards, discounts, _ = laid(case["rewards"], case["discounts"], case["values"])
    values = torch.tensor(case["values"], dtype=torch.float64)
    values = torch.cat([values, torch.tensor(case["bootstrap"])[:, None]], dim=1)
    slots, boot = slots_of(rewards)
    corrected, advantages = v_trace(
        log_ratios, rewards, values, discounts, slots, boot, lam=case["lambda_"]
    )
    errors, weights = corrected - values, log_ratios.exp().clamp(max=case["clip_pg_rho"])
    np.testing.assert_allclose(errors[:, :-1], case["expected_td_errors"], rtol=case["rtol"])
    weighted = (weights * advantages)[:, :-1]
    np.testing.assert_allclose(weighted, case["expected_pg_advantage"], rtol=case["rtol"])


@pytest.mark.parametrize("cap", [0.5, 3.0])
def test_the_cap_of_v_trace_is_of_errors_and_not_of_traces(cap: float) -> None:
    """Two steps, the second twice as likely now: rho is min(cap, 2), its trace min(1, 2)."""
    log_ratios = torch.tensor([[2.0, 2.0, 1.0]]).log()
    rewards, values = torch.tensor([[0.0, 1.0, 0.0]]), torch.zeros(1, 3)
    discounts = torch.tensor([[1.0, 1.0, 0.0]])
    slots, boot = slots_of(rewards)
    corrected, _ = v_trace(log_ratios, rewards, values, discounts, slots, boot, cap=cap)
    rho, trace = min(cap, 2.0), 1.0
    assert corrected[0, :2].tolist() == pytest.approx([trace * rho, rho])


def laid(rewards, discounts, following) -> tuple[torch.Tensor, ...]:
    """Return rows of T steps and a bootstrap; ``following`` are the values after each step."""
    nothing = np.zeros((len(rewards), 1))
    rows = (np.hstack([rewards, nothing]), np.hstack([discounts, nothing]))
    return tuple(torch.tensor(x) for x in (*rows, np.hstack([nothing, following])))


def slots_of(rewards: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    boot = torch.zeros(rewards.shape, dtype=torch.bool)
    boot[:, -1] = True
    return torch.ones_like(boot), boot


rows_of_steps = st.lists(
    st.tuples(numbers, numbers, st.sampled_from([0.0, 0.5, 1.0]), st.floats(-2, 2), st.booleans()),
    min_size=1,
    max_size=8,
)


@given(rows=rows_of_steps, n=st.integers(1, 5), padded=st.integers(0, 2))
def test_n_steps_are_the_sum_of_the_definition(rows, n, padded) -> None:
    """Any row: units, slots that only lend their value, an end without one, and padding."""
    rewards, values, discounts, _, boots = (list(column) for column in zip(*rows, strict=True))
    width = len(rows)
    nothing = [0.0] * padded
    slots = torch.tensor([[True] * width + [False] * padded])
    boot = torch.tensor([boots + [False] * padded])
    found = n_step(
        *(torch.tensor([row + nothing]) for row in (rewards, discounts)), slots, boot, n=n
    ).returns(torch.tensor([values + [99.0] * padded]))[0]
    for t in range(width):
        if boots[t]:
            continue
        total, product = 0.0, 1.0
        for k in range(t, width + 1):
            if k == width:  # nothing stands there
                break
            if boots[k] or k == t + n:
                total += product * values[k]
                break
            total += product * rewards[k]
            product *= discounts[k]
        assert float(found[t]) == pytest.approx(total, abs=1e-5)


@given(rows=rows_of_steps, lam=st.sampled_from([0.0, 0.3, 1.0]))
def test_v_trace_of_who_acted_is_the_generalised_advantage(rows, lam) -> None:
    rewards, values, discounts, _, boots = (list(column) for column in zip(*rows, strict=True))
    slots = torch.ones(1, len(rows), dtype=torch.bool)
    row = [torch.tensor([x], dtype=torch.float64) for x in (rewards, values, discounts)]
    boot = torch.tensor([boots])
    corrected, advantages = v_trace(torch.zeros_like(row[0]), *row, slots, boot, lam=lam)
    wanted = generalised_advantages(*row, slots, boot, lam=lam)
    torch.testing.assert_close(advantages, wanted)
    torch.testing.assert_close(corrected, row[1] + wanted)


def test_v_trace_rests_at_the_value_of_the_policy_there_is_now() -> None:
    """Espeholt et al., remark 1: without a cap, the value of pi moves nowhere, whoever acted."""
    h, pi = torch.tensor([0.5, 0.5]).double(), torch.tensor([0.9, 0.1]).double()
    paths = torch.cartesian_prod(torch.arange(2), torch.arange(2))  # earns 1 where it is 0
    rewards, p = (paths == 0).double(), h[paths].prod(1)
    log_ratios = (pi.log() - h.log())[paths]
    slots = torch.ones(4, 2, dtype=torch.bool)
    discounts = torch.tensor([[1.0, 0.0]]).double().expand(4, 2)

    def corrected(values: list[float], cap: float) -> list[float]:
        found, _ = v_trace(
            log_ratios,
            rewards,
            torch.tensor([values]).double().expand(4, 2),
            discounts,
            slots,
            torch.zeros_like(slots),
            cap=cap,
        )
        return (found * p[:, None]).sum(0).tolist()

    assert corrected([1.8, 0.9], cap=100.0) == pytest.approx([1.8, 0.9])
    assert corrected([1.0, 0.5], cap=100.0)[1] == pytest.approx(0.9)  # from anywhere, in one go
    capped = 0.5 / (0.5 + 0.1)  # min(pi, h) made to sum to 1: a policy between the two
    assert corrected([2 * capped, capped], cap=1.0) == pytest.approx([2 * capped, capped])
