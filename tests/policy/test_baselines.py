import pytest
import torch

from heedful.policy import Choices, Events, Popularity, Schema


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 3.0])
def test_popularity_is_counts_plus_one_to_the_sharpness(sharpness: float) -> None:
    counts = torch.tensor([0.0, 1.0, 3.0])
    policy = Popularity(Schema(3), sharpness=sharpness).fit(counts)
    _, logits = policy.step(policy.start(2), Events.none(2), Choices.everything(3, 2))
    expected = (counts.double() + 1) ** sharpness
    torch.testing.assert_close(torch.softmax(logits, -1)[0], expected / expected.sum())


@pytest.mark.parametrize("counts", [torch.ones(2), torch.tensor([1.0, -1.0, 0.0])])
def test_counts_are_one_for_each_unit_and_not_negative(counts: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="3 non-negative numbers"):
        Popularity(Schema(3)).fit(counts)
