import math

import pytest
import torch

from heedful.policy import (
    Choices,
    EpsilonGreedy,
    Events,
    Floor,
    Greedy,
    Mask,
    Popularity,
    Schema,
    Temperature,
    TopP,
    TransitionPrior,
    build,
)

SCHEMA = Schema(4)
LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
POSSIBLE = torch.tensor([[True, False, True, True]])


def inner() -> Popularity:
    return Popularity(SCHEMA)


def p(wrapper, logits=LOGITS, possible=None) -> list[float]:
    logits = logits if possible is None else logits.masked_fill(~possible, -math.inf)
    return torch.softmax(wrapper.transform(logits, possible), -1)[0].tolist()


def test_a_floor_bounds_every_importance_weight() -> None:
    floored = p(Floor(inner(), share=0.2), possible=POSSIBLE)
    assert floored[1] == 0.0
    assert min(x for i, x in enumerate(floored) if i != 1) >= 0.2 / 3
    assert sum(floored) == pytest.approx(1.0)


def test_a_whole_floor_is_uniform() -> None:
    assert p(Floor(inner(), share=1.0), possible=POSSIBLE) == pytest.approx(
        [1 / 3, 0, 1 / 3, 1 / 3]
    )


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    soft = torch.softmax(LOGITS, -1)[0]
    kept = p(TopP(inner(), p=float(soft[0]) + 1e-6))
    assert kept[2:] == [0.0, 0.0]
    assert kept[0] == pytest.approx(float(soft[0] / (soft[0] + soft[1])))
    assert p(TopP(inner(), p=1e-9)) == [1.0, 0.0, 0.0, 0.0]
    assert p(TopP(inner(), p=1.0)) == pytest.approx(soft.tolist())


def test_greed_takes_the_first_of_the_best() -> None:
    assert p(Greedy(inner()), torch.tensor([[1.0, 3.0, 3.0, 0.0]])) == [0.0, 1.0, 0.0, 0.0]


def test_epsilon_greedy_shares_what_greed_leaves() -> None:
    policy = EpsilonGreedy(inner().fit(torch.tensor([1.0, 3.0, 3.0, 0.0])), share=0.4)
    _, logits = policy.step(policy.start(1), Events.none(1), Choices.everything(4, 1))
    assert torch.softmax(logits, -1)[0].tolist() == pytest.approx([0.1, 0.7, 0.1, 0.1])


def test_a_mask_rules_units_out() -> None:
    assert p(Mask(inner(), forbidden=[0, 0, 3]))[0::3] == [0.0, 0.0]


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_a_share_lies_above_0_and_up_to_1(share: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
        Floor(inner(), share=share)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_is_above_0(temperature: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Temperature(inner(), temperature=temperature)


@pytest.mark.parametrize("mass", [0.0, 1.5, math.nan])
def test_a_nucleus_has_a_mass_above_0_and_up_to_1(mass: float) -> None:
    with pytest.raises(ValueError, match="top-p"):
        TopP(inner(), p=mass)


def test_a_floor_around_a_mask_is_refused_however_deep_the_mask() -> None:
    masked = TransitionPrior(Temperature(Mask(inner(), forbidden=[1]), temperature=2.0))
    with pytest.raises(ValueError, match="swap them"):
        Floor(masked, share=0.1)


def test_a_form_is_rebuilt_with_all_its_wrappers() -> None:
    policy = EpsilonGreedy(Temperature(inner(), temperature=0.5), share=0.25)
    policy = Mask(TopP(policy, p=0.9), forbidden=[2])
    again = build(policy.spec())
    assert again.spec() == policy.spec()
    assert [type(m) for m in again.modules()] == [type(m) for m in policy.modules()]
